#include "app/startup_report.h"

#include <catch2/catch.hpp>

using virtufin::app::aligned;
using virtufin::app::ProcessConfig;
using virtufin::app::startup_report;

TEST_CASE("the report says where everything is, aligned") {
  ProcessConfig config;
  config.state.durability = "commit";
  config.state.path = "s.db";
  CHECK(aligned(startup_report(config, {{"gateway", {"127.0.0.1", 5001}, {"127.0.0.1", 5002}},
                                        {"wsm", {"::1", 15001}, {"::1", 15002}}})) ==
        "REST     http://127.0.0.1:5001\n"
        "gRPC     127.0.0.1:5002\n"
        "API      grpcurl -plaintext 127.0.0.1:5002 list\n"
        "health   http://127.0.0.1:5001/health\n"
        "metrics  http://127.0.0.1:5001/metrics\n"
        "version  http://127.0.0.1:5001/version\n"
        "wsm      http://[::1]:15001, gRPC [::1]:15002\n"
        "bus      in memory\n"
        "state    in memory and s.db (commit)\n");
}

TEST_CASE("what is unsafe is said last") {
  const auto lines = startup_report(ProcessConfig{}, {});
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].what == "bus");
  CHECK(lines[1].where == "in memory");
  CHECK(lines[2].what == "unsafe");
}

TEST_CASE("behind a sidecar the report says where it is, and memory's warnings are not given") {
  ProcessConfig config;
  config.bus_kind = virtufin::app::kBusDapr;
  config.dapr.endpoint = "127.0.0.1:50005";
  const auto lines = startup_report(config, {});
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].where == "Dapr sidecar at 127.0.0.1:50005");
  CHECK(lines[1].where == "Dapr component statestore");
}

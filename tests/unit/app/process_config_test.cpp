#include "app/process_config.h"

#include <catch2/catch.hpp>

#include "core/errors.h"

using virtufin::Config;
using virtufin::message;
using virtufin::app::load_config;
using virtufin::app::ProcessConfig;
using virtufin::app::unsafe_settings;

TEST_CASE("without a file all runs on loopback, in memory") {
  const auto loaded = load_config("", {});
  REQUIRE(loaded.ok());
  const ProcessConfig& config = loaded->process;
  CHECK(config.gateway_enabled);
  CHECK(config.wsm_enabled);
  CHECK(config.workmanager_enabled);
  CHECK_FALSE(config.venue_enabled);
  CHECK(config.gateway.host == "127.0.0.1");
  CHECK(config.gateway.http_port == 5001);
  CHECK(config.gateway.grpc_port == 5002);
  CHECK(config.wsm.http_port == 15001);
  CHECK(config.wsm.grpc_port == 15002);
  CHECK(config.workmanager.http_port == 25001);
  CHECK(config.workmanager.grpc_port == 25002);
  CHECK(config.state.durability == "none");
  CHECK(config.drain == std::chrono::milliseconds(10'000));
}

TEST_CASE("what is switched off is still checked") {
  const auto loaded =
      load_config("", {{"VIRTUFIN_MODULES__WSM", "false"}, {"VIRTUFIN_WSM__HTTP_PORT", "70000"}});
  CHECK(message(loaded.status()) ==
        "VIRTUFIN_WSM__HTTP_PORT: wsm.http_port: must be between 0 and 65535, not 70000");
}

TEST_CASE("a process of nothing is refused") {
  const auto loaded = load_config("", {{"VIRTUFIN_MODULES__GATEWAY", "false"},
                                       {"VIRTUFIN_MODULES__WORKMANAGER", "false"},
                                       {"VIRTUFIN_MODULES__WSM", "false"}});
  CHECK(message(loaded.status()) ==
        "VIRTUFIN_MODULES__GATEWAY: modules.gateway: all modules are switched off; switch one on");
}

TEST_CASE("an instance id is short and plain") {
  const auto loaded = load_config("", {{"VIRTUFIN_PROCESS__INSTANCE_ID", "a b"}});
  CHECK(message(loaded.status()) ==
        "VIRTUFIN_PROCESS__INSTANCE_ID: process.instance_id: must be at most 64 characters of "
        "[A-Za-z0-9_-]");
}

TEST_CASE("the registered services of State come from its section") {
  const auto loaded = load_config("", {{"VIRTUFIN_STATE__SERVICES", "desk,risk"}});
  REQUIRE(loaded.ok());
  CHECK(loaded->process.gateway.services == std::vector<std::string>{"desk", "risk"});
}

TEST_CASE("each unsafe setting has its line") {
  ProcessConfig config;
  REQUIRE(unsafe_settings(config).size() == 1);
  CHECK(unsafe_settings(config)[0] ==
        "state is gone when the process ends: state.durability is none; batched survives a kill, "
        "commit a power loss");
  config.state.durability = "batched";
  CHECK(unsafe_settings(config).empty());
  for (const char* loopback : {"127.0.0.1", "127.8.8.8", "::1", "localhost"}) {
    config.gateway.host = loopback;
    CHECK(unsafe_settings(config).empty());
  }
  for (const char* open : {"0.0.0.0", "::", "10.0.0.1", "example.org"}) {
    config.gateway.host = open;
    REQUIRE(unsafe_settings(config).size() == 1);
    CHECK(unsafe_settings(config)[0].starts_with(std::string("whoever reaches ") + open));
  }
  config.gateway_enabled = false;
  CHECK(unsafe_settings(config).empty());
}

TEST_CASE("the shipped configurations for Dapr are read") {
  const std::string folder = std::string(VIRTUFIN_ROOT) + "/config/";
  const auto one = load_config(folder + "dapr.toml", {});
  REQUIRE(one.ok());
  CHECK(one->process.bus_kind == virtufin::app::kBusDapr);
  CHECK(one->process.gateway.bus_name == "pubsub");
  CHECK(one->process.gateway.store_name == "statestore");
  CHECK(unsafe_settings(one->process).empty());

  const auto gateway = load_config(folder + "dapr/split/gateway.toml", {});
  REQUIRE(gateway.ok());
  CHECK_FALSE(gateway->process.wsm_enabled);
  REQUIRE(gateway->process.gateway.other_services.size() == 2);
  CHECK(gateway->process.gateway.other_services[0].name == "workmanager");
  CHECK(gateway->process.gateway.other_services[0].hosts.at(0).port == 25'002);
  CHECK(load_config(folder + "dapr/split/wsm.toml", {}).ok());
  CHECK(load_config(folder + "dapr/split/workmanager.toml", {}).ok());
}

TEST_CASE("a service of another process needs a name and a place that can be") {
  auto config =
      Config::parse("[[gateway.services]]\nname = \"a b\"\nhosts = [\"nowhere\"]\n", "x.toml", {});
  REQUIRE(config.ok());
  ProcessConfig process;
  process.read(*config);
  const std::string told(message(config->finish()));
  CHECK(told.find("name: must be 1 to 100 characters") != std::string::npos);
  CHECK(told.find("hosts: nowhere is no host:port") != std::string::npos);
}

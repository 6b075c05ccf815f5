#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "core/errors.h"
#include "core/uuid.h"
#include "modules/gateway/service_directory.h"
#include "modules/gateway/service_spec.h"
#include "rig.h"
#include "virtufin/config.pb.h"

namespace virtufin::gateway::testing {
namespace {

using namespace std::chrono_literals;
using Hosts = std::vector<rpc::Endpoint>;

TEST_CASE("services.json is read, and what means nothing is told") {
  const auto file = parse_services(R"({"services": [
    {"name": "workmanager", "protocol": "grpc", "daprAppId": "wm",
     "grpc": {"host": "wm", "port": 25002, "hosts": [{"host": "wm", "port": 25002},
                                                     {"host": "wm-2", "port": 25002}]},
     "pubsub": {"pubsubName": "bus"}, "state": {"storeName": "store", "shards": 2}},
    {"name": "mine"}], "jobs": {}})");
  REQUIRE(file.ok());
  REQUIRE(file->services.size() == 2);
  const ServiceSpec expected{"workmanager", Hosts{{"wm", 25002}, {"wm-2", 25002}}, "bus", "store"};
  CHECK(file->services[0] == expected);
  CHECK(file->services[1] == ServiceSpec{"mine", {}, {}, {}});
  CHECK(file->ignored ==
        std::vector<std::string>{"jobs", "workmanager.state.shards", "workmanager.daprAppId"});
}

TEST_CASE("a services.json that does not fit names the place") {
  const auto complaint = [](const char* json) {
    const auto file = parse_services(json);
    CHECK(file.status().code() == absl::StatusCode::kInvalidArgument);
    return std::string(message(file.status()));
  };
  CHECK(complaint("{").find("is no JSON") == 0);
  CHECK(complaint("[]") == "must be an object with an array `services`");
  CHECK(complaint(R"({"services": [1]})") == "services[0]: must be an object");
  CHECK(complaint(R"({"services": [{"name": "a b"}]})").find("services[0].name: ") == 0);
  CHECK(complaint(R"({"services": [{"name": "a"}, {"name": "a"}]})") == "a: stands twice");
  CHECK(complaint(R"({"services": [{"name": "a", "protocol": "http"}]})") ==
        "a.protocol: is http, and must be grpc");
  CHECK(complaint(R"({"services": [{"name": "a", "grpc": {"host": "h", "port": 0}}]})") ==
        "a.grpc.port: must be an integer between 1 and 65535");
  CHECK(complaint(R"({"services": [{"name": "a", "grpc": {"hosts": [{"port": 1}]}}]})") ==
        "a.grpc.hosts[0].host: must be a host name or an address");
}

TEST_CASE("host:port") {
  CHECK(parse_host("localhost:1").value() == rpc::Endpoint{"localhost", 1});
  CHECK(parse_host("[::1]:25002").value() == rpc::Endpoint{"::1", 25002});
  for (const char* text : {"", "host", "host:", ":1", "host:0", "host:65536", "host:1x", "::1:80",
                           "a b:1", "http://a:1"}) {
    INFO(text);
    CHECK(parse_host(text).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

/// Keeps what it was told.
class Told final : public rpc::Backends {
 public:
  void set(std::vector<rpc::BackendSpec> specs) override {
    std::lock_guard lock(mutex_);
    history_.push_back(std::move(specs));
  }
  void close() override {}
  std::size_t times() {
    std::lock_guard lock(mutex_);
    return history_.size();
  }
  std::vector<rpc::BackendSpec> last() {
    std::lock_guard lock(mutex_);
    return history_.back();
  }

 private:
  std::mutex mutex_;
  std::vector<std::vector<rpc::BackendSpec>> history_;
};

struct DirectoryRig {
  DirectoryRig() {
    path = std::filesystem::temp_directory_path() /
           ("virtufin-services-" + std::string(random_uuid().view()) + ".json");
    config.services_poll = 10ms;
    config.services_file = path.string();
  }
  ~DirectoryRig() { std::filesystem::remove(path); }
  /// As an editor or a mounted config map does it: another file in its place.
  void write(const std::string& text) {
    const std::string beside = path.string() + ".new";
    std::ofstream(beside) << text;
    std::filesystem::rename(beside, path);
  }
  static bool eventually(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }

  std::filesystem::path path;
  GatewayConfig config;
  Told told;
  Loops loops{1};
  BlockingPool blocking{"test", 1, 16};
};

TEST_CASE("the services of config and file go to the backends, again when the file changes") {
  DirectoryRig rig;
  rig.config.other_services = {{"workmanager", Hosts{{"wm", 25002}}, {}, {}}};
  rig.write(R"({"services": [{"name": "workmanager", "grpc": {"host": "not", "port": 1}},
                             {"name": "x", "grpc": {"host": "x", "port": 2}}]})");
  ServiceDirectory directory(rig.config, rig.told, rig.loops.at(0), rig.blocking);
  REQUIRE(directory.start().ok());
  REQUIRE(rig.told.times() == 1);
  auto specs = rig.told.last();
  REQUIRE(specs.size() == 2);
  CHECK(specs[0] ==
        rpc::BackendSpec{"workmanager", Hosts{{"wm", 25002}}, {"virtufin.WorkManager"}});
  CHECK(specs[1] == rpc::BackendSpec{"x", Hosts{{"x", 2}}, {}});

  rig.write(R"({"services": [{"name": "x", "grpc": {"host": "x", "port": 3}}]})");
  CHECK(DirectoryRig::eventually([&] { return rig.told.times() == 2; }));
  CHECK(rig.told.last()[1] == rpc::BackendSpec{"x", Hosts{{"x", 3}}, {}});
  CHECK(directory.services()->at(1).hosts == Hosts{{"x", 3}});

  // One that does not parse, and then none at all, change nothing.
  rig.write("{");
  rig.write(R"({"services": []})");
  CHECK(DirectoryRig::eventually([&] { return rig.told.times() == 3; }));
  CHECK(rig.told.last().size() == 1);
  directory.stop();
}

TEST_CASE("a services file that cannot be used ends the start") {
  DirectoryRig rig;
  ServiceDirectory absent(rig.config, rig.told, rig.loops.at(0), rig.blocking);
  auto status = absent.start();
  CHECK(status.code() == absl::StatusCode::kNotFound);
  CHECK(message(status).find(rig.path.string()) != std::string_view::npos);
  rig.write("{}");
  ServiceDirectory wrong(rig.config, rig.told, rig.loops.at(0), rig.blocking);
  status = wrong.start();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK(rig.told.times() == 0);
}

TEST_CASE("Config tells where the services of other processes are") {
  GatewayConfig config;
  config.grpc_port = 6002;
  config.bus_name = "pubsub";
  config.other_services = {{"workmanager", Hosts{{"wm", 25002}}, {}, "theirs"},
                           {"x", Hosts{{"x", 2}}, "bus", {}}};
  Told told;
  Loops loops(1);
  BlockingPool blocking("test", 1, 16);
  ServiceDirectory directory(config, told, loops.at(0), blocking);
  REQUIRE(directory.start().ok());
  Rig rig;
  register_config_service(rig.methods, config, &directory);
  const auto all = rig.call<ListConfigServicesResponse>("virtufin.Config/ListServices",
                                                        ListConfigServicesRequest());
  REQUIRE(all.ok());
  REQUIRE(all->services_size() == 5);
  const auto& manager = all->services(1);
  CHECK(manager.name() == "workmanager");
  CHECK(manager.grpc().host() == "wm");
  CHECK(manager.grpc().port() == 25002);
  CHECK(manager.pubsub().pubsub_name() == "pubsub");
  CHECK(manager.state().store_name() == "theirs");
  CHECK(all->services(0).grpc().port() == 6002);
  CHECK(all->services(4).name() == "x");
  CHECK(all->services(4).pubsub().pubsub_name() == "bus");
}

}  // namespace
}  // namespace virtufin::gateway::testing

#include "core/scenario.h"
#include "modules/gateway/scenario_seed.h"
#include "rig.h"
#include "virtufin/config.pb.h"

namespace virtufin::gateway::testing {
namespace {

using namespace std::chrono_literals;

TEST_CASE("Config tells where the registered services are") {
  GatewayConfig config;
  config.host = "10.1.2.3";
  config.grpc_port = 6002;
  config.services = {"mine"};
  Rig rig(config);
  const auto all = rig.call<ListConfigServicesResponse>("virtufin.Config/ListServices",
                                                        ListConfigServicesRequest());
  REQUIRE(all.ok());
  REQUIRE(all->services_size() == 5);
  std::vector<std::string> names;
  for (const auto& service : all->services()) names.push_back(service.name());
  CHECK(names ==
        std::vector<std::string>{"api", "workmanager", "websocketmanager", "examples", "mine"});
  GetConfigServiceRequest request;
  request.set_name("workmanager");
  auto one = rig.call<GetConfigServiceResponse>("virtufin.Config/GetService", request);
  REQUIRE(one.ok());
  CHECK(one->service().name() == "workmanager");
  CHECK(one->service().grpc().host() == "10.1.2.3");
  CHECK(one->service().grpc().port() == 6002);
  CHECK(one->service().pubsub().pubsub_name() == "memory");
  CHECK(one->service().state().store_name() == "memory");
  request.set_name("nobody");
  one = rig.call<GetConfigServiceResponse>("virtufin.Config/GetService", request);
  REQUIRE(one.ok());
  CHECK_FALSE(one->has_service());
}

bus::Item read(Rig& rig, const std::string& key) {
  bus::Item item;
  rig.store->get(key, [&](absl::StatusOr<bus::Item> got) { item = *std::move(got); });
  return item;
}

void write(Rig& rig, const std::string& key, const std::string& value) {
  absl::Status status = absl::UnknownError("no answer");
  rig.store->save({key, value, {}, std::nullopt},
                  [&](const absl::StatusOr<std::string>& saved) { status = saved.status(); });
  REQUIRE(status.ok());
}

TEST_CASE("the scenario LIVE is seeded once") {
  Rig rig;
  REQUIRE(seed_scenarios(*rig.store, rig.clock, 5s).ok());
  const bus::Item live = read(rig, "scenario.LIVE");
  const auto scenario = scenario_from_json(live.value);
  REQUIRE(scenario.ok());
  CHECK(scenario->status == "active");
  CHECK(scenario->market == Lane::kActual);
  CHECK(scenario->portfolio == Lane::kActual);
  CHECK(scenario->strategy == Lane::kActual);
  CHECK(read(rig, "scenario.index").value == R"(["LIVE"])");

  REQUIRE(seed_scenarios(*rig.store, rig.clock, 5s).ok());
  CHECK(read(rig, "scenario.LIVE").etag == live.etag);
  CHECK(read(rig, "scenario.index").value == R"(["LIVE"])");
}

TEST_CASE("what is registered stays registered") {
  Rig rig;
  write(rig, "scenario.LIVE", "theirs");
  write(rig, "scenario.index", R"([ "backtest-1", "x" ])");
  REQUIRE(seed_scenarios(*rig.store, rig.clock, 5s).ok());
  CHECK(read(rig, "scenario.LIVE").value == "theirs");
  CHECK(read(rig, "scenario.index").value == R"(["LIVE","backtest-1","x"])");
}

TEST_CASE("an index that is none is the operator's to repair") {
  Rig rig;
  write(rig, "scenario.index", R"({"LIVE":1})");
  const auto status = seed_scenarios(*rig.store, rig.clock, 5s);
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(message(status)), Catch::Contains("scenario.index"));
  CHECK(read(rig, "scenario.index").value == R"({"LIVE":1})");
}

/// Takes requests and never answers.
class SilentStore final : public bus::StateStore {
 public:
  void get(std::string, bus::Done<bus::Item> done) override { kept_.push_back(std::move(done)); }
  void get(std::vector<std::string>, bus::Done<std::vector<bus::Item>>) override {}
  void save(bus::Save, bus::Done<std::string> done) override { saves_.push_back(std::move(done)); }
  void erase(bus::Erase, bus::Done<std::monostate>) override {}
  void transact(std::vector<std::variant<bus::Save, bus::Erase>>,
                bus::Done<std::monostate>) override {}
  void query(std::string, std::size_t, bus::Done<std::vector<bus::Item>>) override {}

 private:
  std::vector<bus::Done<bus::Item>> kept_;
  std::vector<bus::Done<std::string>> saves_;
};

TEST_CASE("a store that does not answer is not waited for for ever") {
  SilentStore store;
  WallClock clock;
  CHECK(seed_scenarios(store, clock, 20ms).code() == absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace virtufin::gateway::testing

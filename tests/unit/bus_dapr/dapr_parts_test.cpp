#include <catch2/catch.hpp>
#include <cstdlib>

#include "bus/dapr/dapr_config.h"
#include "bus/dapr/key_order.h"
#include "bus/dapr/sidecar.h"
#include "bus/dapr/state_transaction.h"
#include "core/config.h"
#include "core/errors.h"

/// The parts of the Dapr adapter that need no sidecar.
using namespace virtufin;
using namespace virtufin::bus;
using std::chrono::milliseconds;

namespace {

struct Step {
  int number = 0;
  std::size_t lines_ahead = 0;
};

using AnyWrite = std::variant<Save, Erase>;

std::string text_of(const std::vector<sidecar::Write>& plan) {
  std::string text;
  for (const auto& write : plan) {
    text +=
        fmt::format("{} {}={} over {}{};", write.erase ? "erase" : "save", write.key, write.value,
                    write.etag.empty() ? "nothing" : write.etag, write.first_write ? " only" : "");
  }
  return text;
}

}  // namespace

TEST_CASE("operations of one key go one after the other, others at once") {
  sidecar::KeyOrder<Step> order;
  Step a{1}, ab{2}, b{3}, c{4};
  std::vector<Step*> ready;
  CHECK(order.add(&a, {"a"}));
  CHECK_FALSE(order.add(&ab, {"a", "b"}));
  CHECK_FALSE(order.add(&b, {"b"}));
  CHECK(order.add(&c, {"c"}));
  order.remove({"c"}, ready);
  CHECK(ready.empty());
  order.remove({"a"}, ready);
  REQUIRE(ready.size() == 1);
  CHECK(ready.front() == &ab);
  ready.clear();
  order.remove({"a", "b"}, ready);
  REQUIRE(ready.size() == 1);
  CHECK(ready.front() == &b);
  order.remove({"b"}, ready);
  CHECK(order.keys() == 0);
}

TEST_CASE("a transaction is planned from what is stored") {
  const std::vector<Item> now{{"a", "1", "e1"}, {"b", "1", "e2"}, {"c", "", ""}};
  const auto plan = [&](std::vector<AnyWrite> writes) {
    // The plan's views point into the writes.
    const auto planned = sidecar::plan_transaction(writes, now);
    INFO(message(planned.status()));
    REQUIRE(planned.ok());
    return text_of(*planned);
  };
  CHECK(plan({Save{"a", "2", IfEtag{"e1"}, {}}, Erase{"b", {}}, Save{"c", "1", IfAbsent{}, {}}}) ==
        "save a=2 over e1 only;erase b= over nothing;save c=1 over nothing only;");
  CHECK(plan({Save{"a", "2", {}, {}}, Erase{"b", IfEtag{"e2"}}, Save{"c", "1", {}, {}}}) ==
        "save a=2 over e1 only;erase b= over e2 only;save c=1 over nothing;");
  // Of each key the last write counts, and what comes to nothing is not asked for.
  CHECK(plan({Erase{"a", {}}, Save{"a", "3", IfAbsent{}, {}}, Save{"b", "2", {}, {}},
              Erase{"b", {}}, Save{"c", "1", {}, {}}, Erase{"c", {}}}) ==
        "save a=3 over e1 only;erase b= over nothing;");

  const auto refused = [&](std::vector<AnyWrite> writes) {
    // Each names every key, as transact() asks for all of them.
    writes.push_back(Save{"a", "", {}, {}});
    writes.push_back(Save{"b", "", {}, {}});
    writes.push_back(Save{"c", "", {}, {}});
    return sidecar::plan_transaction(writes, now).status();
  };
  CHECK(refused({Save{"a", "2", IfAbsent{}, {}}}).code() == absl::StatusCode::kAborted);
  CHECK(refused({Save{"a", "2", IfEtag{"e2"}, {}}}).code() == absl::StatusCode::kAborted);
  CHECK(refused({Erase{"c", IfEtag{"e1"}}}).code() == absl::StatusCode::kAborted);
  CHECK(refused({Save{"c", "1", {}, {}}, Save{"c", "2", IfAbsent{}, {}}}).code() ==
        absl::StatusCode::kAborted);
  CHECK_THAT(std::string(message(refused({Save{"a", "2", IfEtag{"old"}, {}}}))),
             Catch::Contains("'a'") && Catch::Contains("e1") && Catch::Contains("old"));
}

TEST_CASE("a topic goes to the component of its longest root") {
  DaprConfig config;
  config.components = {
      {"sc", "orders"}, {"sc.LIVE.", "live"}, {"act.", "market"}, {"default", "rest"}};
  CHECK(config.component_of("sc.a.trading.order.submitted") == "orders");
  CHECK(config.component_of("sc.LIVE.trading.order.submitted") == "live");
  CHECK(config.component_of("sc.LIVELY.x") == "orders");
  CHECK(config.component_of("sc") == "orders");
  CHECK(config.component_of("scx.a") == "rest");
  CHECK(config.component_of("act.exchange.binance.trade.tape") == "market");
  CHECK(config.component_of("default") == "rest");
  CHECK(config.root_of("act.x") == "act");
  CHECK(config.root_of("other") == "default");
  CHECK(config.pubsub_components() == std::vector<std::string>{"live", "market", "orders", "rest"});
  config.components.erase("default");
  CHECK(config.component_of("other").empty());
}

TEST_CASE("the sidecar's address comes from the config, else from Dapr's variables") {
  unsetenv("DAPR_GRPC_ENDPOINT");
  unsetenv("DAPR_GRPC_PORT");
  DaprConfig config;
  CHECK(config.resolved_endpoint() == "127.0.0.1:50001");
  setenv("DAPR_GRPC_PORT", "4711", 1);
  CHECK(config.resolved_endpoint() == "127.0.0.1:4711");
  setenv("DAPR_GRPC_ENDPOINT", "dapr.example:50002", 1);
  CHECK(config.resolved_endpoint() == "dapr.example:50002");
  config.endpoint = "10.0.0.1:1";
  CHECK(config.resolved_endpoint() == "10.0.0.1:1");
  unsetenv("DAPR_GRPC_ENDPOINT");
  unsetenv("DAPR_GRPC_PORT");
}

TEST_CASE("the adapter's keys are read, and refused where they cannot be") {
  const auto read = [](const std::string& toml, DaprConfig& config) {
    auto parsed = Config::parse(toml, "test.toml", {});
    REQUIRE(parsed.ok());
    config.read(parsed->section("bus.dapr"));
    return parsed->finish();
  };
  DaprConfig config;
  REQUIRE(read("[bus.dapr]\nendpoint = \"h:1\"\nreorder_wait_ms = 5\nreplicas = 3\n"
               "components = { sc = \"x\", default = \"y\" }\nstate_store = \"s\"\n",
               config)
              .ok());
  CHECK(config.endpoint == "h:1");
  CHECK(config.reorder_wait == milliseconds(5));
  CHECK(config.replicas == 3);
  CHECK(config.pubsub_components() == std::vector<std::string>{"x", "y"});
  CHECK(config.state_store == "s");
  CHECK(config.bulk_max == 64);
  DaprConfig other;
  CHECK_THAT(std::string(message(read("[bus.dapr]\nstate_store = \"\"\n", other))),
             Catch::Contains("state_store"));
  CHECK_THAT(std::string(message(read("[bus.dapr]\ncomponents = { sc = \"\" }\n", other))),
             Catch::Contains("components"));
  CHECK_THAT(std::string(message(read("[bus.dapr]\nreopen_max_ms = 10\n", other))),
             Catch::Contains("reopen_max_ms"));
}

TEST_CASE("waits double up to their bound, never in step and never zero") {
  Backoff backoff(milliseconds(10), milliseconds(100));
  const std::vector<int> most{10, 20, 40, 80, 100, 100};
  for (const int bound : most) {
    const auto wait = backoff.next();
    CHECK(wait.count() >= bound / 2);
    CHECK(wait.count() <= bound);
  }
  for (int i = 0; i < 100; ++i) CHECK(backoff.next().count() >= 50);
  backoff.succeeded();
  CHECK(backoff.next() <= milliseconds(10));
  Backoff none(milliseconds(0), milliseconds(0));
  for (int i = 0; i < 100; ++i) CHECK(none.next() == milliseconds(1));
}

#include "bus/dapr/topic_map.h"

#include <catch2/catch.hpp>

#include "bus/dapr/market_hole.h"
#include "bus/dapr/sidecar.h"
#include "core/errors.h"
#include "core/event_writer.h"

using namespace virtufin;
using namespace virtufin::bus;

namespace {

DaprConfig config() {
  DaprConfig config;
  config.components = {{"sc", "p-sc"},     {"sc.TEST", "p-test"}, {"act", "p-act"},
                       {"dead", "p-dead"}, {"default", "p"},      {"gateway.", "p-gw"}};
  return config;
}

SidecarInfo all_of(const std::string& type) {
  SidecarInfo info;
  for (const char* name : {"p-sc", "p-test", "p-act", "p-dead", "p", "p-gw"}) {
    info.components.push_back({name, type, "v1", {}});
  }
  return info;
}

std::vector<std::string> texts(const TopicMap& map, std::string_view pattern,
                               const SidecarInfo& info) {
  const auto sources = map.sources(pattern, &info);
  INFO(message(sources.status()));
  REQUIRE(sources.ok());
  REQUIRE(*sources);
  std::vector<std::string> texts;
  for (const auto& source : **sources) texts.push_back(source.component + " " + source.topic);
  return texts;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("a topic's component is that of its longest root, and dead letters have their own") {
  const TopicMap map(config());
  struct Case {
    const char *topic, *component, *on_broker;
    bool bulk;
  };
  for (const Case& c : std::vector<Case>{
           {"sc.LIVE.orders", "p-sc", "sc.LIVE.orders", false},
           {"sc.TEST.orders", "p-test", "sc.TEST.orders", false},
           {"sc.TESTING.orders", "p-sc", "sc.TESTING.orders", false},
           {"act.exchange.binance.trade.tape", "p-act", "act.exchange.binance.trade.tape", true},
           {"hyp.bt1.exchange.binance.trade.tape", "p", "hyp.bt1.exchange.binance.trade.tape",
            true},
           {"gateway.lifecycle", "p-gw", "gateway.lifecycle", false},
           {"sc.LIVE.orders-dead", "p-dead", "dead.sc.LIVE.orders", false},
           {"act.x-dead", "p-dead", "dead.act.x", false},
           {"actor", "p", "actor", false},
       }) {
    INFO(c.topic);
    const auto address = map.address(c.topic);
    REQUIRE(address.ok());
    CHECK(address->component == c.component);
    CHECK(address->topic == c.on_broker);
    CHECK(TopicMap::in_bulk(*address, BrokerKind::kOther) == c.bulk);
    CHECK(TopicMap::in_bulk(*address, BrokerKind::kJetStream) ==
          (c.bulk && std::string_view(c.component) == "p-act"));
    CHECK(TopicMap::from_broker(address->topic) == c.topic);
  }
  CHECK(map.address("").status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(map.address("dead.x").status().code() == absl::StatusCode::kInvalidArgument);
  DaprConfig no_default = config();
  no_default.components.erase("default");
  CHECK(TopicMap(no_default).address("other").status().code() ==
        absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("on JetStream one subscription takes a root") {
  const TopicMap map(config());
  const auto info = all_of("pubsub.jetstream");
  CHECK(texts(map, "sc.LIVE.orders", info) == Texts{"p-sc sc.>"});
  CHECK(texts(map, "sc.LIVE.*", info) == Texts{"p-sc sc.>"});
  CHECK(texts(map, "sc.*", info) == Texts{"p-sc sc.>", "p-test sc.TEST.>"});
  CHECK(texts(map, "sc.TEST.*", info) == Texts{"p-test sc.TEST.>"});
  CHECK(texts(map, "act.x-dead", info) == Texts{"p-dead dead.>"});
  CHECK(texts(map, "other.topic", info) == Texts{"p other.topic"});
  const auto refused = map.sources("other.*", &info);
  CHECK(refused.status().code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(message(refused.status())), Catch::Contains("component p "));
  CHECK(map.sources("two..dots", &info).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("JetStream hands out one event at a time, but for the market roots") {
  const TopicMap map(config());
  const auto jetstream = all_of("pubsub.jetstream");
  const auto source = [&](const char* topic, const SidecarInfo& info) {
    return map.sources(topic, &info)->value().at(0);
  };
  CHECK(source("sc.LIVE.orders", jetstream).one_by_one);
  CHECK_FALSE(source("sc.LIVE.orders", jetstream).market);
  CHECK_FALSE(source("act.x", jetstream).one_by_one);
  CHECK(source("act.x", jetstream).market);
  // No root of its own: on the component that takes the rest.
  CHECK(source("hyp.bt1.x", jetstream).one_by_one);
  CHECK(source("hyp.bt1.x", jetstream).market);
  CHECK_FALSE(source("sc.LIVE.orders", all_of("pubsub.redis")).one_by_one);
}

TEST_CASE("where there are no wildcards each topic is subscribed by itself") {
  const TopicMap map(config());
  const auto info = all_of("pubsub.redis");
  CHECK(texts(map, "sc.LIVE.orders", info) == Texts{"p-sc sc.LIVE.orders"});
  CHECK(texts(map, "sc.LIVE.orders-dead", info) == Texts{"p-dead dead.sc.LIVE.orders"});
  const auto refused = map.sources("sc.*", &info);
  CHECK(refused.status().code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(message(refused.status())), Catch::Contains("p-sc"));
  CHECK(texts(map, "act.x", all_of("pubsub.in-memory")) == Texts{"p-act act.*"});
}

TEST_CASE("as long as a component is not known, nothing is said") {
  const TopicMap map(config());
  const auto unknown = map.sources("sc.x", nullptr);
  REQUIRE(unknown.ok());
  CHECK_FALSE(*unknown);
  SidecarInfo info = all_of("pubsub.redis");
  info.components.erase(info.components.begin());
  const auto missing = map.sources("sc.x", &info);
  REQUIRE(missing.ok());
  CHECK_FALSE(*missing);
}

TEST_CASE("what is no NATS subject is refused for JetStream alone") {
  const TopicMap map(config());
  for (const char* topic : {"a b", ".a", "a.", "a..b", "a.*", "a.>", "*", "tab\there"}) {
    INFO(topic);
    const auto address = map.address(topic);
    REQUIRE(address.ok());
    CHECK(TopicMap::check(*address, BrokerKind::kJetStream).code() ==
          absl::StatusCode::kInvalidArgument);
    CHECK(TopicMap::check(*address, BrokerKind::kOther).ok());
  }
  for (const char* topic : {"a", "a.b-c_d", "a*.b", "ünï.çode"}) {
    INFO(topic);
    CHECK(TopicMap::check(*map.address(topic), BrokerKind::kJetStream).ok());
  }
}

TEST_CASE("a hole in a market topic is told as the feeds tell theirs") {
  EventFields fields;
  fields.id = "1";
  fields.type = "com.virtufin.exchange.binance.trade.tape";
  fields.source = "urn:feed";
  fields.subject = "BTCUSDT";
  fields.time = "2026-01-31T12:00:00Z";
  const std::vector<Extension> extensions{{"scenarioid", "bt-1"},
                                          {"marketlane", "hyp"},
                                          {"marketselector", "bt1"},
                                          {"eventtime", "2026-01-31T12:00:00.000000000Z"},
                                          {"walltime", "2026-01-31T12:00:00.000000001Z"},
                                          {"buslate", "true"}};
  fields.extensions = extensions;
  const auto next = make_event(fields);
  REQUIRE(next.ok());
  const TimePoint now(std::chrono::hours(24 * 365 * 50));
  const auto gap =
      make_gap({"hyp.bt1.exchange.binance.trade.tape", 5, 9}, "pubsub-hyp", **next, now);
  REQUIRE(gap.ok());
  CHECK(gap->topic == "hyp.bt1.exchange.binance.feed.gap");
  CHECK(gap->event->type() == "com.virtufin.exchange.binance.feed.gap");
  CHECK(gap->event->source() == "urn:feed");
  CHECK(gap->event->subject().empty());
  CHECK(gap->event->scenario_id() == "bt-1");
  CHECK(gap->event->extension("marketselector") == "bt1");
  CHECK(gap->event->event_time() == (*next)->event_time());
  CHECK(gap->event->wall_time() == now);
  CHECK(gap->event->extension("buslate").empty());
  CHECK(as_text(gap->event->data()) ==
        R"({"connection_id":"dapr/pubsub-hyp","expected":5,"received":9,"reason":"events of )"
        R"(hyp.bt1.exchange.binance.trade.tape were lost between their publisher and this )"
        R"(process"})");
  // One that is no exchange's has its gap at the head of its market.
  CHECK(make_gap({"act.prices", 5, 9}, "p", **next, now)->topic == "act.feed.gap");
}

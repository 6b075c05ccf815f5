#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "conformance/support.h"
#include "conformance/under_test.h"
#include "core/event_codec.h"

/// What brokers make hard: order in bulk, retries that end, events that come again, events of
/// others, events that the way there would change.
using namespace virtufin;
using namespace virtufin::testing;
using bus::Answer;
using bus::Delivery;
using bus::SubscribeOptions;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

SubscribeOptions blocking(const std::string& name) {
  SubscribeOptions options;
  options.name = name;
  options.overflow = bus::Overflow::kBlock;
  options.retry.first_delay = milliseconds(1);
  return options;
}

std::unique_ptr<BusUnderTest> under_test() {
  const std::size_t kind = GENERATE(range<std::size_t>(0, buses().size()));
  INFO(buses()[kind].name);
  return buses()[kind].make();
}

std::string structured(const std::string& id, const std::string& more) {
  return R"({"specversion":"1.0","id":")" + id +
         R"(","source":"another-app","type":"com.example.made","datacontenttype":"application/json")" +
         more + R"(,"data":{"n":1}})";
}

std::string order(int counter) {
  return fmt::format(R"(,"busorder":"00000000000000aa.{:020}")", counter);
}

}  // namespace

TEST_CASE("a burst on a market topic comes in order and whole") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder recorder, gaps;
  auto options = blocking("burst");
  options.queue_events = 100'000;
  const auto subscription =
      stand(bus, {"act.exchange.sim.trade.tape"}, std::move(options), recorder.handler());
  const auto gap = stand(bus, {"act.exchange.sim.feed.gap"}, blocking("gaps"), gaps.handler());
  constexpr std::size_t kEvents = 3000;
  const auto wanted = numbers(1, kEvents);
  const auto topic = bus.topic("act.exchange.sim.trade.tape");
  std::atomic<std::size_t> acknowledged = 0;
  for (const std::string& id : wanted) {
    bus.publish(topic, make({id, "t", "BTCUSDT", "LIVE", ""}),
                [&](const absl::Status& status) { acknowledged += status.ok() ? 1 : 0; });
  }
  REQUIRE(recorder.wait_for(kEvents) == kEvents);
  CHECK(eventually([&] { return acknowledged == kEvents; }));
  CHECK(recorder.ids() == wanted);
  for (const auto& seen : recorder.seen()) CHECK_FALSE(seen.late);
  CHECK(gaps.count() == 0);
}

TEST_CASE("several topics at once each keep their order") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  constexpr int kTopics = 8, kEvents = 100;
  std::vector<Recorder> recorders(kTopics);
  std::vector<std::unique_ptr<bus::Subscription>> subscriptions;
  std::vector<bus::TopicPtr> topics;
  for (int t = 0; t < kTopics; ++t) {
    const std::string topic = "sc.S" + std::to_string(t) + ".orders";
    auto options = blocking(topic);
    options.queue_events = kEvents;
    subscriptions.push_back(stand(bus, {topic}, std::move(options), recorders[t].handler()));
    topics.push_back(bus.topic(topic));
  }
  for (int i = 0; i < kEvents; ++i) {
    for (int t = 0; t < kTopics; ++t) bus.publish(topics[t], make(i * kTopics + t));
  }
  for (int t = 0; t < kTopics; ++t) {
    REQUIRE(recorders[t].wait_for(kEvents) == kEvents);
    std::vector<std::string> wanted;
    for (int i = 0; i < kEvents; ++i) wanted.push_back(std::to_string(i * kTopics + t));
    CHECK(recorders[t].ids() == wanted);
  }
}

TEST_CASE("a retry ends, its dead letter arrives, and the broker does not repeat it") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder dead;
  const auto graveyard = stand(bus, {"sc.LIVE.orders-dead"}, blocking("graveyard"), dead.handler());
  Recorder recorder(
      [](const Delivery& d) { return d.event->id() == "bad" ? Answer::kRetry : Answer::kSuccess; });
  const auto subscription = stand(bus, {"sc.LIVE.orders"}, blocking("worker"), recorder.handler());
  publish(bus, "sc.LIVE.orders", make({"bad", "t", "", "LIVE", ""}));
  publish(bus, "sc.LIVE.orders", make({"good", "t", "", "LIVE", ""}));
  REQUIRE(dead.wait_for(1) == 1);
  CHECK(dead.seen()[0].event->extension("deadletterid") == "bad");
  CHECK(dead.seen()[0].topic == "sc.LIVE.orders-dead");
  REQUIRE(recorder.wait_for(5) == 5);
  CHECK(recorder.ids() == std::vector<std::string>{"bad", "bad", "bad", "bad", "good"});
  // JetStream would have it back at once if it were not answered.
  publish(bus, "sc.LIVE.orders", make({"last", "t", "", "LIVE", ""}));
  REQUIRE(recorder.wait_for(6) == 6);
  CHECK(recorder.ids().back() == "last");
  CHECK(dead.count() == 1);
}

TEST_CASE("an event of an app that knows nothing of us comes as it is") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder recorder;
  const auto subscription = stand(bus, {"sc.LIVE.orders"}, blocking("one"), recorder.handler());
  if (!fixture->publish_from_outside(
          "sc.LIVE.orders", structured("theirs", R"(,"subject":"s/1","tenant":"x","rank":3)"))) {
    return;
  }
  REQUIRE(recorder.wait_for(1) == 1);
  const auto seen = recorder.seen()[0];
  CHECK(seen.id == "theirs");
  CHECK_FALSE(seen.late);
  CHECK(seen.event->source() == "another-app");
  CHECK(seen.event->type() == "com.example.made");
  CHECK(seen.event->subject() == "s/1");
  CHECK(seen.event->extension("tenant") == "x");
  CHECK(seen.event->extension("rank") == "3");
  CHECK(seen.event->extension_count() == 2);
  CHECK(as_text(seen.event->data()) == R"({"n":1})");
  // And does not disturb the order of ours.
  publish(bus, "sc.LIVE.orders", make(1));
  CHECK(recorder.wait_for(2) == 2);
}

TEST_CASE("a hole in a market topic is told before what follows it, and what comes then is late") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder recorder, gaps;
  const auto subscription =
      stand(bus, {"act.exchange.sim.trade.tape"}, blocking("one"), recorder.handler());
  const auto gap = stand(bus, {"act.exchange.sim.feed.gap"}, blocking("gaps"), gaps.handler());
  const std::string topic = "act.exchange.sim.trade.tape";
  if (!fixture->publish_from_outside(topic, structured("1", order(1)))) return;
  fixture->publish_from_outside(topic, structured("4", order(4)));
  REQUIRE(recorder.wait_for(2) == 2);
  REQUIRE(gaps.wait_for(1) == 1);
  fixture->publish_from_outside(topic, structured("3", order(3)));
  REQUIRE(recorder.wait_for(3) == 3);
  CHECK(recorder.ids() == std::vector<std::string>{"1", "4", "3"});
  std::vector<bool> late;
  for (const auto& seen : recorder.seen()) late.push_back(seen.late);
  CHECK(late == std::vector<bool>{false, false, true});
  CHECK(recorder.seen()[2].event->extension("buslate") == "true");
  CHECK(recorder.seen()[1].event->extension("buslate").empty());
  const std::string told(as_text(gaps.seen()[0].event->data()));
  CHECK_THAT(told, Catch::Contains(R"("expected":2)") && Catch::Contains(R"("received":4)"));
}

TEST_CASE("what was not answered before a reconnect comes again, late, and new events in order") {
  const auto fixture = under_test();
  if (!fixture->comes_again) return;
  auto& bus = fixture->bus();
  const auto kept = Recorder::keeping();
  const auto subscription = stand(bus, {"sc.LIVE.orders"}, blocking("slow"), kept.handler());
  for (int i = 1; i <= 3; ++i) publish(bus, "sc.LIVE.orders", make(i));
  REQUIRE(kept.wait_for(1) == 1);
  fixture->reconnect();
  // Once the sidecar is there again publishing goes on, with the events that had to wait for it.
  for (int i = 4; i <= 6; ++i) publish(bus, "sc.LIVE.orders", make(i));
  std::vector<std::string> in_time;
  std::set<std::string> late;
  REQUIRE(eventually(
      [&] {
        while (kept.kept() > 0) kept.take().answer(Answer::kSuccess);
        in_time.clear();
        late.clear();
        for (const auto& seen : kept.seen()) {
          if (seen.late) {
            late.insert(seen.id);
          } else {
            in_time.push_back(seen.id);
          }
        }
        std::set<std::string> all(late);
        all.insert(in_time.begin(), in_time.end());
        return all.size() == 6 && late.count("1") == 1;
      },
      seconds(60)));
  CHECK(std::is_sorted(in_time.begin(), in_time.end()));
  CHECK(std::adjacent_find(in_time.begin(), in_time.end()) == in_time.end());
}

TEST_CASE("what the way there would change comes back unchanged") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder recorder;
  const auto subscription = stand(bus, {"sc.LIVE.orders"}, blocking("one"), recorder.handler());
  const std::vector<Extension> extensions{
      {"expiration", "2001-01-01T00:00:00Z", AttributeKind::kTimestamp},
      {"flag", "true", AttributeKind::kBoolean},
      {"number", "-7", AttributeKind::kInteger},
      {"pubsubname", "mine"},
      {"topic", "of.their.own"},
      {"traceid", "ours"},
      {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
      {"tracestate", "vendor=1"},
      {"when", "2026-01-31T12:00:00Z", AttributeKind::kTimestamp},
  };
  struct Case {
    std::string type, data;
    DataKind kind;
  };
  const std::vector<Case> cases{
      {"application/json", R"({"a":1.50,"n":12345678901234567890,"z":null})", DataKind::kJson},
      {"application/json", "null", DataKind::kJson},
      {"application/json", R"("text")", DataKind::kJson},
      {"", R"({"a":[]})", DataKind::kByContentType},
      {"text/plain", "some <text> & more", DataKind::kText},
      {"text/csv", "3", DataKind::kJson},
      {"application/vnd.test+json", R"({"a":"b"})", DataKind::kJson},
      {"application/octet-stream", std::string("\x00\x01\xff", 3), DataKind::kBinary},
      {"", std::string("\x00\x01\xff", 3), DataKind::kBinary},
      {"application/octet-stream", "", DataKind::kBinary},
  };
  std::vector<EventPtr> sent;
  for (std::size_t i = 0; i <= cases.size(); ++i) {
    EventFields fields;
    const std::string id = "id-" + std::to_string(i);
    fields.id = id;
    fields.type = "t";
    fields.source = "urn:test";
    fields.extensions = extensions;
    if (i % 2 == 1) fields.time = "2026-01-31T12:34:56.120+02:00";
    if (i < cases.size()) {
      fields.data_content_type = cases[i].type;
      fields.data = as_bytes(cases[i].data);
      fields.data_kind = cases[i].kind;
    }
    auto event = make_event(fields);
    REQUIRE(event.ok());
    sent.push_back(*std::move(event));
    publish(bus, "sc.LIVE.orders", sent.back());
  }
  REQUIRE(recorder.wait_for(sent.size()) == sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) {
    const Event& before = *sent[i];
    const Event& after = *recorder.seen()[i].event;
    INFO(before.id() << " " << before.data_content_type() << " " << to_json(after));
    CHECK(after.id() == before.id());
    CHECK(after.time() == before.time());
    CHECK(after.data_content_type() == before.data_content_type());
    CHECK(after.has_data() == before.has_data());
    CHECK(as_text(after.data()) == as_text(before.data()));
    CHECK(resolve_data_kind(after) == resolve_data_kind(before));
    REQUIRE(after.extension_count() == before.extension_count());
    for (std::size_t e = 0; e < before.extension_count(); ++e) {
      CHECK(after.extension_at(e).name == before.extension_at(e).name);
      CHECK(after.extension_at(e).value == before.extension_at(e).value);
      CHECK(after.extension_at(e).kind == before.extension_at(e).kind);
    }
  }
}

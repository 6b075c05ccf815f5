#include <algorithm>
#include <catch2/catch.hpp>
#include <optional>

#include "conformance/support.h"
#include "conformance/under_test.h"

/// Who gets what: topics, patterns, filters, order, failure.
using namespace virtufin;
using namespace virtufin::testing;
using bus::Answer;
using bus::Delivery;
using bus::Receipt;
using bus::SubscribeOptions;
using std::chrono::milliseconds;

namespace {

SubscribeOptions named(const std::string& name) {
  SubscribeOptions options;
  options.name = name;
  options.retry.first_delay = milliseconds(1);
  return options;
}

std::unique_ptr<bus::Subscription> subscribe(bus::Bus& bus, std::vector<std::string> patterns,
                                             SubscribeOptions options, const Recorder& recorder) {
  return stand(bus, std::move(patterns), std::move(options), recorder.handler());
}

std::unique_ptr<BusUnderTest> under_test() {
  const std::size_t kind = GENERATE(range<std::size_t>(0, buses().size()));
  INFO(buses()[kind].name);
  return buses()[kind].make();
}

}  // namespace

TEST_CASE("an event reaches a subscriber as it was published") {
  const auto fixture = under_test();
  Recorder recorder;
  const auto subscription = subscribe(fixture->bus(), {"a.b"}, named("one"), recorder);
  EventSpec spec;
  spec.id = "x-1";
  spec.subject = "order/7";
  spec.scenario = "LIVE";
  spec.data = R"({"price":"1.50"})";
  publish(fixture->bus(), "a.b", make(spec));
  REQUIRE(recorder.wait_for(1) == 1);
  const auto seen = recorder.seen()[0];
  CHECK(seen.topic == "a.b");
  CHECK(seen.id == "x-1");
  CHECK(seen.attempt == 1);
  CHECK_FALSE(seen.late);
  CHECK(seen.missed == 0);
  CHECK(seen.event->subject() == "order/7");
  CHECK(seen.event->scenario_id() == "LIVE");
  CHECK(as_text(seen.event->data()) == R"({"price":"1.50"})");
}

TEST_CASE("publishing to nobody is fine, to no topic is not") {
  const auto fixture = under_test();
  CHECK(Publish(fixture->bus(), "nobody.here", make(1)).status().ok());
  CHECK(Publish(fixture->bus(), "", make(1)).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(Publish(fixture->bus(), "a.b", nullptr).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("what is published before a subscription stands is not seen, all after is") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  const auto topic = bus.topic("late.comer");
  publish(bus, "late.comer", make(1));
  std::atomic<int> ready = 0;
  auto options = named("late");
  options.on_ready = [&] { ++ready; };
  Recorder recorder;
  auto subscription = subscribe(bus, {"late.comer"}, std::move(options), recorder);
  REQUIRE(eventually([&] { return ready == 1; }));
  // Through the topic that was looked up before as well.
  bus.publish(topic, make(2));
  publish(bus, "late.comer", make(3));
  const int first = fixture->sees_earlier ? 1 : 2;
  const std::size_t seen = fixture->sees_earlier ? 3 : 2;
  REQUIRE(recorder.wait_for(seen) == seen);
  CHECK(recorder.ids() == numbers(first, 3));
  subscription.reset();
  bus.publish(topic, make(4));
  publish(bus, "late.comer", make(5));
  CHECK(recorder.count() == seen);
  CHECK(ready == 1);
}

TEST_CASE("a trailing wildcard matches what begins so, but no dead letters") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder recorder;
  if (!fixture->wildcards) {
    auto refused = bus.subscribe({"act.*"}, named("wild"), recorder.handler());
    CHECK(refused.status().code() == absl::StatusCode::kUnimplemented);
    return;
  }
  const auto subscription = subscribe(bus, {"act.*"}, named("wild"), recorder);
  int id = 1;
  for (const char* topic : {"act.x", "act.x.y.z", "actor.x", "act.x-dead", "hyp.act.x"}) {
    publish(bus, topic, make(id++));
  }
  if (fixture->bare_roots) publish(bus, "act", make(id++));
  publish(bus, "act.last", make(id));
  REQUIRE(recorder.wait_for(3) == 3);
  std::vector<std::string> topics;
  for (const auto& seen : recorder.seen()) topics.push_back(seen.topic);
  if (!fixture->order_of_topics) std::sort(topics.begin(), topics.end());
  std::vector<std::string> wanted{"act.x", "act.x.y.z", "act.last"};
  if (!fixture->order_of_topics) std::sort(wanted.begin(), wanted.end());
  CHECK(topics == wanted);
}

TEST_CASE("in a published topic a star is a character") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder recorder;
  const auto subscription = subscribe(bus, {"a.b"}, named("plain"), recorder);
  const absl::Status starred = Publish(bus, "a.*", make(1)).status();
  CHECK(starred.code() ==
        (fixture->any_topic ? absl::StatusCode::kOk : absl::StatusCode::kInvalidArgument));
  publish(bus, "a.b", make(2));
  REQUIRE(recorder.wait_for(1) == 1);
  CHECK(recorder.ids() == numbers(2, 2));
}

TEST_CASE("patterns that are none are refused") {
  const auto fixture = under_test();
  Recorder recorder;
  for (const char* pattern : {"*", "", "a*", "a.*.b", "*.a", ".*"}) {
    INFO(pattern);
    const auto subscription = fixture->bus().subscribe({pattern}, named("bad"), recorder.handler());
    CHECK(subscription.status().code() == absl::StatusCode::kInvalidArgument);
  }
  CHECK(fixture->bus().subscribe({}, named("none"), recorder.handler()).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("options that cannot be are refused by name") {
  const auto fixture = under_test();
  Recorder recorder;
  const auto refused = [&](const std::function<void(SubscribeOptions&)>& change) {
    auto options = named("bad");
    change(options);
    const auto status =
        fixture->bus().subscribe({"a"}, std::move(options), recorder.handler()).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    return std::string(message(status));
  };
  CHECK(refused([](auto& o) { o.queue_events = 0; }).find("queue_events") != std::string::npos);
  CHECK(refused([](auto& o) { o.max_in_flight = 0; }).find("max_in_flight") != std::string::npos);
  CHECK(refused([](auto& o) { o.retry.max_attempts = 0; }).find("max_attempts") !=
        std::string::npos);
  CHECK(fixture->bus().subscribe({"a"}, named("none"), nullptr).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("several patterns feed one queue, and an event that several match comes once") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder recorder;
  std::vector<std::string> patterns{"act.m.a", "act.m.b", "act.m.a"};
  if (fixture->wildcards) patterns.insert(patterns.end(), {"act.m.*", "act.m.a.*"});
  const auto subscription = subscribe(bus, patterns, named("many"), recorder);
  for (int i = 1; i <= 6; ++i) publish(bus, i % 2 ? "act.m.a" : "act.m.b", make(i));
  REQUIRE(recorder.wait_for(6) == 6);
  auto ids = recorder.ids();
  if (!fixture->order_of_topics) std::sort(ids.begin(), ids.end());
  CHECK(ids == numbers(1, 6));
}

TEST_CASE("a filter decides on type, subject, scenario and clock before queueing") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  struct Case {
    bus::Filter filter;
    std::vector<std::string> wanted;
  };
  const std::vector<Case> cases{
      {{"t.order.new", "", "", ""}, {"1"}},
      {{"t.order.*", "", "", ""}, {"1", "2"}},
      {{"", "s/A", "", ""}, {"1", "3"}},
      {{"", "s/*", "", ""}, {"1", "2", "3"}},
      {{"", "", "LIVE", ""}, {"1"}},
      {{"", "", "bt-*", ""}, {"2", "3"}},
      {{"", "", "", "historical"}, {"2"}},
      {{"", "", "", "wall"}, {"1", "3", "4"}},
      {{"", "", "", "w*"}, {"1", "3", "4"}},
      {{"", "", "", "none"}, {}},
      {{"*", "*", "*", "*"}, {"1", "2", "3", "4"}},
      {{"t.order.*", "s/B", "bt-1", "historical"}, {"2"}},
      {{"t.order.new", "s/B", "", ""}, {}},
      {{"nobody.sends", "", "", ""}, {}},
  };
  std::vector<Recorder> recorders;
  std::vector<std::unique_ptr<bus::Subscription>> subscriptions;
  for (const Case& c : cases) {
    auto options = named("filtered");
    options.filter = c.filter;
    recorders.emplace_back();
    subscriptions.push_back(subscribe(bus, {"f"}, std::move(options), recorders.back()));
  }
  publish(bus, "f", make({"1", "t.order.new", "s/A", "LIVE", "wall"}));
  publish(bus, "f", make({"2", "t.order.filled", "s/B", "bt-1", "historical"}));
  publish(bus, "f", make({"3", "t.trade", "s/A", "bt-2", "wall"}));
  publish(bus, "f", make({"4", "other", "", "", ""}));
  REQUIRE(recorders[10].wait_for(4) == 4);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    INFO("case " << i);
    CHECK(recorders[i].wait_for(cases[i].wanted.size()) == cases[i].wanted.size());
    CHECK(recorders[i].ids() == cases[i].wanted);
  }
}

TEST_CASE("a filter holds when it is a topic's only one, and with more texts than fit a list") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  std::vector<Recorder> recorders(20);
  std::vector<std::unique_ptr<bus::Subscription>> subscriptions;
  std::optional<Witness> witness;
  std::size_t published = 0;
  for (std::size_t i = 0; i < recorders.size(); ++i) {
    auto options = named("atom");
    options.filter.subject = "s/" + std::to_string(i);
    subscriptions.push_back(subscribe(bus, {"atoms"}, std::move(options), recorders[i]));
    // With one filter, then two, and so on.
    for (std::size_t j = 0; j <= i + 1; ++j) {
      publish(bus, "atoms",
              make({std::to_string(++published), "t", "s/" + std::to_string(j), "", ""}));
    }
    if (fixture->synchronous) continue;
    // What came before a subscription must not be seen by it for having been under way.
    if (witness) {
      witness->wait_for(published - 2);
    } else {
      REQUIRE(recorders[0].wait_for(1) == 1);
      witness.emplace(bus, std::vector<std::string>{"atoms"});
    }
  }
  for (std::size_t i = 0; i < recorders.size(); ++i) {
    CHECK(recorders[i].wait_for(recorders.size() - i) == recorders.size() - i);
  }
}

TEST_CASE("a subscription sees one publisher's events of a topic in order") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  const bool on_loop = GENERATE(false, true);
  std::optional<Loop> loop;
  auto options = named("ordered");
  options.overflow = bus::Overflow::kBlock;
  if (on_loop) options.executor = &loop.emplace("test-loop");
  Recorder first, second;
  auto more = named("second");
  more.executor = options.executor;
  more.queue_events = 100'000;
  const auto one = subscribe(bus, {"o"}, std::move(options), first);
  const auto two = subscribe(bus, {"o"}, std::move(more), second);
  const std::size_t events = fixture->synchronous ? 5000 : 1000;
  const auto wanted = numbers(1, static_cast<int>(events));
  const auto topic = bus.topic("o");
  for (const std::string& id : wanted) bus.publish(topic, make({id, "t", "", "", ""}));
  REQUIRE(first.wait_for(events) == events);
  REQUIRE(second.wait_for(events) == events);
  CHECK(first.ids() == wanted);
  CHECK(second.ids() == wanted);
}

TEST_CASE("with one in flight a retry holds what is behind it") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder recorder([](const Delivery& d) {
    return d.event->id() == "1" && d.attempt < 3 ? Answer::kRetry : Answer::kSuccess;
  });
  const auto subscription = subscribe(bus, {"r"}, named("retrying"), recorder);
  for (int i = 1; i <= 3; ++i) publish(bus, "r", make(i));
  REQUIRE(recorder.wait_for(5) == 5);
  CHECK(recorder.ids() == std::vector<std::string>{"1", "1", "1", "2", "3"});
  std::vector<int> attempts;
  for (const auto& seen : recorder.seen()) attempts.push_back(seen.attempt);
  CHECK(attempts == std::vector<int>{1, 2, 3, 1, 1});
}

TEST_CASE("with several in flight they are handed out in order and answered in any") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  auto options = named("parallel");
  options.max_in_flight = 3;
  const auto recorder = Recorder::keeping();
  const auto subscription = subscribe(bus, {"p"}, std::move(options), recorder);
  for (int i = 1; i <= 5; ++i) publish(bus, "p", make(i));
  REQUIRE(recorder.wait_for(3) == 3);
  CHECK(recorder.ids() == numbers(1, 3));
  Receipt one = recorder.take(), two = recorder.take(), three = recorder.take();
  std::move(two).answer(Answer::kSuccess);
  REQUIRE(recorder.wait_for(4) == 4);
  // A retried one comes after those that are already out.
  std::move(one).answer(Answer::kRetry);
  REQUIRE(recorder.wait_for(5) == 5);
  CHECK(recorder.ids() == std::vector<std::string>{"1", "2", "3", "4", "1"});
  CHECK(recorder.seen()[4].attempt == 2);
  std::move(three).answer(Answer::kSuccess);
  REQUIRE(recorder.wait_for(6) == 6);
  CHECK(recorder.ids()[5] == "5");
  for (int i = 0; i < 3; ++i) recorder.take().answer(Answer::kSuccess);
}

TEST_CASE("what fails for good goes to the dead letters, whole and under an id of its own") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder dead;
  const auto graveyard = subscribe(bus, {"sc.LIVE.orders-dead"}, named("graveyard"), dead);
  Recorder recorder(
      [](const Delivery& d) { return d.event->id() == "bad" ? Answer::kRetry : Answer::kSuccess; });
  const auto subscription = subscribe(bus, {"sc.LIVE.orders"}, named("worker-1"), recorder);
  EventSpec spec{"bad",     "com.virtufin.trading.order.submitted",
                 "order/7", "LIVE",
                 "wall",    R"({"order_id":"7"})"};
  publish(bus, "sc.LIVE.orders", make(spec));
  spec.id = "good";
  publish(bus, "sc.LIVE.orders", make(spec));
  REQUIRE(dead.wait_for(1) == 1);
  REQUIRE(recorder.wait_for(5) == 5);
  CHECK(recorder.ids() == std::vector<std::string>{"bad", "bad", "bad", "bad", "good"});
  const EventPtr letter = dead.seen()[0].event;
  CHECK(letter->extension("deadletterreason") == "retries exhausted");
  CHECK(letter->extension("deadletterworker") == "worker-1");
  CHECK(letter->extension("deadletterattempts") == "4");
  CHECK(letter->extension("deadlettertopic") == "sc.LIVE.orders");
  CHECK(letter->extension("deadletterid") == "bad");
  CHECK(letter->id() != "bad");
  CHECK(letter->id().size() == 36);
  CHECK(letter->type() == "com.virtufin.trading.order.submitted");
  CHECK(letter->subject() == "order/7");
  CHECK(letter->scenario_id() == "LIVE");
  CHECK(as_text(letter->data()) == R"({"order_id":"7"})");
}

TEST_CASE("a handler can give an event up at once, with its own words") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder dead;
  const auto graveyard = subscribe(bus, {"g-dead"}, named("graveyard"), dead);
  const bool later = GENERATE(false, true);
  const auto kept = Recorder::keeping();
  auto handler = later ? kept.handler() : [](const Delivery&, Receipt receipt) {
    std::move(receipt).dead("cannot read it", 7);
  };
  const auto subscription = stand(bus, {"g"}, named("giver-up"), std::move(handler));
  publish(bus, "g", make(1));
  if (later) kept.take().dead("cannot read it", 7);
  REQUIRE(dead.wait_for(1) == 1);
  CHECK(dead.seen()[0].event->extension("deadletterreason") == "cannot read it");
  CHECK(dead.seen()[0].event->extension("deadletterattempts") == "7");
}

TEST_CASE("a receipt that dies unanswered, and a handler that throws, count as a retry") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  const bool throws = GENERATE(false, true);
  std::atomic<int> calls = 0;
  std::atomic<int> last_attempt = 0;
  const auto subscription =
      stand(bus, {"t"}, named("dropper"), [&](const Delivery& delivery, Receipt receipt) {
        ++calls;
        last_attempt = delivery.attempt;
        if (delivery.attempt == 1 && throws) throw std::runtime_error("no");
        if (delivery.attempt > 1) std::move(receipt).answer(Answer::kSuccess);
      });
  publish(bus, "t", make(1));
  REQUIRE(eventually([&] { return calls == 2; }));
  CHECK(last_attempt == 2);
}

TEST_CASE("a drop ends an event without a dead letter") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder dead;
  const auto graveyard = subscribe(bus, {"d-dead"}, named("graveyard"), dead);
  Recorder recorder([](const Delivery&) { return Answer::kDrop; });
  const auto subscription = subscribe(bus, {"d"}, named("dropping"), recorder);
  publish(bus, "d", make(1));
  publish(bus, "d", make(2));
  REQUIRE(recorder.wait_for(2) == 2);
  CHECK(recorder.ids() == numbers(1, 2));
  CHECK(dead.count() == 0);
}

TEST_CASE("what fails on a topic of dead letters is not dead-lettered again") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder twice_dead;
  const auto graveyard = subscribe(bus, {"q-dead-dead"}, named("graveyard"), twice_dead);
  Recorder recorder(
      [](const Delivery& d) { return d.event->id() == "1" ? Answer::kRetry : Answer::kSuccess; });
  const auto subscription = subscribe(bus, {"q-dead"}, named("mourner"), recorder);
  publish(bus, "q-dead", make(1));
  publish(bus, "q-dead", make(2));
  REQUIRE(recorder.wait_for(5) == 5);
  CHECK(recorder.ids().back() == "2");
  CHECK(twice_dead.count() == 0);
}

#include <catch2/catch.hpp>
#include <map>
#include <optional>
#include <set>

#include "conformance/support.h"
#include "conformance/under_test.h"

/// How much at once, where, and until when: overflow, groups, threads, the end of a subscription.
using namespace virtufin;
using namespace virtufin::testing;
using bus::Answer;
using bus::Delivery;
using bus::Overflow;
using bus::Receipt;
using bus::SubscribeOptions;
using std::chrono::milliseconds;

namespace {

SubscribeOptions bounded(Overflow overflow, std::size_t events) {
  SubscribeOptions options;
  options.name = "bounded";
  options.overflow = overflow;
  options.queue_events = events;
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

/// Holds the first event until it is let go, answers the others with success.
struct Held {
  Recorder recorder = Recorder::keeping();
  void let_all_go(std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) recorder.take().answer(Answer::kSuccess);
  }
};

}  // namespace

TEST_CASE("drop_oldest keeps the newest and tells the hole") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  const Held held;
  const auto subscription = subscribe(bus, {"x"}, bounded(Overflow::kDropOldest, 3), held.recorder);
  const Witness witness(bus, {"x"});
  for (int i = 1; i <= 10; ++i) publish(bus, "x", make(i));
  witness.wait_for(10);
  held.let_all_go(4);
  REQUIRE(held.recorder.wait_for(4) == 4);
  CHECK(held.recorder.ids() == std::vector<std::string>{"1", "8", "9", "10"});
  std::vector<std::uint64_t> missed;
  for (const auto& seen : held.recorder.seen()) missed.push_back(seen.missed);
  CHECK(missed == std::vector<std::uint64_t>{0, 6, 0, 0});
}

TEST_CASE("drop_newest keeps the oldest and tells the hole") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  const Held held;
  const auto subscription = subscribe(bus, {"x"}, bounded(Overflow::kDropNewest, 3), held.recorder);
  const Witness witness(bus, {"x"});
  for (int i = 1; i <= 10; ++i) publish(bus, "x", make(i));
  witness.wait_for(10);
  held.let_all_go(4);
  publish(bus, "x", make(11));
  held.let_all_go(1);
  REQUIRE(held.recorder.wait_for(5) == 5);
  CHECK(held.recorder.ids() == std::vector<std::string>{"1", "2", "3", "4", "11"});
  std::uint64_t missed = 0;
  for (const auto& seen : held.recorder.seen()) missed += seen.missed;
  CHECK(missed == 6);
  CHECK(held.recorder.seen().back().missed == 6);
}

TEST_CASE("whatever is dropped from a long queue, the numbers add up and order holds") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Loop loop("test-loop");
  const Overflow overflow = GENERATE(Overflow::kDropOldest, Overflow::kDropNewest);
  auto options = bounded(overflow, 256);
  options.executor = &loop;
  Recorder recorder;
  const auto subscription = subscribe(bus, {"x"}, std::move(options), recorder);
  const int count = fixture->synchronous ? 20'000 : 2000;
  std::vector<EventPtr> events;
  for (int i = 1; i <= count; ++i) events.push_back(make(i));
  const auto topic = bus.topic("x");
  for (auto& event : events) bus.publish(topic, event);
  // One more when there is room tells what was dropped last.
  const auto told = [&] {
    std::uint64_t sum = 0;
    for (const auto& seen : recorder.seen()) sum += 1 + seen.missed;
    return sum;
  };
  REQUIRE(eventually([&] {
    publish(bus, "x", make(count + 1));
    return told() > static_cast<std::uint64_t>(count);
  }));
  int last = 0;
  for (const auto& seen : recorder.seen()) {
    const int id = std::stoi(seen.id);
    CHECK(id == std::min(last + 1 + static_cast<int>(seen.missed), count + 1));
    last = id;
  }
}

TEST_CASE("a subscription that is disconnected when full is told so, once") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  const Held held;
  std::mutex mutex;
  std::vector<absl::Status> ends;
  auto options = bounded(Overflow::kDisconnect, 2);
  options.on_end = [&](absl::Status status) {
    std::lock_guard lock(mutex);
    ends.push_back(std::move(status));
  };
  const auto count = [&] {
    std::lock_guard lock(mutex);
    return ends.size();
  };
  const auto subscription = subscribe(bus, {"x"}, std::move(options), held.recorder);
  for (int i = 1; i <= 3; ++i) publish(bus, "x", make(i));
  CHECK(count() == 0);
  for (int i = 4; i <= 6; ++i) publish(bus, "x", make(i));
  REQUIRE(eventually([&] { return count() == 1; }));
  CHECK(ends[0].code() == absl::StatusCode::kResourceExhausted);
  // What is out can still be answered; nothing more comes.
  held.let_all_go(1);
  publish(bus, "x", make(7));
  CHECK(held.recorder.count() == 1);
  CHECK(count() == 1);
}

TEST_CASE("block: a publish completes when there is room") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  const Held held;
  Recorder other;
  const auto subscription = subscribe(bus, {"x"}, bounded(Overflow::kBlock, 2), held.recorder);
  const auto second = subscribe(bus, {"x"}, bounded(Overflow::kDropOldest, 100), other);
  for (int i = 1; i <= 3; ++i) publish(bus, "x", make(i));
  const Publish four(bus, "x", make(4));
  const Publish five(bus, "x", make(5));
  if (fixture->publisher_waits) {
    CHECK_FALSE(four.done());
    CHECK_FALSE(five.done());
  }
  // Others have it already.
  if (!fixture->one_at_a_time) REQUIRE(other.wait_for(5) == 5);
  held.let_all_go(1);
  CHECK(four.status().ok());
  held.let_all_go(1);
  CHECK(five.status().ok());
  held.let_all_go(3);
  REQUIRE(held.recorder.wait_for(5) == 5);
  CHECK(held.recorder.ids() == numbers(1, 5));
  REQUIRE(other.wait_for(5) == 5);
  CHECK(other.ids() == numbers(1, 5));
}

TEST_CASE("block: a publish gives up after block_ms, and at once when too many wait") {
  const auto fixture = under_test();
  if (!fixture->publisher_waits) return;
  auto& bus = fixture->bus();
  const Held held;
  const auto subscription = subscribe(bus, {"x"}, bounded(Overflow::kBlock, 2), held.recorder);
  for (int i = 1; i <= 3; ++i) publish(bus, "x", make(i));
  const auto begin = std::chrono::steady_clock::now();
  const Publish four(bus, "x", make(4));
  const Publish five(bus, "x", make(5));
  const Publish six(bus, "x", make(6));
  REQUIRE(six.done());
  CHECK(six.status().code() == absl::StatusCode::kResourceExhausted);
  CHECK(four.status().code() == absl::StatusCode::kResourceExhausted);
  CHECK(std::chrono::steady_clock::now() - begin >= fixture->block());
  CHECK(five.status().code() == absl::StatusCode::kResourceExhausted);
  // What was queued before is delivered, what failed is not.
  held.let_all_go(3);
  publish(bus, "x", make(7));
  held.let_all_go(1);
  REQUIRE(held.recorder.wait_for(4) == 4);
  CHECK(held.recorder.ids() == std::vector<std::string>{"1", "2", "3", "7"});
}

TEST_CASE("block: who waits for a subscription that ends is let go") {
  const auto fixture = under_test();
  if (!fixture->publisher_waits) return;
  auto& bus = fixture->bus();
  const Held held;
  auto subscription = subscribe(bus, {"x"}, bounded(Overflow::kBlock, 1), held.recorder);
  publish(bus, "x", make(1));
  publish(bus, "x", make(2));
  const Publish three(bus, "x", make(3));
  CHECK_FALSE(three.done());
  subscription.reset();
  CHECK(three.status().ok());
  held.let_all_go(1);
  CHECK(held.recorder.count() == 1);
}

TEST_CASE("members of a group share events by subject, and go round without one") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  std::vector<Recorder> members(3);
  std::vector<std::unique_ptr<bus::Subscription>> subscriptions;
  for (const Recorder& member : members) {
    auto options = bounded(Overflow::kDropOldest, 4096);
    options.group = "workers";
    subscriptions.push_back(subscribe(bus, {"x", "y"}, std::move(options), member));
  }
  Recorder outside;
  const auto other = subscribe(bus, {"x"}, bounded(Overflow::kDropOldest, 4096), outside);
  constexpr int kEvents = 300;
  for (int i = 0; i < kEvents; ++i) {
    publish(bus, "x", make({std::to_string(i), "t", "s/" + std::to_string(i % 30), "", ""}));
  }
  const auto total = [&] {
    std::size_t sum = 0;
    for (const auto& member : members) sum += member.count();
    return sum;
  };
  REQUIRE(eventually([&] { return total() == kEvents; }));
  CHECK(outside.wait_for(kEvents) == kEvents);
  std::map<std::string, std::set<std::size_t>> members_of_subject;
  for (std::size_t m = 0; m < members.size(); ++m) {
    CHECK(members[m].count() > 0);
    for (const auto& seen : members[m].seen()) {
      members_of_subject[std::string(seen.event->subject())].insert(m);
    }
  }
  CHECK(members_of_subject.size() == 30);
  for (const auto& [subject, who] : members_of_subject) CHECK(who.size() == 1);

  std::vector<std::size_t> before;
  for (const auto& member : members) before.push_back(member.count());
  for (int i = 0; i < 30; ++i) publish(bus, "y", make(kEvents + i));
  REQUIRE(eventually([&] { return total() == kEvents + 30; }));
  for (std::size_t m = 0; m < members.size(); ++m) CHECK(members[m].count() == before[m] + 10);
}

TEST_CASE("members of a group must want the same") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder recorder;
  const auto grouped = [](bus::Filter filter = {}) {
    auto options = bounded(Overflow::kDropOldest, 10);
    options.group = "g";
    options.filter = std::move(filter);
    return options;
  };
  auto first = subscribe(bus, {"x", "y"}, grouped(), recorder);
  CHECK(bus.subscribe({"y", "x"}, grouped(), recorder.handler()).ok());
  CHECK(bus.subscribe({"x"}, grouped(), recorder.handler()).status().code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(bus.subscribe({"x", "y"}, grouped({"t", "", "", ""}), recorder.handler()).status().code() ==
        absl::StatusCode::kInvalidArgument);
  // With its last member the group is gone.
  first.reset();
  CHECK(bus.subscribe({"z"}, grouped({"t", "", "", ""}), recorder.handler()).ok());
}

TEST_CASE("a change of members waits for what is out, so that order per subject holds") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  const auto grouped = [] {
    auto options = bounded(Overflow::kDropOldest, 4096);
    options.group = "g";
    return options;
  };
  const auto old_member = Recorder::keeping();
  auto one = subscribe(bus, {"x"}, grouped(), old_member);
  const Witness witness(bus, {"x"});
  for (int i = 0; i < 20; ++i)
    publish(bus, "x", make({std::to_string(i), "t", "s/" + std::to_string(i % 10), "", ""}));
  REQUIRE(old_member.wait_for(1) == 1);
  witness.wait_for(20);
  Recorder new_member;
  const auto two = subscribe(bus, {"x"}, grouped(), new_member);
  for (int i = 20; i < 40; ++i)
    publish(bus, "x", make({std::to_string(i), "t", "s/" + std::to_string(i % 10), "", ""}));
  // Nineteen of the old are answered: nothing of the new may be out.
  for (int i = 0; i < 19; ++i) old_member.take().answer(Answer::kSuccess);
  REQUIRE(old_member.wait_for(20) == 20);
  CHECK(new_member.count() == 0);
  old_member.take().answer(Answer::kSuccess);
  std::size_t answered = 20;
  REQUIRE(eventually([&] {
    while (old_member.kept() > 0) {
      old_member.take().answer(Answer::kSuccess);
      ++answered;
    }
    return answered + new_member.count() == 40;
  }));
  CHECK(new_member.count() > 0);
  CHECK(answered > 20);
}

TEST_CASE("a member that leaves with events in hand does not hold up the others") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  const auto grouped = [] {
    auto options = bounded(Overflow::kDropOldest, 4096);
    options.group = "g";
    return options;
  };
  const auto leaver = Recorder::keeping();
  Recorder stayer;
  auto one = subscribe(bus, {"x"}, grouped(), leaver);
  const auto two = subscribe(bus, {"x"}, grouped(), stayer);
  const Witness witness(bus, {"x"});
  for (int i = 0; i < 40; ++i)
    publish(bus, "x", make({std::to_string(i), "t", "s/" + std::to_string(i), "", ""}));
  REQUIRE(leaver.wait_for(1) == 1);
  witness.wait_for(40);
  const std::size_t before = stayer.count();
  one.reset();
  for (int i = 0; i < 10; ++i)
    publish(bus, "x", make({"after-" + std::to_string(i), "t", "s/" + std::to_string(i), "", ""}));
  CHECK(stayer.wait_for(before + 10) == before + 10);
  leaver.take().answer(Answer::kSuccess);
}

TEST_CASE("a member that drains while it waits for its turn still gets it") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  const auto grouped = [] {
    auto options = bounded(Overflow::kDropOldest, 4096);
    options.group = "g";
    return options;
  };
  const auto first = Recorder::keeping();
  const auto one = subscribe(bus, {"x"}, grouped(), first);
  const Witness witness(bus, {"x"});
  publish(bus, "x", make(0));
  witness.wait_for(1);
  Recorder late;
  auto two = subscribe(bus, {"x"}, grouped(), late);
  for (int i = 1; i <= 20; ++i) {
    publish(bus, "x", make({std::to_string(i), "t", "s/" + std::to_string(i), "", ""}));
  }
  witness.wait_for(21);
  std::atomic<bool> drained = false;
  two->drain([&] { drained = true; });
  CHECK(late.count() == 0);
  std::size_t answered = 0;
  REQUIRE(eventually([&] {
    while (first.kept() > 0) {
      first.take().answer(Answer::kSuccess);
      ++answered;
    }
    return drained && answered + late.count() == 21;
  }));
  CHECK(late.count() > 0);
}

TEST_CASE("inline runs on the publisher's thread before publish returns") {
  const auto fixture = under_test();
  if (!fixture->synchronous) return;
  auto& bus = fixture->bus();
  Recorder recorder;
  const auto subscription = subscribe(bus, {"x"}, bounded(Overflow::kDropOldest, 10), recorder);
  bus.publish(bus.topic("x"), make(1));
  REQUIRE(recorder.count() == 1);
  CHECK(recorder.seen()[0].thread == std::this_thread::get_id());
}

TEST_CASE("a handler that publishes to itself is queued, never recursed") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  const auto topic = bus.topic("x");
  std::atomic<int> depth = 0, deepest = 0, calls = 0;
  const auto subscription =
      stand(bus, {"x"}, bounded(Overflow::kDropOldest, 10), [&](const Delivery&, Receipt receipt) {
        deepest = std::max<int>(deepest, ++depth);
        if (++calls < 1000) bus.publish(topic, make(calls));
        --depth;
        std::move(receipt).answer(Answer::kSuccess);
      });
  publish(bus, "x", make(0));
  REQUIRE(eventually([&] { return calls == 1000; }));
  CHECK(deepest == 1);
}

TEST_CASE("a handler that publishes to its own topic does not overtake for the others") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  const auto topic = bus.topic("x");
  const auto first = stand(bus, {"x"}, bounded(Overflow::kDropOldest, 10),
                           [&](const Delivery& delivery, Receipt receipt) {
                             if (delivery.event->id() == "1") bus.publish(topic, make(2));
                             std::move(receipt).answer(Answer::kSuccess);
                           });
  Recorder recorder;
  const auto second = subscribe(bus, {"x"}, bounded(Overflow::kDropOldest, 10), recorder);
  publish(bus, "x", make(1));
  REQUIRE(recorder.wait_for(2) == 2);
  CHECK(recorder.ids() == numbers(1, 2));
}

TEST_CASE("a handler runs on its executor") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Loop loop("test-loop");
  std::atomic<std::thread::id> loop_thread;
  loop.post([&] { loop_thread = std::this_thread::get_id(); });
  REQUIRE(eventually([&] { return loop_thread.load() != std::thread::id(); }));
  auto options = bounded(Overflow::kDropOldest, 4096);
  options.executor = &loop;
  Recorder recorder;
  const auto subscription = subscribe(bus, {"x"}, std::move(options), recorder);
  for (int i = 1; i <= 100; ++i) publish(bus, "x", make(i));
  REQUIRE(recorder.wait_for(100) == 100);
  for (const auto& seen : recorder.seen()) CHECK(seen.thread == loop_thread.load());
}

TEST_CASE("drain takes nothing new, hands out what is queued, and tells when all is answered") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  const Held held;
  const auto subscription =
      subscribe(bus, {"x"}, bounded(Overflow::kDropOldest, 10), held.recorder);
  const Witness witness(bus, {"x"});
  for (int i = 1; i <= 3; ++i) publish(bus, "x", make(i));
  REQUIRE(held.recorder.wait_for(1) == 1);
  witness.wait_for(3);
  std::atomic<int> drained = 0;
  subscription->drain([&] { ++drained; });
  publish(bus, "x", make(4));
  held.let_all_go(2);
  REQUIRE(held.recorder.wait_for(3) == 3);
  CHECK(drained == 0);
  held.let_all_go(1);
  REQUIRE(eventually([&] { return drained == 1; }));
  CHECK(held.recorder.ids() == numbers(1, 3));
}

TEST_CASE("drain waits for a retry, and is immediate when there is nothing") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder recorder(
      [](const Delivery& d) { return d.attempt < 3 ? Answer::kRetry : Answer::kSuccess; });
  const auto subscription = subscribe(bus, {"x"}, bounded(Overflow::kDropOldest, 10), recorder);
  publish(bus, "x", make(1));
  REQUIRE(recorder.wait_for(1) >= 1);
  std::atomic<std::size_t> seen_at_drain = 0;
  subscription->drain([&] { seen_at_drain = recorder.count(); });
  REQUIRE(eventually([&] { return seen_at_drain == 3; }));

  Recorder idle;
  const auto nothing = subscribe(bus, {"y"}, bounded(Overflow::kDropOldest, 10), idle);
  std::atomic<bool> drained = false;
  nothing->drain([&] { drained = true; });
  CHECK(eventually([&] { return drained.load(); }));
}

TEST_CASE("the end of a subscription waits for a running call") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Loop loop("test-loop");
  Gate gate;
  std::atomic<bool> returned = false;
  auto options = bounded(Overflow::kDropOldest, 10);
  options.executor = &loop;
  auto subscription = stand(bus, {"x"}, std::move(options), [&](const Delivery&, Receipt receipt) {
    gate.pass();
    std::move(receipt).answer(Answer::kSuccess);
    returned = true;
  });
  publish(bus, "x", make(1));
  publish(bus, "x", make(2));
  REQUIRE(gate.wait_until_reached());
  std::thread opener([&] { gate.open(); });
  subscription.reset();
  CHECK(returned);
  opener.join();
}

TEST_CASE("a subscription may end in its own call") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  const bool alone = GENERATE(true, false);
  std::atomic<int> calls = 0;
  Recorder recorder;
  std::unique_ptr<bus::Subscription> other, subscription;
  if (!alone) other = subscribe(bus, {"x"}, bounded(Overflow::kDropOldest, 10), recorder);
  std::atomic<bool> ended = false;
  subscription =
      stand(bus, {"x"}, bounded(Overflow::kDropOldest, 10), [&](const Delivery&, Receipt receipt) {
        ++calls;
        bus.publish(bus.topic("x"), make(2));
        subscription.reset();
        std::move(receipt).answer(Answer::kSuccess);
        ended = true;
      });
  publish(bus, "x", make(1));
  REQUIRE(eventually([&] { return ended.load(); }));
  publish(bus, "x", make(3));
  if (!alone) CHECK(recorder.wait_for(3) == 3);
  CHECK(calls == 1);
  CHECK_FALSE(subscription);
}

TEST_CASE("one handler may end another's subscription while both have the event") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  std::unique_ptr<bus::Subscription> victim;
  std::atomic<int> calls = 0;
  const auto first =
      stand(bus, {"x"}, bounded(Overflow::kDropOldest, 10), [&](const Delivery&, Receipt receipt) {
        victim.reset();
        std::move(receipt).answer(Answer::kSuccess);
        ++calls;
      });
  Recorder recorder;
  victim = subscribe(bus, {"x"}, bounded(Overflow::kDropOldest, 10), recorder);
  for (int i = 1; i <= 3; ++i) publish(bus, "x", make(i));
  REQUIRE(eventually([&] { return calls == 3; }));
  CHECK(recorder.count() <= 1);
  CHECK_FALSE(victim);
}

TEST_CASE("receipts that are out stay valid after the end and do nothing") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  Recorder dead;
  const auto graveyard = subscribe(bus, {"x-dead"}, bounded(Overflow::kDropOldest, 10), dead);
  const auto kept = Recorder::keeping();
  auto options = bounded(Overflow::kDropOldest, 10);
  options.max_in_flight = 4;
  auto subscription = subscribe(bus, {"x"}, std::move(options), kept);
  for (int i = 1; i <= 4; ++i) publish(bus, "x", make(i));
  REQUIRE(kept.wait_for(4) == 4);
  subscription.reset();
  kept.take().answer(Answer::kSuccess);
  kept.take().answer(Answer::kRetry);
  kept.take().dead("gone", 1);
  { const Receipt dies = kept.take(); }
  publish(bus, "x", make(5));
  CHECK(kept.count() == 4);
  CHECK(dead.count() == 0);
}

TEST_CASE("a receipt may be answered on another thread while its call still runs") {
  const auto fixture = under_test();
  auto& bus = fixture->bus();
  std::atomic<int> calls = 0;
  const auto subscription = stand(
      bus, {"x"}, bounded(Overflow::kDropOldest, 10),
      [&](const Delivery& delivery, Receipt receipt) {
        std::thread([&, receipt = std::move(receipt)]() mutable {
          std::move(receipt).answer(delivery.attempt == 1 ? Answer::kRetry : Answer::kSuccess);
        }).join();
        ++calls;
      });
  publish(bus, "x", make(1));
  publish(bus, "x", make(2));
  CHECK(eventually([&] { return calls == 4; }));
}

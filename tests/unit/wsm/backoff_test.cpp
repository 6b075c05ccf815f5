// What bounds the module: delays between attempts, publishes that are out, the duplicate window.
#include <catch2/catch.hpp>

#include <atomic>
#include <set>
#include <thread>

#include "core/event_writer.h"
#include "fakes.h"
#include "modules/wsm/backoff.h"
#include "modules/wsm/feeds/sequence_window.h"
#include "modules/wsm/publish_gate.h"

namespace virtufin::wsm::test {
namespace {

using std::chrono::milliseconds;

TEST_CASE("the first retry is immediate, later ones double under jitter that never vanishes") {
  Backoff backoff({milliseconds(1000), milliseconds(30'000), 0}, 1);
  CHECK(backoff.next() == milliseconds(0));
  std::int64_t bound = 1000;
  std::set<std::int64_t> seen;
  for (int i = 0; i < 2000; ++i) {
    const auto delay = backoff.next();
    REQUIRE(delay);
    REQUIRE(*delay >= milliseconds(125));
    REQUIRE(*delay <= milliseconds(bound));
    bound = std::min<std::int64_t>(bound * 2, 30'000);
    seen.insert(delay->count());
  }
  // At the maximum there is still jitter, over the whole range.
  CHECK(seen.size() > 1000);
  CHECK(*seen.begin() < 2000);
  CHECK(*seen.rbegin() > 28'000);
}

TEST_CASE("two clients do not reconnect in step") {
  Backoff one({milliseconds(1000), milliseconds(30'000), 0}, 1);
  Backoff other({milliseconds(1000), milliseconds(30'000), 0}, 2);
  one.next();
  other.next();
  int same = 0;
  for (int i = 0; i < 50; ++i) same += one.next() == other.next() ? 1 : 0;
  CHECK(same < 5);
}

TEST_CASE(
    "a connection that lived earns the immediate retry again; one that fell at once does not") {
  Backoff backoff({milliseconds(100), milliseconds(3000), 0}, 1);
  CHECK(backoff.next() == milliseconds(0));
  backoff.succeeded(milliseconds(5));
  CHECK(*backoff.next() > milliseconds(0));
  backoff.succeeded(milliseconds(100));
  CHECK(backoff.next() == milliseconds(0));
}

TEST_CASE("attempts are counted in a row, and a success or a stable time starts them anew") {
  Backoff backoff({milliseconds(100), milliseconds(3000), 2}, 1);
  CHECK(backoff.next());
  CHECK(backoff.next());
  CHECK_FALSE(backoff.next());
  backoff.succeeded(milliseconds(0));
  CHECK(backoff.next());
  CHECK(backoff.next());
  CHECK_FALSE(backoff.next());
  backoff.reset();
  CHECK(backoff.next() == milliseconds(0));
  CHECK(*backoff.next() <= milliseconds(100));
}

TEST_CASE("the greatest limits do not overflow") {
  Backoff backoff({milliseconds(3'600'000), milliseconds(3'600'000), 0}, 1);
  backoff.next();
  for (int i = 0; i < 100; ++i) CHECK(*backoff.next() <= milliseconds(3'600'000));
}

TEST_CASE("a repeated number is found while it is in the window") {
  SequenceWindow window(4);
  for (std::uint64_t number : {10, 11, 12, 13}) CHECK(window.insert(number));
  for (std::uint64_t number : {10, 11, 12, 13}) CHECK_FALSE(window.insert(number));
  CHECK(window.insert(9));  // late, and not seen; 10 is out of the window now
  CHECK_FALSE(window.insert(9));
  CHECK(window.insert(10));
  CHECK(window.insert(0));
  CHECK_FALSE(window.insert(0));
}

EventPtr some_event() {
  EventFields fields;
  fields.id = "1";
  fields.type = "t";
  fields.source = "s";
  return *make_event(fields);
}

TEST_CASE("a bus that completes later fills the gate, and half of it free opens it once") {
  FakeBus bus;
  bus.hold();
  std::atomic<int> resumed{0};
  PublishGate* gate = PublishGate::create(bus, 4, [&] { ++resumed; });
  const auto topic = bus.topic("t");
  for (int i = 0; i < 4; ++i) {
    CHECK_FALSE(gate->full());
    gate->publish(topic, some_event());
  }
  CHECK(gate->full());
  CHECK(gate->outstanding() == 4);
  bus.let_go();
  CHECK(resumed == 1);
  CHECK(gate->outstanding() == 0);
  CHECK_FALSE(gate->full());
  gate->release();
}

TEST_CASE("what the bus does not take is counted and reported once") {
  FakeBus bus;
  bus.answer_with(unavailable("broker gone"));
  PublishGate* gate = PublishGate::create(bus, 4, [] {});
  gate->publish(bus.topic("t"), some_event());
  gate->publish(bus.topic("t"), some_event());
  CHECK(gate->failed() == 2);
  const auto failure = gate->take_failure();
  REQUIRE(failure);
  CHECK(message(*failure) == "broker gone");
  CHECK_FALSE(gate->take_failure());
  gate->release();
}

TEST_CASE("no wake-up is lost between a full gate and completions on other threads") {
  // Each round the owner finds the gate full and waits, while a thread completes everything.
  FakeBus bus;
  for (int round = 0; round < 200; ++round) {
    bus.hold();
    std::atomic<int> resumed{0};
    PublishGate* gate = PublishGate::create(bus, 1, [&] { ++resumed; });
    gate->publish(bus.topic("t"), some_event());
    std::thread completer([&] { bus.let_go(); });
    const bool full = gate->full();
    completer.join();
    CHECK(resumed == (full ? 1 : 0));
    gate->release();
  }
}

TEST_CASE("a gate outlives its owner while publishes are out") {
  FakeBus bus;
  bus.hold();
  PublishGate* gate = PublishGate::create(bus, 4, [] {});
  gate->publish(bus.topic("t"), some_event());
  gate->release();
  bus.let_go();  // under ASan: nothing is touched that is gone
  CHECK(bus.count("t") == 1);
}

}  // namespace
}  // namespace virtufin::wsm::test

#include "bus/dapr/reorder.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <random>

using namespace virtufin::bus;
using std::chrono::milliseconds;

namespace {

using Order = Reorder<int>;
using What = Order::Step::What;
constexpr std::uint64_t kPublisher = 0xabc;

/// Time, and what came out, as text: `5` delivered, `late 5`, `hole 3-4`, `again 5`.
struct Bench {
  explicit Bench(Order::Limits limits = {}) : order(limits) {}

  void arrive(std::uint64_t counter, std::string_view topic = "t",
              std::uint64_t instance = kPublisher) {
    Order::Steps steps;
    order.arrived(topic, {instance, counter}, static_cast<int>(counter), now, steps);
    take(steps);
  }
  void arrive(std::initializer_list<std::uint64_t> counters) {
    for (const auto counter : counters) arrive(counter);
  }
  void pass(milliseconds time) {
    now += time;
    Order::Steps steps;
    order.expire(now, steps);
    take(steps);
  }
  std::vector<std::string> seen() { return std::exchange(out, {}); }

  void take(const Order::Steps& steps) {
    for (const auto& step : steps) {
      switch (step.what) {
        case What::kDeliver: out.push_back(std::to_string(*step.item)); break;
        case What::kDeliverLate: out.push_back("late " + std::to_string(*step.item)); break;
        case What::kReplaced: out.push_back("again " + std::to_string(*step.item)); break;
        case What::kHole:
          out.push_back("hole " + std::to_string(step.expected) + "-" +
                        std::to_string(step.received - 1));
          break;
      }
    }
  }

  Order order;
  Order::Time now{};
  std::vector<std::string> out;
};

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("events in order pass at once") {
  Bench bench;
  bench.arrive({1, 2, 3});
  CHECK(bench.seen() == Texts{"1", "2", "3"});
  CHECK(bench.order.waiting() == 0);
  CHECK_FALSE(bench.order.next_due());
}

TEST_CASE("an event waits for those before it, and then all come in order") {
  Bench bench;
  bench.arrive({1, 4, 3});
  CHECK(bench.seen() == Texts{"1"});
  CHECK(bench.order.waiting() == 2);
  bench.arrive(2);
  CHECK(bench.seen() == Texts{"2", "3", "4"});
  CHECK(bench.order.waiting() == 0);
}

TEST_CASE("what does not come in time is a hole, and late when it comes") {
  Bench bench;
  bench.arrive({1, 4});
  REQUIRE(bench.order.next_due());
  CHECK(*bench.order.next_due() == bench.now + milliseconds(200));
  bench.pass(milliseconds(199));
  CHECK(bench.seen() == Texts{"1"});
  bench.pass(milliseconds(1));
  CHECK(bench.seen() == Texts{"hole 2-3", "4"});
  bench.arrive({3, 5, 2});
  CHECK(bench.seen() == Texts{"late 3", "5", "late 2"});
}

TEST_CASE("each hole is waited for by itself") {
  Bench bench;
  bench.arrive({1, 3});
  bench.pass(milliseconds(100));
  bench.arrive(6);
  bench.pass(milliseconds(100));
  CHECK(bench.seen() == Texts{"1", "hole 2-2", "3"});
  bench.arrive(4);
  CHECK(bench.seen() == Texts{"4"});
  bench.pass(milliseconds(100));
  CHECK(bench.seen() == Texts{"hole 5-5", "6"});
}

TEST_CASE("a window that begins in the middle starts at the lowest of its first moments") {
  Bench bench;
  bench.arrive({18, 17});
  bench.pass(milliseconds(100));
  bench.arrive(20);
  CHECK(bench.seen().empty());
  bench.pass(milliseconds(100));
  CHECK(bench.seen() == Texts{"17", "18"});
  bench.arrive({19, 16});
  CHECK(bench.seen() == Texts{"19", "20", "late 16"});
}

TEST_CASE("an event that comes again is late, and one that waits is replaced") {
  Bench bench;
  bench.arrive({1, 2, 1, 4, 4, 3});
  CHECK(bench.seen() == Texts{"1", "2", "late 1", "again 4", "3", "4"});
}

TEST_CASE("publishers and topics do not wait for each other") {
  Bench bench;
  bench.arrive(1, "a", 1);
  bench.arrive(3, "a", 1);
  bench.arrive(1, "a", 2);
  bench.arrive(1, "b", 1);
  CHECK(bench.seen() == Texts{"1", "1", "1"});
  CHECK(bench.order.windows() == 3);
}

TEST_CASE("a full window gives up its hole at once") {
  Bench bench({.window_events = 3});
  bench.arrive({1, 3, 4, 5});
  CHECK(bench.seen() == Texts{"1"});
  bench.arrive(6);
  CHECK(bench.seen() == Texts{"hole 2-2", "3", "4", "5", "6"});

  Bench all({.events = 2});
  all.arrive(1, "a");
  all.arrive(3, "a");
  all.arrive(1, "b");
  all.arrive(3, "b");
  all.arrive(5, "b");
  CHECK(all.seen() == Texts{"1", "1", "hole 2-2", "3"});
  CHECK(all.order.waiting() == 2);
}

TEST_CASE("where nothing that is missing can come, nothing is waited for") {
  Bench bench({.wait = milliseconds(0)});
  bench.arrive({7, 8, 10, 9});
  CHECK(bench.seen() == Texts{"7", "8", "hole 9-9", "10", "late 9"});
  CHECK(bench.order.waiting() == 0);
}

TEST_CASE("nothing is given up before the time that was set") {
  Bench bench;
  bench.arrive({1, 3});
  bench.order.not_before(bench.now + milliseconds(500));
  bench.pass(milliseconds(400));
  CHECK(bench.seen() == Texts{"1"});
  CHECK(*bench.order.next_due() == bench.now + milliseconds(100));
  bench.pass(milliseconds(100));
  CHECK(bench.seen() == Texts{"hole 2-2", "3"});
}

TEST_CASE("publishers that are idle, and those beyond the bound, are forgotten and counted") {
  Bench bench({.publishers = 3, .idle = milliseconds(1000)});
  for (const char* topic : {"a", "b", "c", "d"}) bench.arrive(1, topic);
  CHECK(bench.order.windows() == 3);
  CHECK(bench.order.forgotten() == 1);
  bench.seen();
  bench.arrive(3, "b");
  bench.arrive(1, "e");  // c is the one that was idle longest
  CHECK(bench.order.windows() == 3);
  CHECK(bench.order.waiting() == 1);
  bench.pass(milliseconds(1000));
  CHECK(bench.seen() == Texts{"1", "hole 2-2", "3"});
  CHECK(bench.order.windows() == 0);
  CHECK(bench.order.forgotten() == 5);
  // To make room for another, one that still waits is given up.
  Bench small({.publishers = 1});
  small.arrive(1, "a");
  small.arrive(3, "a");
  small.arrive(1, "b");
  CHECK(small.seen() == Texts{"1", "hole 2-2", "3", "1"});
  CHECK(small.order.waiting() == 0);
}

TEST_CASE("any shuffle within the window comes out in order, once each") {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    Bench bench;
    std::vector<std::uint64_t> counters(500);
    std::iota(counters.begin(), counters.end(), std::uint64_t{1});
    for (std::size_t block = 0; block < counters.size(); block += 50) {
      std::shuffle(counters.begin() + static_cast<std::ptrdiff_t>(block),
                   counters.begin() + static_cast<std::ptrdiff_t>(block + 50), random);
    }
    for (const auto counter : counters) bench.arrive(counter);
    // The first may not have been the very first: then the window begins after the wait.
    bench.pass(milliseconds(200));
    Texts wanted;
    for (int i = 1; i <= 500; ++i) wanted.push_back(std::to_string(i));
    CHECK(bench.seen() == wanted);
  }
}

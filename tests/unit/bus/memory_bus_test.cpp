#include "bus/memory/memory_bus.h"

#include <catch2/catch.hpp>
#include <optional>

#include "conformance/support.h"
#include "core/config.h"
#include "core/metrics.h"

using namespace virtufin;
using namespace virtufin::testing;
using bus::Answer;
using bus::Delivery;
using bus::Receipt;
using std::chrono::milliseconds;

namespace {

struct Fixture {
  Metrics metrics;
  std::optional<bus::MemoryBus> bus;

  explicit Fixture(bus::BusConfig config = {}) { bus.emplace(config, metrics); }

  /// Held by the test, because a series goes with its subscription.
  std::shared_ptr<Counter> counter(const std::string& name, const std::string& pattern,
                                   const std::string& subscription,
                                   const std::string& reason = {}) {
    Labels labels{{"pattern", pattern}, {"subscription", subscription}};
    if (!reason.empty()) labels.emplace("reason", reason);
    return metrics.counter("virtufin_bus_" + name + "_total", "", labels);
  }
};

bus::SubscribeOptions named(const std::string& name) {
  bus::SubscribeOptions options;
  options.name = name;
  options.retry.first_delay = milliseconds(1);
  return options;
}

}  // namespace

TEST_CASE("nothing in the bus grows by what is published") {
  Fixture fixture;
  auto& bus = *fixture.bus;
  Recorder recorder;
  const auto subscription = bus.subscribe({"a.*"}, named("wild"), recorder.handler());
  const auto base = bus.footprint();
  for (int i = 0; i < 1000; ++i) {
    EventSpec spec;
    spec.type = "type." + std::to_string(i);
    spec.subject = "subject/" + std::to_string(i);
    publish(bus, "a." + std::to_string(i), make(spec));
  }
  CHECK(recorder.count() == 1000);
  const auto now = bus.footprint();
  CHECK(now.topics == 0);
  CHECK(now.patterns == base.patterns);
  CHECK(now.interned == 0);
  CHECK_THAT(fixture.metrics.prometheus_text(), !Catch::Contains("a.17"));
}

TEST_CASE("a topic lives as long as somebody holds it") {
  Fixture fixture;
  auto& bus = *fixture.bus;
  auto one = bus.topic("x");
  auto two = bus.topic("x");
  CHECK(one == two);
  CHECK(bus::name(one) == "x");
  CHECK(bus.footprint().topics == 1);
  one.reset();
  CHECK(bus.footprint().topics == 1);
  two.reset();
  CHECK(bus.footprint().topics == 0);

  // An event under way holds its topic, one that is done does not.
  const auto kept = Recorder::keeping();
  const bool on_loop = GENERATE(false, true);
  std::optional<Loop> loop;
  auto options = named("keeper");
  if (on_loop) options.executor = &loop.emplace("test-loop");
  const auto subscription = bus.subscribe({"x"}, std::move(options), kept.handler());
  publish(bus, "x", make(1));
  publish(bus, "x", make(2));
  REQUIRE(kept.wait_for(1) == 1);
  CHECK(bus.footprint().topics == 1);
  kept.take().answer(Answer::kSuccess);
  kept.take().answer(Answer::kSuccess);
  CHECK(eventually([&] { return bus.footprint().topics == 0; }));
}

TEST_CASE("interning counts down when subscriptions end") {
  Fixture fixture;
  auto& bus = *fixture.bus;
  Recorder recorder;
  const auto filtered = [](const std::string& type, const std::string& subject) {
    auto options = named("filtered");
    options.filter.type = type;
    options.filter.subject = subject;
    return options;
  };
  auto one = bus.subscribe({"x", "y.*"}, filtered("t.1", "s/1"), recorder.handler());
  auto two = bus.subscribe({"x"}, filtered("t.1", "s/2"), recorder.handler());
  auto three = bus.subscribe({"x"}, filtered("t.*", ""), recorder.handler());
  CHECK(bus.footprint().interned == 3);
  CHECK(bus.footprint().patterns == 2);
  CHECK(bus.footprint().subscriptions == 3);
  const auto topic = bus.topic("x");
  one->reset();
  CHECK(bus.footprint().interned == 2);
  CHECK(bus.footprint().patterns == 1);
  two->reset();
  three->reset();
  CHECK(bus.footprint().interned == 0);
  CHECK(bus.footprint().patterns == 0);
  CHECK(bus.footprint().subscriptions == 0);
}

TEST_CASE("groups are gone with their last member") {
  Fixture fixture;
  auto& bus = *fixture.bus;
  Recorder recorder;
  auto options = [] {
    auto o = named("member");
    o.group = "g";
    o.filter.type = "t";
    return o;
  };
  auto one = bus.subscribe({"x"}, options(), recorder.handler());
  auto two = bus.subscribe({"x"}, options(), recorder.handler());
  CHECK(bus.footprint().groups == 1);
  CHECK(bus.footprint().interned == 1);
  one->reset();
  CHECK(bus.footprint().groups == 1);
  publish(bus, "x", make({"1", "t", "", "", ""}));
  CHECK(recorder.count() == 1);
  two->reset();
  CHECK(bus.footprint().groups == 0);
  CHECK(bus.footprint().interned == 0);
  CHECK(bus.footprint().patterns == 0);
}

TEST_CASE("the numbers of a subscription add up, by its pattern and name") {
  Fixture fixture;
  auto& bus = *fixture.bus;
  int calls = 0;
  auto options = named("worker");
  options.queue_events = 2;
  options.retry.max_attempts = 2;
  std::optional<Receipt> held;
  auto subscription =
      bus.subscribe({"b", "a.*"}, std::move(options), [&](const Delivery& d, Receipt receipt) {
        ++calls;
        const auto id = d.event->id();
        if (id == "hold") {
          held.emplace(std::move(receipt));
        } else if (id == "drop") {
          std::move(receipt).answer(Answer::kDrop);
        } else if (id == "fail") {
          std::move(receipt).answer(Answer::kRetry);
        } else {
          std::move(receipt).answer(Answer::kSuccess);
        }
      });
  REQUIRE(subscription.ok());
  const auto with_id = [](const char* id) {
    EventSpec spec;
    spec.id = id;
    return make(spec);
  };
  const auto matched = fixture.counter("matched", "a.*,b", "worker");
  const auto succeeded = fixture.counter("succeeded", "a.*,b", "worker");
  const auto retried = fixture.counter("retried", "a.*,b", "worker");
  const auto dead_lettered = fixture.counter("dead_lettered", "a.*,b", "worker");
  const auto by_handler = fixture.counter("dropped", "a.*,b", "worker", "handler");
  const auto by_overflow = fixture.counter("dropped", "a.*,b", "worker", "overflow");
  const auto by_end = fixture.counter("dropped", "a.*,b", "worker", "end");
  publish(bus, "a.1", with_id("ok"));
  publish(bus, "a.2", with_id("drop"));
  publish(bus, "b", with_id("fail"));
  REQUIRE(eventually([&] { return dead_lettered->value() == 1; }));
  publish(bus, "b", with_id("hold"));
  for (int i = 0; i < 5; ++i) publish(bus, "b", with_id("later"));
  // What is frequent is told to the metrics now and then, without an end too.
  CHECK(eventually([&] { return matched->value() == 9; }));
  subscription->reset();
  held.reset();
  CHECK(matched->value() == 9);
  CHECK(succeeded->value() == 1);
  CHECK(retried->value() == 1);
  CHECK(dead_lettered->value() == 1);
  CHECK(by_handler->value() == 1);
  CHECK(by_overflow->value() == 3);
  CHECK(by_end->value() == 3);
}

TEST_CASE("the end of a subscription says how many events go untold") {
  Fixture fixture;
  auto& bus = *fixture.bus;
  const auto kept = Recorder::keeping();
  auto options = named("leaving");
  options.queue_events = 4;
  options.overflow = GENERATE(bus::Overflow::kDropOldest, bus::Overflow::kDropNewest);
  auto subscription = bus.subscribe({"x"}, std::move(options), kept.handler());
  for (int i = 1; i <= 10; ++i) publish(bus, "x", make(i));
  // One was handed out, and with it nothing was missed; nine are queued or were dropped.
  CHECK((*subscription)->end() == 9);
  kept.take().answer(Answer::kSuccess);
  CHECK(kept.count() == 1);
}

TEST_CASE("a subscription that ends while it is called says what it had taken from its queue") {
  Fixture fixture;
  auto& bus = *fixture.bus;
  Loop loop("test-loop");
  Gate gate;
  std::atomic<std::uint64_t> told = 0;
  auto options = named("leaving");
  options.executor = &loop;
  auto subscription =
      bus.subscribe({"x"}, std::move(options), [&](const Delivery&, Receipt receipt) {
        if (++told == 1) gate.pass();
        std::move(receipt).answer(Answer::kSuccess);
      });
  // The first alone, so that the others are taken together and given up in the middle.
  for (int i = 1; i <= 100; ++i) publish(bus, "x", make(i));
  REQUIRE(gate.wait_until_reached());
  std::thread opener([&] { gate.open(); });
  const std::uint64_t untold = (*subscription)->end();
  opener.join();
  CHECK(told + untold == 100);
}

TEST_CASE("failures on a topic of dead letters are counted") {
  Fixture fixture;
  auto& bus = *fixture.bus;
  auto options = named("mourner");
  options.retry.max_attempts = 1;
  const auto subscription = bus.subscribe(
      {"x-dead"}, std::move(options),
      [](const Delivery&, Receipt receipt) { std::move(receipt).answer(Answer::kRetry); });
  publish(bus, "x-dead", make(1));
  CHECK(fixture.counter("dead_letter_failures", "x-dead", "mourner")->value() == 1);
  CHECK(fixture.counter("dead_lettered", "x-dead", "mourner")->value() == 0);
}

TEST_CASE("with a seed the delays of retries are the same in every run, and spread") {
  const auto delays = [](std::uint64_t seed) {
    bus::BusConfig config;
    config.seed = seed;
    Fixture fixture(config);
    std::vector<std::chrono::steady_clock::time_point> times;
    std::atomic<int> calls = 0;
    auto options = named("timed");
    options.retry.first_delay = milliseconds(16);
    options.retry.max_attempts = 5;
    const auto subscription =
        fixture.bus->subscribe({"x"}, std::move(options), [&](const Delivery&, Receipt receipt) {
          times.push_back(std::chrono::steady_clock::now());
          std::move(receipt).answer(Answer::kRetry);
          ++calls;
        });
    publish(*fixture.bus, "x", make(1));
    REQUIRE(eventually([&] { return calls == 5; }));
    std::vector<double> delays_ms;
    for (std::size_t i = 1; i < times.size(); ++i) {
      delays_ms.push_back(
          std::chrono::duration<double, std::milli>(times[i] - times[i - 1]).count());
    }
    return delays_ms;
  };
  const auto one = delays(7), again = delays(7), other = delays(8);
  double off = 0, apart = 0;
  for (std::size_t i = 0; i < one.size(); ++i) {
    INFO(one[i] << " " << again[i] << " " << other[i]);
    // Never longer than the doubled delay; a busy machine may add to it.
    CHECK(one[i] < 16 * (1 << i) + 100);
    off += std::abs(one[i] - again[i]);
    apart += std::abs(one[i] - other[i]);
  }
  CHECK(off < apart);
}

TEST_CASE("the end of the bus ends its subscriptions, which may outlive it") {
  Fixture fixture;
  Recorder recorder;
  std::vector<absl::Status> ends;
  auto options = named("survivor");
  options.on_end = [&](absl::Status status) { ends.push_back(std::move(status)); };
  auto subscription = fixture.bus->subscribe({"x"}, std::move(options), recorder.handler());
  auto topic = fixture.bus->topic("x");
  fixture.bus.reset();
  REQUIRE(ends.size() == 1);
  CHECK(ends[0].code() == absl::StatusCode::kUnavailable);
  subscription->reset();
  topic.reset();
  CHECK(ends.size() == 1);
}

TEST_CASE("what a handler holds is let go with its subscription") {
  Fixture fixture;
  auto& bus = *fixture.bus;
  const auto topic = bus.topic("x");
  const auto kept = Recorder::keeping();
  auto token = std::make_shared<int>(1);
  auto subscription = bus.subscribe(
      {"x"}, named("holder"),
      [token, handler = kept.handler()](const Delivery& delivery, Receipt receipt) mutable {
        handler(delivery, std::move(receipt));
      });
  publish(bus, "x", make(1));
  CHECK(token.use_count() == 2);
  subscription->reset();
  CHECK(token.use_count() == 1);
  kept.take().answer(Answer::kSuccess);
}

TEST_CASE("an executor is given one drain at a time, not a task an event") {
  Fixture fixture;
  auto& bus = *fixture.bus;
  class Manual final : public Executor {
   public:
    void post(Task task) override {
      std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    std::size_t waiting() {
      std::lock_guard lock(mutex_);
      return tasks_.size();
    }
    void run_one() {
      std::unique_lock lock(mutex_);
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }

   private:
    std::mutex mutex_;
    std::deque<Task> tasks_;
  } executor;
  auto options = named("drained");
  options.executor = &executor;
  std::vector<std::string> order;
  options.on_ready = [&] { order.push_back("ready"); };
  const auto subscription =
      bus.subscribe({"x"}, std::move(options), [&](const Delivery& d, Receipt receipt) {
        order.emplace_back(d.event->id());
        std::move(receipt).answer(Answer::kSuccess);
      });
  for (int i = 1; i <= 3; ++i) publish(bus, "x", make(i));
  CHECK(order.empty());
  REQUIRE(executor.waiting() == 1);
  executor.run_one();
  CHECK(order == std::vector<std::string>{"ready", "1", "2", "3"});
  CHECK(executor.waiting() == 0);
  // A long queue gives others a turn in between.
  for (int i = 0; i < 3000; ++i) publish(bus, "x", make(i));
  CHECK(executor.waiting() == 1);
  int turns = 0;
  while (executor.waiting() > 0) {
    CHECK(executor.waiting() == 1);
    executor.run_one();
    ++turns;
  }
  CHECK(turns > 1);
  CHECK(turns < 10);
  CHECK(order.size() == 3004);
}

TEST_CASE("the section [bus] is read") {
  auto config = Config::load("", {{"VIRTUFIN_BUS__BLOCK_MS", "25"}, {"VIRTUFIN_BUS__SEED", "9"}});
  REQUIRE(config.ok());
  bus::BusConfig bus;
  bus.read(config->section("bus"));
  CHECK(config->finish().ok());
  CHECK(bus.block_ms == milliseconds(25));
  CHECK(bus.seed == 9);
  CHECK(bus.retry_delay_max_ms == milliseconds(60'000));
}

#include "bus/dapr/dapr_bus.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>

#include "conformance/support.h"
#include "core/metrics.h"
#include "dapr/daprd.h"
#include "dapr/nats_server.h"

/// The bus over a real sidecar that is late, killed, frozen, or has nothing behind it.
using namespace virtufin;
using namespace virtufin::testing;
using bus::DaprBus;
using bus::DaprConfig;
using bus::Sidecar;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr seconds kLong{60};
/// JetStream waits 30 s for an answer before an event comes again.
constexpr seconds kRedelivered{100};

/// A broker behind a sidecar, and the bus over it.
struct World {
  explicit World(bool start = true, std::function<void(DaprConfig&)> change = {},
                 bool on_jetstream = false)
      : nats(on_jetstream ? std::make_unique<NatsServer>() : nullptr),
        daprd(options(redis, nats.get(), start)) {
    config.endpoint = daprd.endpoint();
    config.components = {{"sc", "p-sc"}, {"act", "p-act"}, {"default", "p-rest"}};
    config.probe = milliseconds(100);
    config.queue_wait = seconds(30);
    if (change) change(config);
    sidecar.emplace(config, metrics);
    bus.emplace(*sidecar, clock, bus::BusConfig(), metrics);
  }
  static Daprd::Options options(const RedisServer& redis, NatsServer* nats, bool start) {
    Daprd::Options options;
    for (const std::string root : {"sc", "act", "rest"}) {
      const std::string name = "p-" + root;
      if (nats) {
        nats->make_stream(root, {root + ".>"});
        options.components.push_back({name,
                                      "pubsub.jetstream",
                                      {{"natsURL", nats->url()},
                                       {"streamName", root},
                                       {"durableName", "virtufin-test-" + root},
                                       {"deliverPolicy", "new"},
                                       {"concurrency", root == "act" ? "parallel" : "single"}}});
        continue;
      }
      options.components.push_back({name,
                                    "pubsub.redis",
                                    {{"redisHost", redis.address()},
                                     {"concurrency", "4096"},
                                     {"queueDepth", "4096"},
                                     {"processingTimeout", "2s"},
                                     {"redeliverInterval", "1s"},
                                     {"maxLenApprox", "100000"}}});
    }
    options.components.push_back({"statestore", "state.in-memory", {}});
    options.start = start;
    return options;
  }
  absl::Status health() const { return bus->health().at(0).status; }
  /// The sum of a counter over its labels, as a scraper reads it.
  double metric(const std::string& name) const {
    double sum = 0;
    std::istringstream lines(metrics.prometheus_text());
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(name + "{") || line.starts_with(name + " ")) {
        sum += std::stod(line.substr(line.rfind(' ')));
      }
    }
    return sum;
  }

  RedisServer redis;
  std::unique_ptr<NatsServer> nats;
  Daprd daprd;
  Metrics metrics;
  WallClock clock;
  DaprConfig config;
  std::optional<Sidecar> sidecar;
  std::optional<DaprBus> bus;
};

bus::SubscribeOptions blocking(const std::string& name) {
  bus::SubscribeOptions options;
  options.name = name;
  options.overflow = bus::Overflow::kBlock;
  return options;
}

/// Runs the test on Redis and, where there is a nats-server, on JetStream.
bool on_jetstream() {
  const bool there = !dapr_tools().nats_server.empty();
  if (!there) WARN("not on JetStream: install the Debian package nats-server");
  return GENERATE_COPY(range(0, there ? 2 : 1)) == 1;
}

/// Publishes 1, 2, … to a topic, one when the one before is through or has failed, and remembers
/// which were acknowledged.
class Load {
 public:
  Load(bus::Bus& bus, const std::string& topic) : bus_(bus), topic_(bus.topic(topic)) {
    thread_ = std::thread([this] { run(); });
  }
  ~Load() { stop(); }
  void stop() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
  }
  std::set<int> acknowledged() const {
    std::lock_guard lock(mutex_);
    return acknowledged_;
  }

 private:
  void run() {
    for (int i = 1; !stopping_; ++i) {
      const auto shared = std::make_shared<std::atomic<bool>>(false);
      std::atomic<bool>& done = *shared;
      bus_.publish(topic_, make(i), [this, shared, &done, i](const absl::Status& status) {
        if (status.ok()) {
          std::lock_guard lock(mutex_);
          acknowledged_.insert(i);
        }
        done = true;
        done.notify_one();
      });
      done.wait(false);
    }
  }
  bus::Bus& bus_;
  bus::TopicPtr topic_;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::set<int> acknowledged_;
  std::thread thread_;
};

/// Everything acknowledged was seen, and in order but for what came late.
bool complete(const std::set<int>& acknowledged, const Recorder& recorder) {
  std::set<int> seen;
  for (const auto& one : recorder.seen()) seen.insert(std::stoi(one.id));
  return std::includes(seen.begin(), seen.end(), acknowledged.begin(), acknowledged.end());
}
void check_order(const Recorder& recorder) {
  int last = 0;
  for (const auto& one : recorder.seen()) {
    if (one.late) continue;
    CHECK(std::stoi(one.id) > last);
    last = std::stoi(one.id);
  }
}

}  // namespace

TEST_CASE("a sidecar that is late: subscriptions and publishes wait for it") {
  World world(/*start=*/false);
  Recorder recorder;
  std::atomic<bool> ready = false;
  auto options = blocking("early");
  options.on_ready = [&] { ready = true; };
  const auto subscription =
      world.bus->subscribe({"sc.LIVE.orders"}, std::move(options), recorder.handler());
  REQUIRE(subscription.ok());
  const Publish early(*world.bus, "sc.LIVE.orders", make(1));
  CHECK(world.health().code() == absl::StatusCode::kUnavailable);
  CHECK_FALSE(ready);
  CHECK_FALSE(early.done());
  world.daprd.start();
  REQUIRE(eventually([&] { return ready.load(); }, kLong));
  REQUIRE(eventually([&] { return early.done(); }, kLong));
  CHECK(early.status().ok());
  CHECK(eventually([&] { return world.health().ok(); }, kLong));
  publish(*world.bus, "sc.LIVE.orders", make(2));
  REQUIRE(eventually([&] { return recorder.count() >= 2; }, kLong));
  CHECK(recorder.ids().back() == "2");
}

TEST_CASE(
    "no sidecar: what is published fails after queue_wait_ms, and at once when too much waits") {
  World world(/*start=*/false, [](DaprConfig& config) {
    config.queue_wait = milliseconds(500);
    config.call_timeout = milliseconds(300);
    config.queue_publishes = 3;
  });
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Publish> waiting;
  for (int i = 1; i <= 3; ++i) waiting.emplace_back(*world.bus, "sc.LIVE.orders", make(i));
  const Publish refused(*world.bus, "sc.LIVE.orders", make(4));
  REQUIRE(refused.done());
  CHECK(refused.status().code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(message(refused.status())), Catch::Contains("queue_publishes"));
  for (const Publish& one : waiting) {
    CHECK(one.status().code() == absl::StatusCode::kUnavailable);
    CHECK_THAT(std::string(message(one.status())), Catch::Contains("is daprd running"));
  }
  const auto took = std::chrono::steady_clock::now() - begin;
  CHECK(took >= milliseconds(490));
  CHECK(took < seconds(5));
  CHECK(world.metric("virtufin_dapr_publish_queued_events") == 0);
}

TEST_CASE("no sidecar: what waits for it is bounded in bytes, and so is the process") {
  constexpr int kEvents = 20'000;
  constexpr long kMiB = 1 << 20;
  World world(/*start=*/false);
  const auto resident_mib = [] {
    long size = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> size >> resident;
    return resident * sysconf(_SC_PAGESIZE) / kMiB;
  };
  const long before = resident_mib();
  EventSpec large;
  large.data = '"' + std::string(64 << 10, 'x') + '"';  // 1.3 GB in all
  std::atomic<int> refused = 0;
  const auto topic = world.bus->topic("sc.LIVE.orders");
  for (int i = 0; i < kEvents; ++i) {
    large.id = std::to_string(i);
    world.bus->publish(topic, make(large), [&](const absl::Status& status) {
      if (status.code() == absl::StatusCode::kUnavailable) ++refused;
    });
  }
  // 64 MiB wait (queue_publish_bytes); a sanitizer keeps some 256 MiB of what was freed.
  CHECK(refused >= kEvents - 1024);
  CHECK(resident_mib() - before < 500);
  world.bus.reset();
  world.sidecar->close();  // the call that is out
  CHECK(refused == kEvents);
}

TEST_CASE(
    "a sidecar killed under load: nothing acknowledged is lost, order holds but for late ones") {
  World world(/*start=*/true, {}, on_jetstream());
  Recorder recorder;
  const auto subscription =
      stand(*world.bus, {"sc.LIVE.orders"}, blocking("worker"), recorder.handler());
  Load load(*world.bus, "sc.LIVE.orders");
  for (int round = 0; round < 3; ++round) {
    const std::size_t before = recorder.count();
    REQUIRE(eventually([&] { return recorder.count() >= before + 200; }, kLong));
    world.daprd.kill();
    REQUIRE(eventually([&] { return !world.health().ok(); }, kLong));
    world.daprd.start();
  }
  const std::size_t before = recorder.count();
  REQUIRE(eventually([&] { return recorder.count() >= before + 200; }, kLong));
  load.stop();
  const auto acknowledged = load.acknowledged();
  CHECK(acknowledged.size() >= 500);
  CHECK(eventually([&] { return complete(acknowledged, recorder); }, kRedelivered));
  check_order(recorder);
  // A kill may come while what was queued before the last one is still being handled.
  CHECK(world.metric("virtufin_dapr_reopened_total") >= 1);
  CHECK(eventually([&] { return world.health().ok(); }, kLong));
}

TEST_CASE("a sidecar that is frozen: publishes fail in time, and all goes on when it wakes") {
  World world(/*start=*/true, [](DaprConfig& config) {
    config.queue_wait = milliseconds(1000);
    config.call_timeout = milliseconds(500);
  });
  Recorder recorder;
  const auto subscription =
      stand(*world.bus, {"sc.LIVE.orders"}, blocking("worker"), recorder.handler());
  publish(*world.bus, "sc.LIVE.orders", make(1));
  REQUIRE(recorder.wait_for(1) == 1);
  world.daprd.freeze();
  // The signal takes a moment.
  REQUIRE(eventually(
      [&] {
        const Publish frozen(*world.bus, "sc.LIVE.orders", make(2));
        return frozen.status().code() == absl::StatusCode::kUnavailable;
      },
      kLong));
  world.daprd.thaw();
  REQUIRE(eventually(
      [&] {
        const Publish again(*world.bus, "sc.LIVE.orders", make(3));
        return again.status().ok();
      },
      kLong));
  REQUIRE(eventually([&] { return complete({1, 3}, recorder); }, kLong));
  check_order(recorder);
}

TEST_CASE("a broker that is gone: publishing fails, and comes back with it") {
  World world(/*start=*/true, [](DaprConfig& config) { config.queue_wait = milliseconds(2000); });
  Recorder recorder;
  const auto subscription =
      stand(*world.bus, {"sc.LIVE.orders"}, blocking("worker"), recorder.handler());
  publish(*world.bus, "sc.LIVE.orders", make(1));
  REQUIRE(recorder.wait_for(1) == 1);
  world.redis.child().kill();
  const Publish lost(*world.bus, "sc.LIVE.orders", make(2));
  REQUIRE(eventually([&] { return lost.done(); }, kLong));
  CHECK(lost.status().code() == absl::StatusCode::kUnavailable);
  world.redis.restart();
  REQUIRE(eventually(
      [&] {
        const Publish again(*world.bus, "sc.LIVE.orders", make(3));
        return eventually([&] { return again.done(); }, kLong) && again.status().ok();
      },
      kLong));
}

TEST_CASE("a burst on a market topic goes in bulk") {
  World world;
  Recorder recorder, gaps;
  const std::string topic = "act.exchange.sim.trade.tape";
  const auto subscription = stand(*world.bus, {topic}, blocking("worker"), recorder.handler());
  constexpr int kEvents = 1000;
  const auto handle = world.bus->topic(topic);
  std::atomic<int> acknowledged = 0;
  for (int i = 1; i <= kEvents; ++i) {
    world.bus->publish(handle, make(i),
                       [&](const absl::Status& status) { acknowledged += status.ok() ? 1 : 0; });
  }
  REQUIRE(eventually([&] { return recorder.count() == kEvents; }, kLong));
  CHECK(recorder.ids() == numbers(1, kEvents));
  // The last events may be here before the sidecar has said that it has them.
  CHECK(eventually([&] { return acknowledged == kEvents; }));
  CHECK(world.metric("virtufin_dapr_published_total") == kEvents);
  CHECK(world.metric("virtufin_dapr_publish_calls_total") <= kEvents / 16);
  CHECK(world.metric("virtufin_dapr_received_total") == kEvents);
  CHECK(world.metric("virtufin_dapr_missing_total") == 0);
}

TEST_CASE("a sidecar killed under market load: every hole is told before what follows it") {
  World world(/*start=*/true, {}, on_jetstream());
  Recorder recorder;
  const std::string topic = "act.exchange.sim.trade.tape";
  // Both in one queue: what is told of a hole stands in front of the event behind it.
  const auto subscription = stand(*world.bus, {topic, "act.exchange.sim.feed.gap"},
                                  blocking("follower"), recorder.handler());
  const auto handle = world.bus->topic(topic);
  std::mutex mutex;
  std::set<int> acknowledged;
  std::atomic<int> published = 0, ended = 0;
  const auto burst = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const int id = ++published;
      world.bus->publish(handle, make(id), [&, id](const absl::Status& status) {
        if (status.ok()) {
          std::lock_guard lock(mutex);
          acknowledged.insert(id);
        }
        ++ended;
      });
    }
  };
  for (int round = 0; round < 3; ++round) {
    const std::size_t before = recorder.count();
    burst(2000);
    REQUIRE(eventually([&] { return recorder.count() > before + 500; }, kLong));
    world.daprd.kill();
    world.daprd.start();
    REQUIRE(eventually([&] { return ended == published; }, kLong));
    REQUIRE(eventually([&] { return world.health().ok(); }, kLong));
  }
  burst(100);
  const std::string last = std::to_string(published);
  REQUIRE(eventually(
      [&] {
        return recorder.count() > 0 && [&] {
          const auto seen = recorder.seen();
          return std::any_of(seen.rbegin(), seen.rend(),
                             [&](const auto& s) { return s.id == last; });
        }();
      },
      kLong));
  REQUIRE(eventually([&] { return ended == published; }, kLong));
  int before = 0;
  bool told = false;
  for (const auto& seen : recorder.seen()) {
    if (seen.topic != topic) {
      told = true;
      continue;
    }
    if (seen.late) continue;
    const int id = std::stoi(seen.id);
    CHECK(id > before);
    const auto hole = acknowledged.upper_bound(before);
    if (before > 0 && hole != acknowledged.end() && *hole < id) {
      INFO("acknowledged " << *hole << " is missing between " << before << " and " << id);
      CHECK(told);
    }
    before = id;
    told = false;
  }
}

TEST_CASE("a slow subscription makes the sidecar wait, within the bound, and loses nothing") {
  World world(/*start=*/true, [](DaprConfig& config) { config.queue_arrivals = 50; });
  const auto kept = Recorder::keeping();
  const auto subscription = stand(*world.bus, {"sc.LIVE.orders"}, blocking("slow"), kept.handler());
  constexpr int kEvents = 300;
  for (int i = 1; i <= kEvents; ++i) publish(*world.bus, "sc.LIVE.orders", make(i));
  REQUIRE(eventually([&] { return world.metric("virtufin_dapr_unanswered_events") == 50; }, kLong));
  // What waits with the sidecar is not read; it has answered every publish nevertheless.
  CHECK(world.metric("virtufin_dapr_received_total") == 50);
  std::set<std::string> in_time;
  REQUIRE(eventually(
      [&] {
        while (kept.kept() > 0) kept.take().answer(bus::Answer::kSuccess);
        for (const auto& seen : kept.seen()) in_time.insert(seen.id);
        return in_time.size() == kEvents;
      },
      kLong));
  check_order(kept);
}

TEST_CASE("a group shares a topic, each event is answered once, and what ends early is let go") {
  World world;
  std::vector<Recorder> members(3);
  std::vector<std::unique_ptr<bus::Subscription>> subscriptions;
  for (const Recorder& member : members) {
    auto options = blocking("worker");
    options.group = "workers";
    subscriptions.push_back(
        stand(*world.bus, {"sc.LIVE.orders"}, std::move(options), member.handler()));
  }
  constexpr int kEvents = 300;
  for (int i = 1; i <= kEvents; ++i) {
    publish(*world.bus, "sc.LIVE.orders",
            make({std::to_string(i), "t", "s/" + std::to_string(i % 30), "", ""}));
  }
  const auto total = [&] {
    std::size_t sum = 0;
    for (const auto& member : members) sum += member.count();
    return sum;
  };
  REQUIRE(eventually([&] { return total() == kEvents; }, kLong));
  CHECK(eventually([&] { return world.metric("virtufin_dapr_unanswered_events") == 0; }, kLong));
  for (const auto& member : members) CHECK(member.count() > 0);

  // One that ends with an event in hand holds up nobody: others hear the same stream.
  const auto kept = Recorder::keeping();
  auto leaver = stand(*world.bus, {"sc.LIVE.orders"}, blocking("leaver"), kept.handler());
  publish(*world.bus, "sc.LIVE.orders", make(kEvents + 1));
  REQUIRE(eventually([&] { return kept.kept() == 1 && total() == kEvents + 1; }, kLong));
  CHECK(world.metric("virtufin_dapr_unanswered_events") == 1);
  leaver.reset();
  CHECK(eventually([&] { return world.metric("virtufin_dapr_unanswered_events") == 0; }, kLong));
}

TEST_CASE("a drain takes nothing more from the sidecar; the next subscription gets it") {
  World world;
  const auto kept = Recorder::keeping();
  auto first = stand(*world.bus, {"sc.LIVE.orders"}, blocking("old"), kept.handler());
  publish(*world.bus, "sc.LIVE.orders", make(1));
  REQUIRE(kept.wait_for(1) == 1);
  std::atomic<bool> drained = false;
  first->drain([&] { drained = true; });
  publish(*world.bus, "sc.LIVE.orders", make(2));
  CHECK_FALSE(drained);
  kept.take().answer(bus::Answer::kSuccess);
  REQUIRE(eventually([&] { return drained.load(); }, kLong));
  CHECK(kept.count() == 1);
  Recorder next;
  const auto second = stand(*world.bus, {"sc.LIVE.orders"}, blocking("new"), next.handler());
  first.reset();
  REQUIRE(eventually(
      [&] {
        const auto ids = next.ids();
        return std::find(ids.begin(), ids.end(), "2") != ids.end();
      },
      kLong));
}

TEST_CASE("a component that is not there: the subscription waits, and readiness names it") {
  World world(/*start=*/true, [](DaprConfig& config) { config.components["sc"] = "elsewhere"; });
  REQUIRE(world.sidecar->wait_until_reachable(kLong).ok());
  Recorder recorder;
  const auto subscription =
      world.bus->subscribe({"sc.LIVE.orders"}, blocking("worker"), recorder.handler());
  REQUIRE(subscription.ok());
  CHECK_THAT(std::string(message(world.health())), Catch::Contains("sc.LIVE.orders"));
  const Publish lost(*world.bus, "sc.LIVE.orders", make(1));
  CHECK(lost.status().code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(message(lost.status())), Catch::Contains("elsewhere"));
}

TEST_CASE("with replicas there is no order, and readiness says so") {
  World world(/*start=*/true, [](DaprConfig& config) { config.replicas = 2; });
  CHECK(world.bus->health().at(0).name == "dapr bus, order: none");
  Recorder recorder;
  const auto subscription =
      stand(*world.bus, {"sc.LIVE.orders"}, blocking("worker"), recorder.handler());
  for (int i = 1; i <= 20; ++i) publish(*world.bus, "sc.LIVE.orders", make(i));
  REQUIRE(recorder.wait_for(20) == 20);
  for (const auto& seen : recorder.seen()) {
    CHECK_FALSE(seen.late);
    CHECK(seen.event->extension("busorder").empty());
  }
}

TEST_CASE("the end of the bus is told to who subscribes and to who publishes") {
  World world(/*start=*/false);
  std::atomic<int> ended = 0, ready = 0;
  auto options = blocking("worker");
  options.on_ready = [&] { ++ready; };
  options.on_end = [&](const absl::Status& status) {
    ended += status.code() == absl::StatusCode::kUnavailable ? 1 : 0;
  };
  Recorder recorder;
  const auto topic = world.bus->topic("sc.LIVE.orders");
  auto subscription =
      world.bus->subscribe({"sc.LIVE.orders"}, std::move(options), recorder.handler());
  REQUIRE(subscription.ok());
  const Publish first(*world.bus, "sc.LIVE.orders", make(1));
  const Publish second(*world.bus, "sc.LIVE.orders", make(2));
  world.bus.reset();
  CHECK(ended == 1);
  CHECK(ready == 0);
  CHECK(second.status().code() == absl::StatusCode::kUnavailable);
  // The one that was on its way ends with its call.
  world.sidecar->close();
  CHECK(first.status().code() == absl::StatusCode::kUnavailable);
  subscription->reset();
}

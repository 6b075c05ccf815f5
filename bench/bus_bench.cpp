// Publishing: to a handler on the same thread beside an empty virtual call, to handlers on other
// threads beside bare rings of the same events, and what one publish costs as the number of topics,
// and of subscriptions to other topics, grows.
#include <benchmark/benchmark.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bus/memory/memory_bus.h"
#include "bus/memory/spin_lock.h"
#include "core/event_writer.h"
#include "core/executor.h"
#include "core/metrics.h"

namespace virtufin::bus {
namespace {

EventPtr make(int number) {
  const std::string id = std::to_string(number);
  const std::string payload(200, '7');
  EventFields fields;
  fields.id = id;
  fields.type = "com.virtufin.exchange.binance.trade.tape";
  fields.source = "urn:com.virtufin.websocketmanager";
  fields.subject = "currency_pair/BTCUSDT";
  fields.data = as_bytes(payload);
  return *make_event(fields);
}

Handler counting(std::atomic<std::uint64_t>& count) {
  return [&count](const Delivery& delivery, Receipt receipt) {
    benchmark::DoNotOptimize(delivery.event->bytes().data());
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    std::move(receipt).answer(Answer::kSuccess);
  };
}

std::unique_ptr<Subscription> subscribe(MemoryBus& bus, std::string topic, Handler handler,
                                        Executor* executor = nullptr) {
  SubscribeOptions options;
  options.name = "bench";
  options.executor = executor;
  options.queue_events = 65'536;
  return *bus.subscribe({std::move(topic)}, std::move(options), std::move(handler));
}

// --- On the publisher's thread ------------------------------------------------------------------

class Sink {
 public:
  virtual ~Sink() = default;
  virtual void take(const EventPtr& event) = 0;
};
class EmptySink final : public Sink {
 public:
  void take(const EventPtr& event) override { benchmark::DoNotOptimize(event.get()); }
};

void empty_virtual_call(benchmark::State& state) {
  std::unique_ptr<Sink> sink = std::make_unique<EmptySink>();
  benchmark::DoNotOptimize(sink);
  const EventPtr event = make(1);
  for (auto _ : state) sink->take(event);
}
BENCHMARK(empty_virtual_call)->Name("publish_inline/floor");

void publish_inline(benchmark::State& state) {
  Metrics metrics;
  MemoryBus bus({}, metrics);
  const auto subscription = subscribe(bus, "x", [](const Delivery& delivery, Receipt receipt) {
    benchmark::DoNotOptimize(delivery.event.get());
    std::move(receipt).answer(Answer::kSuccess);
  });
  Bus& interface = bus;
  const TopicPtr topic = bus.topic("x");
  const EventPtr event = make(1);
  for (auto _ : state) interface.publish(topic, event);
}
BENCHMARK(publish_inline)->Name("publish_inline/value");

// --- To other threads ---------------------------------------------------------------------------

constexpr std::size_t kWindow = 4096;  // events under way at most, for ring and bus alike
constexpr std::size_t kRun = 200'000;

/// Different events, as a feed makes them: one event's counter is not everybody's.
const std::vector<EventPtr>& events() {
  static const std::vector<EventPtr> kEvents = [] {
    std::vector<EventPtr> made;
    for (std::size_t i = 0; i < 2 * kWindow; ++i) made.push_back(make(static_cast<int>(i)));
    return made;
  }();
  return kEvents;
}

/// A bare ring of counted pointers for one producer and one consumer.
class SpscRing {
 public:
  bool push(const EventPtr& event) {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - seen_head_ == kWindow) {
      seen_head_ = head_.load(std::memory_order_acquire);
      if (tail - seen_head_ == kWindow) return false;
    }
    cells_[tail % kWindow] = event;
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  bool pop(EventPtr& event) {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == seen_tail_) {
      seen_tail_ = tail_.load(std::memory_order_acquire);
      if (head == seen_tail_) return false;
    }
    event = std::move(cells_[head % kWindow]);
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

 private:
  alignas(64) std::atomic<std::size_t> tail_{0};
  std::size_t seen_head_ = 0;
  alignas(64) std::atomic<std::size_t> head_{0};
  std::size_t seen_tail_ = 0;
  alignas(64) std::array<EventPtr, kWindow> cells_;
};

struct alignas(64) Count {
  std::atomic<std::uint64_t> value{0};
};

/// Spins, then lets others run: there are fewer processors than threads here.
class Patience {
 public:
  void wait() {
    if (++turns_ < 200) {
      memory::relax();
    } else {
      std::this_thread::yield();
    }
  }

 private:
  int turns_ = 0;
};

void bare_rings(benchmark::State& state, std::size_t consumers) {
  std::vector<std::unique_ptr<SpscRing>> rings;
  std::vector<Count> counts(consumers);
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (std::size_t c = 0; c < consumers; ++c) {
    rings.push_back(std::make_unique<SpscRing>());
    threads.emplace_back([&, ring = rings.back().get(), &count = counts[c].value] {
      Patience patience;
      while (!stop.load(std::memory_order_relaxed)) {
        EventPtr event;
        if (ring->pop(event)) {
          benchmark::DoNotOptimize(event->bytes().data());
          count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_release);
          patience = {};
        } else {
          patience.wait();
        }
      }
    });
  }
  std::uint64_t sent = 0;
  for (auto _ : state) {
    for (std::size_t i = 0; i < kRun; ++i) {
      const EventPtr& event = events()[sent++ % events().size()];
      for (auto& ring : rings) {
        Patience patience;
        while (!ring->push(event)) patience.wait();
      }
    }
    for (auto& count : counts) {
      Patience patience;
      while (count.value.load(std::memory_order_acquire) != sent) patience.wait();
    }
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  state.SetItemsProcessed(static_cast<std::int64_t>(sent));
}

void publish_to_threads(benchmark::State& state, std::size_t consumers) {
  Metrics metrics;
  MemoryBus bus({}, metrics);
  std::vector<std::unique_ptr<Loop>> loops;
  std::vector<Count> counts(consumers);
  std::vector<std::unique_ptr<Subscription>> subscriptions;
  for (std::size_t c = 0; c < consumers; ++c) {
    loops.push_back(std::make_unique<Loop>("bench"));
    subscriptions.push_back(subscribe(bus, "x", counting(counts[c].value), loops.back().get()));
  }
  const TopicPtr topic = bus.topic("x");
  std::uint64_t sent = 0;
  std::vector<std::uint64_t> seen(consumers, 0);
  for (auto _ : state) {
    for (std::size_t i = 0; i < kRun; ++i) {
      for (std::size_t c = 0; c < consumers; ++c) {
        Patience patience;
        while (sent - seen[c] >= kWindow) {
          seen[c] = counts[c].value.load(std::memory_order_acquire);
          if (sent - seen[c] >= kWindow) patience.wait();
        }
      }
      bus.publish(topic, events()[sent++ % events().size()]);
    }
    for (auto& count : counts) {
      Patience patience;
      while (count.value.load(std::memory_order_acquire) != sent) patience.wait();
    }
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(sent));
}

void ring(benchmark::State& state) { bare_rings(state, 1); }
void rings3(benchmark::State& state) { bare_rings(state, 3); }
void thread1(benchmark::State& state) { publish_to_threads(state, 1); }
void thread3(benchmark::State& state) { publish_to_threads(state, 3); }
BENCHMARK(ring)->Name("publish_thread/floor")->UseRealTime();
BENCHMARK(thread1)->Name("publish_thread/value")->UseRealTime();
BENCHMARK(rings3)->Name("publish_thread_fanout3/floor")->UseRealTime();
BENCHMARK(thread3)->Name("publish_thread_fanout3/value")->UseRealTime();

// --- Growth -------------------------------------------------------------------------------------

/// One publish as a module does it that holds its topics, round and round over all of them. The
/// events of a real feed come in bursts of a topic, so that the cost measured is the bus's and not
/// that of a cold cache: each topic gets eight in a row.
void publish_over_topics(benchmark::State& state, std::size_t topics) {
  constexpr std::size_t kBurst = 8;
  Metrics metrics;
  MemoryBus bus({}, metrics);
  const auto subscription = subscribe(bus, "x.*", [](const Delivery&, Receipt receipt) {
    std::move(receipt).answer(Answer::kSuccess);
  });
  std::vector<TopicPtr> held;
  for (std::size_t i = 0; i < topics; ++i) held.push_back(bus.topic("x." + std::to_string(i)));
  const EventPtr event = make(1);
  std::size_t next = 0;
  for (auto _ : state) {
    bus.publish(held[next++ / kBurst % topics], event);
  }
}

/// One publish to a topic with one subscriber, beside subscriptions to other topics.
void publish_beside_subscribers(benchmark::State& state, std::size_t subscribers) {
  Metrics metrics;
  MemoryBus bus({}, metrics);
  std::vector<std::unique_ptr<Subscription>> subscriptions;
  std::vector<TopicPtr> held;
  for (std::size_t i = 0; i < subscribers; ++i) {
    const std::string topic = "x." + std::to_string(i);
    subscriptions.push_back(subscribe(bus, topic, [](const Delivery&, Receipt receipt) {
      std::move(receipt).answer(Answer::kSuccess);
    }));
    held.push_back(bus.topic(topic));
  }
  const EventPtr event = make(1);
  const TopicPtr topic = held[subscribers / 2];
  for (auto _ : state) bus.publish(topic, event);
}

void topics_1(benchmark::State& state) { publish_over_topics(state, 1); }
void topics_10(benchmark::State& state) { publish_over_topics(state, 10); }
void topics_100(benchmark::State& state) { publish_over_topics(state, 100); }
void topics_1000(benchmark::State& state) { publish_over_topics(state, 1000); }
void topics_10000(benchmark::State& state) { publish_over_topics(state, 10'000); }
BENCHMARK(topics_1)->Name("growth_topics/floor");
BENCHMARK(topics_1000)->Name("growth_topics/value");
BENCHMARK(topics_1)->Name("growth_topics_10/floor");
BENCHMARK(topics_10)->Name("growth_topics_10/value");
BENCHMARK(topics_1)->Name("growth_topics_100/floor");
BENCHMARK(topics_100)->Name("growth_topics_100/value");
BENCHMARK(topics_1)->Name("growth_topics_10000/floor");
BENCHMARK(topics_10000)->Name("growth_topics_10000/value");

void subscribers_1(benchmark::State& state) { publish_beside_subscribers(state, 1); }
void subscribers_10(benchmark::State& state) { publish_beside_subscribers(state, 10); }
void subscribers_100(benchmark::State& state) { publish_beside_subscribers(state, 100); }
void subscribers_1000(benchmark::State& state) { publish_beside_subscribers(state, 1000); }
BENCHMARK(subscribers_1)->Name("growth_subscribers/floor");
BENCHMARK(subscribers_1000)->Name("growth_subscribers/value");
BENCHMARK(subscribers_1)->Name("growth_subscribers_10/floor");
BENCHMARK(subscribers_10)->Name("growth_subscribers_10/value");
BENCHMARK(subscribers_1)->Name("growth_subscribers_100/floor");
BENCHMARK(subscribers_100)->Name("growth_subscribers_100/value");

}  // namespace
}  // namespace virtufin::bus

BENCHMARK_MAIN();

#include <catch2/catch.hpp>
#include <map>
#include <optional>

#include "bus/memory/memory_bus.h"
#include "conformance/support.h"
#include "core/metrics.h"

/// Many threads at once, for the thread sanitizer and for the numbers.
using namespace virtufin;
using namespace virtufin::testing;
using bus::Answer;
using bus::Delivery;
using bus::Receipt;
using std::chrono::milliseconds;

namespace {

/// An event that says who published it and as which: `<publisher>/<number>`.
EventPtr numbered(int publisher, int number) {
  EventSpec spec;
  spec.id = std::to_string(number);
  spec.subject = std::to_string(publisher);
  return make(spec);
}

/// Checks that each publisher's numbers only grow.
class InOrder {
 public:
  void see(const Event& event) {
    std::lock_guard lock(mutex_);
    int& last = last_[std::string(event.subject())];
    const int number = std::stoi(std::string(event.id()));
    if (number <= last) ++wrong_;
    last = number;
    ++count_;
  }
  int wrong() const {
    std::lock_guard lock(mutex_);
    return wrong_;
  }
  int count() const {
    std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, int> last_;
  int wrong_ = 0, count_ = 0;
};

template <class Body>
void in_threads(int count, Body body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back([i, &body] { body(i); });
  for (auto& thread : threads) thread.join();
}

}  // namespace

TEST_CASE(
    "many publishers, inline and on loops: everything arrives, in each one's order, one at a "
    "time") {
  Metrics metrics;
  bus::MemoryBus bus({}, metrics);
  Loop loop("test-loop"), second_loop("test-loop-2");
  constexpr int kPublishers = 4, kEvents = 2000;
  struct Reader {
    InOrder order;
    std::atomic<int> inside = 0, together = 0;
    std::unique_ptr<bus::Subscription> subscription;
  };
  std::vector<Reader> readers(4);
  Executor* const executors[] = {nullptr, nullptr, &loop, &second_loop};
  for (std::size_t i = 0; i < readers.size(); ++i) {
    bus::SubscribeOptions options;
    options.name = "reader";
    options.queue_events = kPublishers * kEvents;
    options.executor = executors[i];
    Reader& reader = readers[i];
    auto made = bus.subscribe({"x"}, std::move(options), [&](const Delivery& d, Receipt receipt) {
      if (++reader.inside > 1) ++reader.together;
      reader.order.see(*d.event);
      --reader.inside;
      std::move(receipt).answer(Answer::kSuccess);
    });
    REQUIRE(made.ok());
    reader.subscription = *std::move(made);
  }
  in_threads(kPublishers, [&](int publisher) {
    const auto topic = bus.topic("x");
    for (int i = 1; i <= kEvents; ++i) bus.publish(topic, numbered(publisher, i));
  });
  for (auto& reader : readers) {
    CHECK(eventually([&] { return reader.order.count() == kPublishers * kEvents; }));
    CHECK(reader.order.wrong() == 0);
    CHECK(reader.together == 0);
  }
}

TEST_CASE("subscriptions and topics come and go while others publish") {
  Metrics metrics;
  bus::MemoryBus bus({}, metrics);
  Loop loop("test-loop");
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> handled = 0;
  std::atomic<int> stuck = 0, refused = 0;
  std::thread publishers([&] {
    in_threads(2, [&](int publisher) {
      for (int i = 1; !stop; ++i) {
        bus.publish(bus.topic("x." + std::to_string(i % 3)), numbered(publisher, i),
                    [](const absl::Status& status) {
                      if (!status.ok()) std::terminate();
                    });
      }
    });
  });
  in_threads(3, [&](int who) {
    for (int i = 0; i < 150; ++i) {
      bus::SubscribeOptions options;
      options.name = "passer-by";
      options.queue_events = 64;
      options.retry.first_delay = milliseconds(1);
      if (who == 1) options.executor = &loop;
      if (who == 2) options.group = "g";
      if (who == 0) options.filter.subject = "1";
      std::vector<std::string> patterns{who == 2 ? "x.1" : "x.*"};
      auto made = bus.subscribe(
          patterns, std::move(options),
          [&, held = std::optional<Receipt>()](const Delivery& d, Receipt receipt) mutable {
            ++handled;
            const auto n = d.event->id().back();
            if (n == '7') return;
            std::move(receipt).answer(n == '3' ? Answer::kDrop : Answer::kSuccess);
          });
      if (!made.ok()) {
        ++refused;
        continue;
      }
      const std::uint64_t seen = handled;
      if (!eventually([&] { return handled > seen; })) ++stuck;
      if (i % 3 == 0) {
        std::atomic<bool> drained = false;
        (*made)->drain([&] { drained = true; });
        if (!eventually([&] { return drained.load(); })) ++stuck;
      }
    }
  });
  stop = true;
  publishers.join();
  CHECK(refused == 0);
  CHECK(stuck == 0);
  CHECK(bus.footprint().subscriptions == 0);
  CHECK(bus.footprint().patterns == 0);
  CHECK(bus.footprint().groups == 0);
  CHECK(eventually([&] { return bus.footprint().topics == 0; }));
}

TEST_CASE("answers from everywhere, retries and dead letters: every event ends once") {
  Metrics metrics;
  bus::BusConfig config;
  config.seed = 1;
  bus::MemoryBus bus(config, metrics);
  Loop loop("test-loop");
  std::atomic<int> succeeded = 0, dropped = 0, dead = 0, out = 0, most_out = 0;
  bus::SubscribeOptions graveyard;
  graveyard.name = "graveyard";
  graveyard.queue_events = 10'000;
  const auto letters =
      bus.subscribe({"x-dead"}, std::move(graveyard), [&](const Delivery&, Receipt receipt) {
        ++dead;
        std::move(receipt).answer(Answer::kSuccess);
      });
  BlockingPool answerers("answer", 2, 10'000);
  bus::SubscribeOptions options;
  options.name = "busy";
  options.max_in_flight = 16;
  options.queue_events = 10'000;
  options.retry.first_delay = milliseconds(1);
  options.retry.max_attempts = 3;
  if (GENERATE(false, true)) options.executor = &loop;
  auto subscription =
      bus.subscribe({"x"}, std::move(options), [&](const Delivery& delivery, Receipt receipt) {
        const int now = ++out;
        int seen = most_out;
        while (now > seen && !most_out.compare_exchange_weak(seen, now)) {
        }
        const int kind = std::stoi(std::string(delivery.event->id())) % 5;
        Task answer = [&, kind, receipt = std::move(receipt)]() mutable {
          --out;
          switch (kind) {
            case 0: std::move(receipt).answer(Answer::kRetry); break;
            case 1: std::move(receipt).dead("no", 1); break;
            case 2:
              ++dropped;
              std::move(receipt).answer(Answer::kDrop);
              break;
            default: ++succeeded; std::move(receipt).answer(Answer::kSuccess);
          }
        };
        if (kind == 3) {
          answer();
        } else if (!answerers.post(std::move(answer))) {
          std::abort();  // there is room for all
        }
      });
  REQUIRE(subscription.ok());
  constexpr int kEvents = 1000;
  in_threads(2, [&](int publisher) {
    const auto topic = bus.topic("x");
    for (int i = 0; i < kEvents; ++i) bus.publish(topic, numbered(publisher, i));
  });
  std::atomic<bool> drained = false;
  (*subscription)->drain([&] { drained = true; });
  REQUIRE(eventually([&] { return drained.load(); }));
  CHECK(dead == 2 * kEvents * 2 / 5);
  CHECK(dropped == 2 * kEvents / 5);
  CHECK(succeeded == 2 * kEvents * 2 / 5);
  CHECK(most_out <= 16);
  CHECK(out == 0);
}

TEST_CASE("blocked publishers from many threads are all told, and nothing is lost or doubled") {
  Metrics metrics;
  bus::BusConfig config;
  config.block_ms = milliseconds(20'000);
  bus::MemoryBus bus(config, metrics);
  Loop loop("test-loop");
  InOrder order;
  std::atomic<int> told = 0, refused = 0;
  bus::SubscribeOptions options;
  options.name = "slow";
  options.overflow = bus::Overflow::kBlock;
  options.queue_events = 64;
  options.executor = &loop;
  const auto subscription =
      bus.subscribe({"x"}, std::move(options), [&](const Delivery& d, Receipt receipt) {
        order.see(*d.event);
        std::move(receipt).answer(Answer::kSuccess);
      });
  constexpr int kPublishers = 3, kEvents = 2000;
  in_threads(kPublishers, [&](int publisher) {
    const auto topic = bus.topic("x");
    std::atomic<int> waiting = 0;
    for (int i = 1; i <= kEvents; ++i) {
      ++waiting;
      bus.publish(topic, numbered(publisher, i), [&](const absl::Status& status) {
        if (!status.ok()) ++refused;
        ++told;
        --waiting;
      });
      // As a connection does that stops reading while its publishes wait.
      if (!eventually([&] { return waiting < 16; })) return;
    }
    eventually([&] { return waiting == 0; });
  });
  CHECK(told == kPublishers * kEvents);
  CHECK(refused == 0);
  CHECK(eventually([&] { return order.count() == kPublishers * kEvents; }));
  CHECK(order.wrong() == 0);
}

TEST_CASE("members of a group come and go: each event once, order per subject kept") {
  Metrics metrics;
  bus::MemoryBus bus({}, metrics);
  Loop loop("test-loop");
  InOrder order;
  const auto join = [&](Executor* executor) {
    bus::SubscribeOptions options;
    options.name = "member";
    options.group = "g";
    options.queue_events = 100'000;
    options.executor = executor;
    auto made = bus.subscribe({"x"}, std::move(options), [&](const Delivery& d, Receipt receipt) {
      order.see(*d.event);
      std::move(receipt).answer(Answer::kSuccess);
    });
    if (!made.ok()) throw std::logic_error(std::string(message(made.status())));
    return *std::move(made);
  };
  const auto stays = join(&loop);
  std::atomic<bool> stop = false;
  std::thread churn([&] {
    while (!stop) {
      auto passing = join(nullptr);
      std::atomic<bool> drained = false;
      passing->drain([&] { drained = true; });
      eventually([&] { return drained.load(); });
    }
  });
  constexpr int kPublishers = 2, kEvents = 3000;
  in_threads(kPublishers, [&](int publisher) {
    const auto topic = bus.topic("x");
    for (int i = 1; i <= kEvents; ++i) bus.publish(topic, numbered(publisher, i));
  });
  CHECK(eventually([&] { return order.count() == kPublishers * kEvents; }));
  stop = true;
  churn.join();
  CHECK(order.wrong() == 0);
  CHECK(order.count() == kPublishers * kEvents);
}

// The adapter for Dapr beside a bare client of the same sidecar, which sends the same bytes in the
// same calls: what the adapter costs on top of the sidecar's own time. Over Redis.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <iostream>
#include <mutex>
#include <string>
#include <vector>

#include "bus/dapr/dapr_bus.h"
#include "bus/dapr/dapr_store.h"
#include "bus/dapr/envelope.h"
#include "bus/dapr/sidecar.h"
#include "core/errors.h"
#include "core/event_writer.h"
#include "core/metrics.h"
#include "core/time.h"
#include "dapr/bare_client.h"
#include "dapr/sidecar_process.h"

namespace virtufin::bench {
namespace {

using Steady = std::chrono::steady_clock;

constexpr int kRounds = 5;
constexpr std::size_t kSingles = 1500;  // events of a round, one call each
constexpr std::size_t kMany = 12'800;   // events of a round in bulk; fewer than the adapter queues
constexpr std::size_t kBulk = 64;       // the adapter's bulk_max
constexpr std::size_t kSteps = 600;     // latencies of a round
constexpr const char* kComponent = "bench";
constexpr const char* kStore = "statestore";

double seconds_since(Steady::time_point start) {
  return std::chrono::duration<double>(Steady::now() - start).count();
}

double median(std::vector<double> figures) {
  std::nth_element(figures.begin(), figures.begin() + figures.size() / 2, figures.end());
  return figures[figures.size() / 2];
}

void require(const absl::Status& status) {
  if (!status.ok()) throw std::runtime_error(std::string(message(status)));
}

/// An order book update as the WebSocketManager publishes it.
EventPtr sample(const std::string& id) {
  const std::vector<Extension> extensions{{"scenarioid", "LIVE"},
                                          {"clocktype", "wall"},
                                          {"eventtime", "2026-01-31T12:34:56.123456789Z"},
                                          {"walltime", "2026-01-31T12:34:56.123456789Z"}};
  EventFields fields;
  fields.id = id;
  fields.type = "com.virtufin.exchange.binance.orderbook.updated";
  fields.source = "urn:com.virtufin.websocketmanager";
  fields.subject = "currency_pair/BTCUSDT";
  fields.time = "2026-01-31T12:34:56.123456789Z";
  fields.data_content_type = "application/json";
  fields.data = as_bytes(
      R"({"bids_delta":[["63251.10","0.42"]],"asks_delta":[["63251.20","0"]],"first_update_id":1,"last_update_id":2})");
  fields.extensions = extensions;
  auto made = make_event(fields);
  require(made.status());
  return *std::move(made);
}

/// Counts up to a number and wakes who waits for it.
class Countdown {
 public:
  explicit Countdown(std::size_t count) : left_(count) {}
  void one() {
    std::lock_guard lock(mutex_);
    if (left_ > 0 && --left_ == 0) zero_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    if (!zero_.wait_for(lock, std::chrono::seconds(60), [this] { return left_ == 0; })) {
      throw std::runtime_error(fmt::format("{} events did not come within a minute", left_));
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable zero_;
  std::size_t left_;
};

/// The adapter as a process has it.
struct Adapter {
  static bus::DaprConfig config(const std::string& endpoint, int replicas) {
    bus::DaprConfig config;
    config.endpoint = endpoint;
    config.components = {{"default", kComponent}};
    config.state_store = kStore;
    config.replicas = replicas;
    return config;
  }
  explicit Adapter(const std::string& endpoint, int replicas = 1)
      : sidecar(config(endpoint, replicas), metrics),
        bus(sidecar, clock, bus::BusConfig(), metrics),
        store(sidecar, metrics) {
    require(sidecar.wait_until_reachable(std::chrono::seconds(20)));
  }

  std::unique_ptr<bus::Subscription> subscribe(const std::string& topic,
                                               std::function<void()> on_event) {
    auto ready = std::make_shared<std::promise<void>>();
    auto stands = ready->get_future();
    bus::SubscribeOptions options;
    options.name = "bench";
    options.overflow = bus::Overflow::kBlock;
    options.on_ready = [ready] { ready->set_value(); };
    auto made = bus.subscribe({topic}, std::move(options),
                              [on_event](const bus::Delivery&, bus::Receipt receipt) {
                                std::move(receipt).answer(bus::Answer::kSuccess);
                                on_event();
                              });
    require(made.status());
    if (stands.wait_for(std::chrono::seconds(20)) != std::future_status::ready) {
      throw std::runtime_error("the adapter's subscription does not stand");
    }
    return *std::move(made);
  }

  /// Publishes all at once and waits until the last is acknowledged.
  void publish(const std::string& topic, const std::vector<EventPtr>& events) {
    Countdown acknowledged(events.size());
    std::atomic<int> failed{0};
    const auto to = bus.topic(topic);
    for (const EventPtr& event : events) {
      bus.publish(to, event, [&](const absl::Status& status) {
        if (!status.ok()) ++failed;
        acknowledged.one();
      });
    }
    acknowledged.wait();
    if (failed != 0) throw std::runtime_error(fmt::format("{} events were refused", failed.load()));
  }

  Metrics metrics;
  WallClock clock;
  bus::Sidecar sidecar;
  bus::DaprBus bus;
  bus::DaprStore store;
};

class Load {
 public:
  explicit Load(std::string only)
      : only_(std::move(only)),
        bare_(process_.endpoint()),
        adapter_(process_.endpoint()),
        unordered_(process_.endpoint(), 2) {
    for (std::size_t i = 0; i < kMany; ++i) events_.push_back(sample(fmt::format("e{:06}", i)));
    for (std::size_t i = 0; i < kMany; ++i) {
      texts_.push_back(bus::encode_envelope(*events_[i], {0x1234567890abcdef, i + 1}));
    }
  }

  void run() {
    rate(
        "dapr_publish", [this] { return publish_one_by_one_bare(); },
        [this] { return publish_rate(adapter_, "sc.LIVE." + fresh(), kSingles); });
    rate(
        "dapr_publish_bulk", [this] { return publish_bulk_bare(); },
        [this] { return publish_rate(adapter_, "act." + fresh(), kMany); });
    rate(
        "dapr_ordered_throughput", [this] { return throughput(unordered_); },
        [this] { return throughput(adapter_); });
    latency(
        "dapr_end_to_end_p50", [this] { return end_to_end_bare(); },
        [this] { return end_to_end(); });
    latency(
        "dapr_state_save", [this] { return each([this] { bare_.save(kStore, "k", value_); }); },
        [this] { return each([this] { save(); }); });
    latency(
        "dapr_state_get", [this] { return each([this] { bare_.get(kStore, "k"); }); },
        [this] { return each([this] { get(); }); });
  }

 private:
  using Figure = std::function<double()>;

  void rate(const char* name, const Figure& floor, const Figure& value) {
    row(name, "1/s", floor, value);
  }
  void latency(const char* name, const Figure& floor, const Figure& value) {
    row(name, "us", floor, value);
  }
  void row(std::string_view name, const char* unit, const Figure& floor, const Figure& value) {
    if (!name.starts_with(only_)) return;
    std::vector<double> floors, values;
    for (int round = 0; round < kRounds; ++round) {
      floors.push_back(floor());
      values.push_back(value());
    }
    std::cout << fmt::format(R"({{"name":"{}","value":{:.1f},"floor":{:.1f},"unit":"{}"}})", name,
                             median(values), median(floors), unit)
              << std::endl;
  }

  /// A topic that nobody has used: what was published on another is not read again.
  std::string fresh() { return fmt::format("bench.t{}", ++topics_); }

  double publish_one_by_one_bare() {
    const std::string topic = "sc.LIVE." + fresh();
    const auto start = Steady::now();
    for (std::size_t i = 0; i < kSingles; ++i) bare_.publish(kComponent, topic, texts_[i]);
    return kSingles / seconds_since(start);
  }
  double publish_bulk_bare() {
    const std::string topic = "act." + fresh();
    const auto start = Steady::now();
    send_bulks(topic);
    return kMany / seconds_since(start);
  }
  void send_bulks(const std::string& topic) {
    for (std::size_t i = 0; i < kMany; i += kBulk) {
      bare_.publish_bulk(kComponent, topic, {texts_.begin() + i, texts_.begin() + i + kBulk});
    }
  }
  double publish_rate(Adapter& adapter, const std::string& topic, std::size_t count) {
    const std::vector<EventPtr> events(events_.begin(), events_.begin() + count);
    const auto start = Steady::now();
    adapter.publish(topic, events);
    return count / seconds_since(start);
  }

  /// Both ends of one topic, from the first publish to the last delivery.
  double throughput(Adapter& adapter) {
    const std::string topic = "act." + fresh();
    Countdown arrived(kMany);
    const auto subscription = adapter.subscribe(topic, [&arrived] { arrived.one(); });
    const auto start = Steady::now();
    adapter.publish(topic, events_);
    arrived.wait();
    return kMany / seconds_since(start);
  }

  /// From the publish to the arrival, one event at a time.
  double end_to_end_bare() {
    const std::string topic = "sc.LIVE." + fresh();
    Arrivals arrivals;
    const BareSubscription subscription(process_.endpoint(), kComponent, topic,
                                        [&arrivals] { arrivals.one(); });
    return arrivals.median_of(kSteps, [&] { bare_.publish(kComponent, topic, texts_[0]); });
  }
  double end_to_end() {
    const std::string topic = "sc.LIVE." + fresh();
    Arrivals arrivals;
    const auto subscription = adapter_.subscribe(topic, [&arrivals] { arrivals.one(); });
    const auto to = adapter_.bus.topic(topic);
    return arrivals.median_of(kSteps, [&] {
      std::promise<absl::Status> acknowledged;
      adapter_.bus.publish(to, events_[0], [&acknowledged](absl::Status status) {
        acknowledged.set_value(std::move(status));
      });
      require(acknowledged.get_future().get());
    });
  }

  /// The moment at which each event came.
  class Arrivals {
   public:
    void one() {
      std::lock_guard lock(mutex_);
      at_ = Steady::now();
      ++count_;
      came_.notify_one();
    }
    double median_of(std::size_t steps, const std::function<void()>& publish) {
      std::vector<double> micros;
      for (std::size_t i = 0; i < steps; ++i) {
        const auto start = Steady::now();
        publish();
        std::unique_lock lock(mutex_);
        if (!came_.wait_for(lock, std::chrono::seconds(10), [&] { return count_ > i; })) {
          throw std::runtime_error("an event did not come within ten seconds");
        }
        micros.push_back(std::chrono::duration<double, std::micro>(at_ - start).count());
      }
      return median(std::move(micros));
    }

   private:
    std::mutex mutex_;
    std::condition_variable came_;
    std::size_t count_ = 0;
    Steady::time_point at_;
  };

  static double each(const std::function<void()>& call) {
    std::vector<double> micros;
    for (std::size_t i = 0; i < kSteps; ++i) {
      const auto start = Steady::now();
      call();
      micros.push_back(seconds_since(start) * 1e6);
    }
    return median(std::move(micros));
  }
  void save() {
    std::promise<absl::Status> saved;
    adapter_.store.save(
        {.key = "k", .value = value_, .condition = {}, .ttl = {}},
        [&saved](absl::StatusOr<std::string> etag) { saved.set_value(etag.status()); });
    require(saved.get_future().get());
  }
  void get() {
    std::promise<absl::StatusOr<bus::Item>> got;
    adapter_.store.get("k",
                       [&got](absl::StatusOr<bus::Item> item) { got.set_value(std::move(item)); });
    const auto item = got.get_future().get();
    require(item.status());
    if (item->value != value_) throw std::runtime_error("the store answered another value");
  }

  const std::string only_;
  const std::string value_ = std::string(R"({"order_id":")") + std::string(200, 'x') + R"("})";
  SidecarProcess process_;
  BareClient bare_;
  Adapter adapter_, unordered_;
  std::vector<EventPtr> events_;
  std::vector<std::string> texts_;
  int topics_ = 0;
};

}  // namespace
}  // namespace virtufin::bench

int main(int argc, char** argv) {
  using namespace virtufin::bench;
  const std::string only = argc > 2 && std::string(argv[1]) == "--only" ? argv[2] : "";
  const std::string all = "dapr_";
  if (!only.starts_with(all) && !all.starts_with(only)) return 0;
  if (const std::string missing = SidecarProcess::missing(); !missing.empty()) {
    std::cerr << "dapr_load: skipped, there is no " << missing << '\n';
    return 0;
  }
  try {
    Load(only).run();
  } catch (const std::exception& error) {
    std::cerr << "dapr_load: " << error.what() << '\n';
    return 1;
  }
}

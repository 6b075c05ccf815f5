#pragma once

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bus/bus.h"
#include "core/errors.h"
#include "core/event_writer.h"
#include "core/executor.h"

/// What tests of buses and stores share: events, a handler that remembers, waiting with a deadline.
namespace virtufin::testing {

inline constexpr std::chrono::seconds kDeadline{10};

/// Waits until `condition` holds; false when the deadline has passed.
inline bool eventually(const std::function<bool()>& condition,
                       std::chrono::milliseconds deadline = kDeadline) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

struct EventSpec {
  std::string id = "1";
  std::string type = "com.virtufin.test";
  std::string subject;
  std::string scenario;
  std::string clock;
  std::string data = "{}";
};

inline EventPtr make(const EventSpec& spec) {
  std::vector<Extension> extensions;
  if (!spec.scenario.empty()) extensions.push_back({"scenarioid", spec.scenario});
  if (!spec.clock.empty()) extensions.push_back({"clocktype", spec.clock});
  EventFields fields;
  fields.id = spec.id;
  fields.type = spec.type;
  fields.source = "urn:com.virtufin.test";
  fields.subject = spec.subject;
  fields.data = as_bytes(spec.data);
  fields.data_content_type = "application/json";
  fields.extensions = extensions;
  // Called from many threads, which Catch's assertions are not for.
  auto event = make_event(fields);
  if (!event.ok()) throw std::logic_error(std::string(message(event.status())));
  return *event;
}

inline EventPtr make(int id) {
  EventSpec spec;
  spec.id = std::to_string(id);
  return make(spec);
}

/// What became of a publish.
class Publish {
 public:
  Publish(bus::Bus& bus, const std::string& topic, EventPtr event) {
    bus.publish(bus.topic(topic), std::move(event), [state = state_](const absl::Status& status) {
      std::lock_guard lock(state->mutex);
      state->statuses.push_back(status);
    });
  }
  bool done() const {
    std::lock_guard lock(state_->mutex);
    return !state_->statuses.empty();
  }
  /// Waits for it; it is told exactly once.
  absl::Status status() const {
    REQUIRE(eventually([&] { return done(); }));
    std::lock_guard lock(state_->mutex);
    REQUIRE(state_->statuses.size() == 1);
    return state_->statuses.front();
  }

 private:
  struct State {
    std::mutex mutex;
    std::vector<absl::Status> statuses;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

inline void publish(bus::Bus& bus, const std::string& topic, EventPtr event) {
  const absl::Status status = Publish(bus, topic, std::move(event)).status();
  INFO(message(status));
  REQUIRE(status.ok());
}

/// A handler that remembers what it was given and answers as it is told.
class Recorder {
 public:
  struct Seen {
    std::string topic, id;
    int attempt;
    bool late;
    std::uint64_t missed;
    std::thread::id thread;
    EventPtr event;
  };

  /// Answers at once with what `decide` says.
  explicit Recorder(std::function<bus::Answer(const bus::Delivery&)> decide =
                        [](const bus::Delivery&) { return bus::Answer::kSuccess; })
      : state_(std::make_shared<State>()) {
    state_->decide = std::move(decide);
  }
  /// Keeps every receipt until take() asks for it.
  static Recorder keeping() { return Recorder(nullptr); }

  bus::Handler handler() const {
    return [state = state_](const bus::Delivery& delivery, bus::Receipt receipt) {
      {
        std::lock_guard lock(state->mutex);
        state->seen.push_back({std::string(name(delivery.topic)), std::string(delivery.event->id()),
                               delivery.attempt, delivery.late, delivery.missed,
                               std::this_thread::get_id(), delivery.event});
        if (!state->decide) {
          state->receipts.push_back(std::move(receipt));
          return;
        }
      }
      std::move(receipt).answer(state->decide(delivery));
    };
  }

  std::vector<Seen> seen() const {
    std::lock_guard lock(state_->mutex);
    return state_->seen;
  }
  std::size_t count() const { return seen().size(); }
  std::vector<std::string> ids() const {
    std::vector<std::string> ids;
    for (const auto& seen : seen()) ids.push_back(seen.id);
    return ids;
  }
  /// The number of deliveries, waited for.
  std::size_t wait_for(std::size_t count) const {
    eventually([&] { return this->count() >= count; });
    return this->count();
  }
  std::size_t kept() const {
    std::lock_guard lock(state_->mutex);
    return state_->receipts.size();
  }
  /// The oldest receipt that was kept, waited for.
  bus::Receipt take() const {
    REQUIRE(eventually([&] { return kept() > 0; }));
    std::lock_guard lock(state_->mutex);
    bus::Receipt receipt = std::move(state_->receipts.front());
    state_->receipts.pop_front();
    return receipt;
  }

 private:
  struct State {
    std::mutex mutex;
    std::function<bus::Answer(const bus::Delivery&)> decide;
    std::vector<Seen> seen;
    std::deque<bus::Receipt> receipts;
  };
  std::shared_ptr<State> state_;
};

/// A subscription that stands: what is published from here on reaches it.
inline std::unique_ptr<bus::Subscription> stand(bus::Bus& bus, std::vector<std::string> patterns,
                                                bus::SubscribeOptions options,
                                                bus::Handler handler) {
  const auto ready = std::make_shared<std::atomic<bool>>(false);
  options.on_ready = [ready, told = std::move(options.on_ready)]() mutable {
    if (told) told();
    *ready = true;
  };
  auto subscription = bus.subscribe(std::move(patterns), std::move(options), std::move(handler));
  INFO(message(subscription.status()));
  REQUIRE(subscription.ok());
  REQUIRE(eventually([&] { return ready->load(); }, std::chrono::seconds(30)));
  return *std::move(subscription);
}

/// Sees what has arrived, where that is later than publishing: subscribe it last, so that others
/// have an event when it has it.
class Witness {
 public:
  Witness(bus::Bus& bus, std::vector<std::string> topics) {
    bus::SubscribeOptions options;
    options.name = "witness";
    options.queue_events = 1'000'000;
    subscription_ = stand(bus, std::move(topics), std::move(options), recorder_.handler());
  }
  /// Waits until so many have come.
  void wait_for(std::size_t count) const { REQUIRE(recorder_.wait_for(count) >= count); }

 private:
  Recorder recorder_;
  std::unique_ptr<bus::Subscription> subscription_;
};

/// A gate that a handler can wait at while the test looks around.
class Gate {
 public:
  void open() {
    {
      std::lock_guard lock(mutex_);
      open_ = true;
    }
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    waiting_ = true;
    changed_.notify_all();
    changed_.wait_for(lock, kDeadline, [this] { return open_; });
  }
  /// True once somebody waits.
  bool wait_until_reached() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kDeadline, [this] { return waiting_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false, waiting_ = false;
};

inline std::vector<std::string> numbers(int first, int last) {
  std::vector<std::string> ids;
  for (int i = first; i <= last; ++i) ids.push_back(std::to_string(i));
  return ids;
}

}  // namespace virtufin::testing

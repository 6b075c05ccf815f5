#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bus/dapr/envelope.h"
#include "core/errors.h"

namespace virtufin::bus {

/// Restores each publisher's order of each topic, in bounded windows.
///
/// An event whose predecessor has not come waits for it, at most `wait`; then the hole is told, and
/// what was missing counts as late when it comes. A window begins at counter 1, or at the lowest
/// that came within `wait` of a publisher's first event. Also late: one that comes again.
///
/// Pure: the time is handed in, and what is to be done comes back as steps, in order.
/// Threads: one.
template <class Item>
class Reorder {
 public:
  using Time = std::chrono::steady_clock::time_point;

  struct Limits {
    std::chrono::milliseconds wait{200};      ///< 0: nothing that is missing can still come
    std::size_t window_events = 4096;         ///< that wait in one window
    std::size_t events = 65'536;              ///< that wait in all
    std::size_t publishers = 10'000;          ///< windows
    std::chrono::milliseconds idle{600'000};  ///< after which a window is dropped
  };

  struct Step {
    enum class What {
      kDeliver,
      kDeliverLate,
      kReplaced,  ///< came again while it waited: the newer one stands for it
      kHole,      ///< `expected` … `received`-1 of `topic` are not waited for any more
    };
    What what;
    std::string topic;
    std::optional<Item> item;  ///< not of kHole
    std::uint64_t expected = 0, received = 0;
  };
  using Steps = std::vector<Step>;

  explicit Reorder(Limits limits) : limits_(limits) {}

  void arrived(std::string_view topic, BusOrder order, Item item, Time now, Steps& steps) {
    Window& window = window_of(topic, order.instance, now, steps);
    touch(window, now);
    if (window.started && order.counter < window.next) {
      steps.push_back({Step::What::kDeliverLate, window.topic, std::move(item)});
      return;
    }
    const auto [at, added] = window.waiting.try_emplace(order.counter);
    if (added) {
      ++waiting_;
    } else {
      steps.push_back({Step::What::kReplaced, window.topic, std::move(at->second.item)});
    }
    at->second.item = std::move(item);
    at->second.since = now;
    if (!window.started && (order.counter <= kFirst || limits_.wait.count() == 0)) {
      begin(window);
    }
    if (window.started) deliver_run(window, steps);
    const bool full = window.waiting.size() > limits_.window_events || waiting_ > limits_.events;
    if (!window.waiting.empty() && (full || limits_.wait.count() == 0)) skip(window, steps);
    schedule(window);
    forget_idle(now);
  }

  /// What has waited long enough.
  void expire(Time now, Steps& steps) {
    while (!due_.empty() && due_.begin()->first <= now && now >= not_before_) {
      Window& window = *due_.begin()->second;
      skip(window, steps);
      schedule(window);
    }
    forget_idle(now);
  }

  /// Nothing is given up before then: what is missing may be where it cannot come from yet.
  void not_before(Time time) { not_before_ = time; }

  /// When to call expire() for the events that wait.
  std::optional<Time> next_due() const {
    if (due_.empty()) return std::nullopt;
    return std::max(due_.begin()->first, not_before_);
  }

  std::size_t waiting() const { return waiting_; }
  std::size_t windows() const { return windows_.size(); }
  std::uint64_t forgotten() const { return forgotten_; }  ///< windows dropped so far

 private:
  static constexpr std::uint64_t kFirst = 1;

  struct Waiting {
    Item item;
    Time since;
  };
  struct Window {
    std::string key, topic;
    bool started = false;
    std::uint64_t next = 0;  // of a started one: nothing below is waited for
    std::map<std::uint64_t, Waiting> waiting;
    Time used;
    std::optional<Time> due;
  };
  using Windows = std::list<Window>;  // the one used last in front

  Window& window_of(std::string_view topic, std::uint64_t instance, Time now, Steps& steps) {
    key_.assign(reinterpret_cast<const char*>(&instance), sizeof instance);
    key_.append(topic);
    if (const auto found = index_.find(std::string_view(key_)); found != index_.end()) {
      return *found->second;
    }
    if (windows_.size() >= limits_.publishers) {
      const auto oldest = std::prev(windows_.end());
      while (!oldest->waiting.empty()) skip(*oldest, steps);
      schedule(*oldest);
      forget(oldest);
    }
    windows_.push_front(Window());
    Window& window = windows_.front();
    window.key = key_;
    window.topic = topic;
    window.used = now;
    index_.emplace(key_, windows_.begin());
    return window;
  }

  void touch(Window& window, Time now) {
    window.used = now;
    const auto at = index_.find(std::string_view(window.key))->second;
    windows_.splice(windows_.begin(), windows_, at);
  }

  void forget_idle(Time now) {
    while (!windows_.empty()) {
      const auto oldest = std::prev(windows_.end());
      if (!oldest->waiting.empty() || now - oldest->used < limits_.idle) return;
      forget(oldest);
    }
  }

  void forget(typename Windows::iterator window) {
    index_.erase(index_.find(std::string_view(window->key)));
    windows_.erase(window);
    ++forgotten_;
  }

  static void begin(Window& window) {
    window.started = true;
    window.next = window.waiting.begin()->first;
  }

  /// What waits without a hole in front of it.
  void deliver_run(Window& window, Steps& steps) {
    while (!window.waiting.empty() && window.waiting.begin()->first == window.next) {
      steps.push_back(
          {Step::What::kDeliver, window.topic, std::move(window.waiting.begin()->second.item)});
      window.waiting.erase(window.waiting.begin());
      --waiting_;
      ++window.next;
    }
  }

  /// Gives up the first hole, or the wait for a beginning.
  void skip(Window& window, Steps& steps) {
    if (!window.started) {
      begin(window);
    } else {
      const std::uint64_t received = window.waiting.begin()->first;
      steps.push_back({Step::What::kHole, window.topic, std::nullopt, window.next, received});
      window.next = received;
    }
    deliver_run(window, steps);
  }

  void schedule(Window& window) {
    std::optional<Time> due;
    if (!window.waiting.empty()) due = window.waiting.begin()->second.since + limits_.wait;
    if (due == window.due) return;
    if (window.due) due_.erase({*window.due, &window});
    window.due = due;
    if (due) due_.emplace(*due, &window);
  }

  const Limits limits_;
  Windows windows_;
  std::unordered_map<std::string, typename Windows::iterator, StringHash, std::equal_to<>> index_;
  std::set<std::pair<Time, Window*>> due_;
  std::size_t waiting_ = 0;
  std::uint64_t forgotten_ = 0;
  Time not_before_ = Time::min();
  std::string key_;  // its memory is used again
};

}  // namespace virtufin::bus

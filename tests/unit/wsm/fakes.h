#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "bus/bus.h"
#include "bus/state_store.h"
#include "core/errors.h"

namespace virtufin::wsm::test {

constexpr std::chrono::seconds kDeadline{20};

struct Published {
  std::string topic;
  EventPtr event;
  std::string payload() const { return std::string(as_text(event->data())); }
};

/// A bus that keeps its history. Completes at once, unless told to hold the completions.
class FakeBus final : public bus::Bus {
 public:
  bus::TopicPtr topic(std::string_view name) override {
    struct Named final : bus::Topic {
      using bus::Topic::Topic;
      explicit Named(std::string text) : Topic(std::move(text)) {}
    };
    return std::make_shared<Named>(std::string(name));
  }

  void publish(const bus::TopicPtr& topic, EventPtr event, bus::PublishDone done) override {
    absl::Status answer;
    {
      const std::lock_guard lock(mutex_);
      published_.push_back({topic->name(), std::move(event)});
      answer = answer_;
      if (hold_) held_.push_back(std::move(done));
      changed_.notify_all();
      if (hold_) return;
    }
    if (done) done(std::move(answer));
  }

  absl::StatusOr<std::unique_ptr<bus::Subscription>> subscribe(std::vector<std::string>,
                                                               bus::SubscribeOptions,
                                                               bus::Handler) override {
    return unimplemented("the fake bus has no subscribers");
  }

  void hold() {
    const std::lock_guard lock(mutex_);
    hold_ = true;
  }
  void answer_with(absl::Status status) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(status);
  }
  /// Completes what is held, and holds no more.
  void let_go() {
    std::deque<bus::PublishDone> held;
    {
      const std::lock_guard lock(mutex_);
      hold_ = false;
      held.swap(held_);
    }
    for (auto& done : held) {
      if (done) done(absl::OkStatus());
    }
  }

  std::vector<Published> all() const {
    const std::lock_guard lock(mutex_);
    return published_;
  }
  std::vector<Published> on(const std::string& topic) const {
    std::vector<Published> found;
    for (Published& published : all()) {
      if (published.topic == topic) found.push_back(published);
    }
    return found;
  }
  std::size_t count(const std::string& topic) const { return on(topic).size(); }

  /// The tails of the lifecycle types, in order: `connecting`, `connected`, …
  std::vector<std::string> lifecycle() const {
    std::vector<std::string> kinds;
    for (const Published& published : on("websocketmanager.lifecycle")) {
      const std::string_view type = published.event->type();
      kinds.emplace_back(type.substr(type.rfind('.') + 1));
    }
    return kinds;
  }

  /// Waits for `condition`, asked again after every publish; false at the deadline.
  template <class Condition>
  bool wait(Condition condition) const {
    const auto end = std::chrono::steady_clock::now() + kDeadline;
    while (true) {
      if (condition()) return true;
      std::unique_lock lock(mutex_);
      // Counters change without a publish: asked again after a while, too.
      if (changed_.wait_for(lock, std::chrono::milliseconds(5)) == std::cv_status::timeout &&
          std::chrono::steady_clock::now() > end) {
        return false;
      }
    }
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<Published> published_;
  std::deque<bus::PublishDone> held_;
  absl::Status answer_;
  bool hold_ = false;
};

/// A store in a map; answers at once. `overtake` makes the next conditional write lose to another.
class FakeStore final : public bus::StateStore {
 public:
  void get(std::string key, bus::Done<bus::Item> done) override { done(item(key)); }
  void get(std::vector<std::string> keys, bus::Done<std::vector<bus::Item>> done) override {
    std::vector<bus::Item> items;
    for (const std::string& key : keys) items.push_back(item(key));
    done(std::move(items));
  }
  void save(bus::Save save, bus::Done<std::string> done) override {
    absl::Status status = write({save});
    if (!status.ok()) return done(std::move(status));
    done(item(save.key).etag);
  }
  void erase(bus::Erase erase, bus::Done<std::monostate> done) override { finish({erase}, done); }
  void transact(std::vector<std::variant<bus::Save, bus::Erase>> writes,
                bus::Done<std::monostate> done) override {
    finish(std::move(writes), done);
  }
  void query(std::string, std::size_t, bus::Done<std::vector<bus::Item>> done) override {
    done(unimplemented("the fake store has no queries"));
  }

  std::string value(const std::string& key) const { return item(key).value; }
  void put(const std::string& key, std::string value) {
    const std::lock_guard lock(mutex_);
    items_[key] = {std::move(value), ++etag_};
  }
  void fail_with(absl::Status status) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(status);
  }
  void overtake(int times) {
    const std::lock_guard lock(mutex_);
    overtakes_ = times;
  }

 private:
  struct Value {
    std::string value;
    std::uint64_t etag;
  };
  using Write = std::variant<bus::Save, bus::Erase>;

  bus::Item item(const std::string& key) const {
    const std::lock_guard lock(mutex_);
    const auto found = items_.find(key);
    if (found == items_.end()) return {key, {}, {}};
    return {key, found->second.value, std::to_string(found->second.etag)};
  }
  bool holds(const std::string& key, const bus::Condition& condition) const {
    const auto found = items_.find(key);
    if (std::holds_alternative<bus::IfAbsent>(condition)) return found == items_.end();
    if (const auto* etag = std::get_if<bus::IfEtag>(&condition)) {
      return found != items_.end() && std::to_string(found->second.etag) == etag->etag;
    }
    return true;
  }
  absl::Status write(const std::vector<Write>& writes) {
    const std::lock_guard lock(mutex_);
    if (!failure_.ok()) return failure_;
    for (const Write& one : writes) {
      const auto [key, condition] =
          std::visit([](const auto& value) { return std::pair(value.key, value.condition); }, one);
      if (condition.index() != 0 && overtakes_ > 0) {
        --overtakes_;
        return aborted("key {} was overtaken", key);
      }
      if (!holds(key, condition)) return aborted("key {} has changed", key);
    }
    for (const Write& one : writes) {
      if (const auto* save = std::get_if<bus::Save>(&one)) {
        items_[save->key] = {save->value, ++etag_};
      } else {
        items_.erase(std::get<bus::Erase>(one).key);
      }
    }
    return absl::OkStatus();
  }
  void finish(std::vector<Write> writes, bus::Done<std::monostate>& done) {
    absl::Status status = write(writes);
    if (!status.ok()) return done(std::move(status));
    done(std::monostate{});
  }

  mutable std::mutex mutex_;
  std::map<std::string, Value> items_;
  std::uint64_t etag_ = 0;
  int overtakes_ = 0;
  absl::Status failure_;
};

}  // namespace virtufin::wsm::test

#include "bus/memory/registry.h"

#include <absl/container/inlined_vector.h>

#include <algorithm>
#include <random>
#include <utility>

#include "bus/dead_letter.h"
#include "core/log.h"
#include "core/topic.h"

namespace virtufin::bus::memory {
namespace {

/// How far the metrics of a running subscription may lag behind.
constexpr std::chrono::milliseconds kMetricsInterval{250};

const Logger& log() {
  static const Logger kLogger = logger("bus");
  return kLogger;
}

bool is_prefix(std::string_view pattern) { return pattern.back() == '*'; }
std::string_view prefix_of(std::string_view pattern) {
  return pattern.substr(0, pattern.size() - 1);
}

std::string joined(const std::vector<std::string>& patterns) {
  std::string text;
  for (const auto& pattern : patterns) {
    if (!text.empty()) text += ',';
    text += pattern;
  }
  return text;
}

bool same(const Filter& a, const Filter& b) {
  return a.type == b.type && a.subject == b.subject && a.scenario_id == b.scenario_id &&
         a.clock_type == b.clock_type;
}

absl::Status check(const std::vector<std::string>& patterns, const SubscribeOptions& options,
                   const Handler& handler) {
  if (patterns.empty()) {
    return invalid_argument("subscription '{}' names no topic: give at least one",
                            printable(options.name));
  }
  for (const auto& pattern : patterns) {
    VIRTUFIN_RETURN_IF_ERROR(topic::check_pattern(pattern));
  }
  const auto at_least_one = [&](std::string_view what, std::int64_t value) {
    return value >= 1 ? absl::OkStatus()
                      : invalid_argument("subscription '{}': {} is {}, it must be at least 1",
                                         printable(options.name), what, value);
  };
  VIRTUFIN_RETURN_IF_ERROR(
      at_least_one("queue_events", static_cast<std::int64_t>(options.queue_events)));
  VIRTUFIN_RETURN_IF_ERROR(at_least_one("max_in_flight", options.max_in_flight));
  VIRTUFIN_RETURN_IF_ERROR(at_least_one("retry.max_attempts", options.retry.max_attempts));
  if (options.retry.first_delay.count() < 0) {
    return invalid_argument(
        "subscription '{}': retry.first_delay is {} ms, it must not be negative",
        printable(options.name), options.retry.first_delay.count());
  }
  if (!handler) {
    return invalid_argument("subscription '{}' has no handler", printable(options.name));
  }
  return absl::OkStatus();
}

}  // namespace

MemoryTopic::MemoryTopic(std::string name, std::shared_ptr<Registry> registry)
    : Topic(std::move(name)), registry_(std::move(registry)) {}

MemoryTopic::~MemoryTopic() { registry_->forget(*this); }

Registry::Registry(const BusConfig& config, Metrics& metrics, DeadLetters dead_letters)
    : config_(config),
      metrics_(metrics),
      dead_letters_(std::move(dead_letters)),
      timer_("bus-timer", kMetricsInterval, [this] { flush_metrics(); }) {}

TopicPtr Registry::topic(std::string_view name) {
  std::lock_guard lock(mutex_);
  const auto found = topics_.find(name);
  if (found != topics_.end()) {
    if (auto living = found->second.lock()) return living;
  }
  auto made = std::make_shared<const MemoryTopic>(std::string(name), shared_from_this());
  made->list_ = make_list(name);
  topics_.insert_or_assign(made->name(), made);
  return made;
}

void Registry::forget(const MemoryTopic& topic) {
  std::lock_guard lock(mutex_);
  // One of the same name may have been made meanwhile.
  const auto found = topics_.find(topic.name());
  if (found != topics_.end() && found->second.expired()) topics_.erase(found);
}

TargetListPtr Registry::make_list(std::string_view topic) const {
  std::vector<Target> targets;
  const auto take = [&](const StringMap<std::vector<Target>>& from, std::string_view key) {
    const auto found = from.find(key);
    if (found == from.end()) return;
    targets.insert(targets.end(), found->second.begin(), found->second.end());
  };
  take(exact_, topic);
  if (!prefixes_.empty() && !topic::is_dead(topic)) {
    for (auto dot = topic.find('.'); dot != topic.npos; dot = topic.find('.', dot + 1)) {
      take(prefixes_, topic.substr(0, dot + 1));
    }
  }
  if (targets.empty()) return nullptr;
  std::sort(targets.begin(), targets.end(),
            [](const Target& a, const Target& b) { return a.order < b.order; });
  targets.erase(std::unique(targets.begin(), targets.end(),
                            [](const Target& a, const Target& b) { return a.order == b.order; }),
                targets.end());
  auto list = boost::intrusive_ptr<TargetList>(new TargetList);
  for (const Target& target : targets) list->filters.add(*target.filter);
  list->targets = std::move(targets);
  return list;
}

void Registry::rebuild_lists(const std::vector<std::string>& patterns, Leftovers& left) {
  const auto rebuild = [&](std::shared_ptr<const MemoryTopic> topic) {
    if (!topic) return;
    TargetListPtr list = make_list(topic->name());
    topic->lock_.lock();
    topic->list_.swap(list);
    topic->lock_.unlock();
    left.lists.push_back(std::move(list));
    left.topics.push_back(std::move(topic));
  };
  const bool any_prefix = std::any_of(patterns.begin(), patterns.end(), is_prefix);
  if (!any_prefix) {
    for (const auto& pattern : patterns) {
      const auto found = topics_.find(pattern);
      if (found != topics_.end()) rebuild(found->second.lock());
    }
    return;
  }
  for (const auto& entry : topics_) {
    const auto matches_topic = [&name = entry.first](const std::string& pattern) {
      return topic::matches(pattern, name);
    };
    if (std::any_of(patterns.begin(), patterns.end(), matches_topic)) {
      rebuild(entry.second.lock());
    }
  }
}

void Registry::add_target(const Target& target, const std::vector<std::string>& patterns,
                          Leftovers& left) {
  for (const auto& pattern : patterns) {
    auto& targets =
        is_prefix(pattern) ? prefixes_[std::string(prefix_of(pattern))] : exact_[pattern];
    targets.push_back(target);
  }
  rebuild_lists(patterns, left);
}

void Registry::remove_target(std::uint64_t order, const std::vector<std::string>& patterns,
                             Leftovers& left) {
  for (const auto& pattern : patterns) {
    auto& map = is_prefix(pattern) ? prefixes_ : exact_;
    const auto found = map.find(is_prefix(pattern) ? prefix_of(pattern) : pattern);
    if (found == map.end()) continue;
    auto& targets = found->second;
    const auto target = std::find_if(targets.begin(), targets.end(),
                                     [&](const Target& t) { return t.order == order; });
    if (target == targets.end()) continue;
    left.targets.push_back(std::move(*target));
    targets.erase(target);
    if (targets.empty()) map.erase(found);
  }
  rebuild_lists(patterns, left);
}

absl::StatusOr<SubscriberPtr> Registry::subscribe(std::vector<std::string> patterns,
                                                  SubscribeOptions options, Handler handler,
                                                  Terms terms) {
  VIRTUFIN_RETURN_IF_ERROR(check(patterns, options, handler));
  std::sort(patterns.begin(), patterns.end());
  patterns.erase(std::unique(patterns.begin(), patterns.end()), patterns.end());
  const std::string group_name = options.group;
  const Filter filter = options.filter;

  Leftovers left;
  std::unique_lock lock(mutex_);
  if (down_) return unavailable("the bus has ended");
  Target target;
  target.order = next_order_++;
  boost::intrusive_ptr<Group> group;
  bool new_target = true;
  if (!group_name.empty()) {
    const auto found = groups_.find(group_name);
    if (found != groups_.end()) {
      group = found->second.group;
      if (group->patterns() != patterns || !same(group->filter(), filter)) {
        return invalid_argument(
            "subscription '{}' wants to join group '{}' with other topics or another filter than "
            "its members have ({}): give the same, or another group",
            printable(options.name), printable(group_name), printable(joined(group->patterns())));
      }
      new_target = false;
    } else {
      group.reset(new Group(patterns, filter));
      groups_.emplace(group_name, NamedGroup{group, target.order});
    }
  }

  Subscriber::Setup setup;
  setup.seed = config_.seed == 0 ? std::random_device{}() : config_.seed + target.order;
  setup.options = std::move(options);
  setup.handler = std::move(handler);
  setup.pattern = joined(patterns);
  setup.block = config_.block_ms;
  setup.retry_delay_max = config_.retry_delay_max_ms;
  setup.hold = terms.hold;
  SubscriberPtr subscriber(new Subscriber(std::move(setup), shared_from_this(), metrics_));
  registrations_.emplace(subscriber.get(),
                         Registration{subscriber, patterns, group_name, target.order});
  if (group) {
    subscriber->join(group);
    group->add(subscriber);
    target.group = group;
  } else {
    target.subscriber = subscriber;
  }
  if (new_target) {
    target.filter = std::make_shared<const CompiledFilter>(filter, *interner_);
    add_target(target, patterns, left);
  }
  lock.unlock();
  if (terms.stand) subscriber->stand();
  return subscriber;
}

void Registry::detach(Subscriber& subscriber) {
  Leftovers left;
  std::lock_guard lock(mutex_);
  const auto found = registrations_.find(&subscriber);
  if (found == registrations_.end()) return;
  Registration registration = std::move(found->second);
  registrations_.erase(found);
  left.subscriber = std::move(registration.subscriber);
  std::uint64_t order = registration.order;
  if (subscriber.group()) {
    if (!subscriber.group()->remove(subscriber)) return;
    const auto group = groups_.find(registration.group);
    order = group->second.order;
    groups_.erase(group);
  }
  remove_target(order, registration.patterns, left);
}

void Registry::publish(const TopicPtr& topic, EventPtr event, PublishDone& done) {
  absl::Status status;
  CompletionPtr completion;
  if (!topic || !event) {
    status = invalid_argument("publish needs a topic and an event");
  } else {
    const auto& target_topic = static_cast<const MemoryTopic&>(*topic);
    const auto refused = [&] {
      status = resource_exhausted(
          "a subscription of '{}' is full and as many publishes wait for it as may: publish "
          "slower, or raise its queue_events",
          topic->name());
    };
    target_topic.lock_.lock();
    const TargetList* list = target_topic.list_.get();
    if (!list) {
      target_topic.lock_.unlock();
      if (topic->name().empty()) status = invalid_argument("a topic must not be empty");
    } else if (list->targets.size() == 1) {
      const Target& target = list->targets.front();
      TargetFilters::Keys keys(list->filters, *event);
      Subscriber* const subscriber = target.subscriber.get();
      if (!TargetFilters::accepts(*target.filter, keys)) {
        target_topic.lock_.unlock();
      } else if (subscriber && subscriber->begin_short_run()) {
        target_topic.lock_.unlock();
        subscriber->short_run(topic, std::move(event));
      } else if (!subscriber || !subscriber->enqueue(topic, event, &target_topic.lock_)) {
        Subscriber::Offer offer = target.offer(topic, std::move(event), completion, done,
                                               /*at_once=*/true, &target_topic.lock_);
        if (offer.refused) refused();
        Subscriber::carry_out(offer, /*at_once=*/true);
      }
    } else {
      const TargetListPtr kept(list);
      target_topic.lock_.unlock();
      TargetFilters::Keys keys(list->filters, *event);
      // Everybody has it in the queue before anybody's handler runs, because a handler may publish
      // to this very topic.
      absl::InlinedVector<Subscriber::Offer, 4> offers;
      for (const Target& target : list->targets) {
        if (!TargetFilters::accepts(*target.filter, keys)) continue;
        if (EventPtr again = event;
            target.subscriber && target.subscriber->enqueue(topic, again, nullptr)) {
          continue;
        }
        Subscriber::Offer offer =
            target.offer(topic, event, completion, done, /*at_once=*/false, nullptr);
        if (offer.refused) refused();
        if (offer.to_carry_out()) offers.push_back(std::move(offer));
      }
      for (auto& offer : offers) Subscriber::carry_out(offer, /*at_once=*/false);
    }
  }
  if (completion) {
    completion->finish(std::move(status));
  } else if (done) {
    done(std::move(status));
  }
}

void Registry::publish_dead_letter(const TopicPtr& from, const EventPtr& event,
                                   std::string_view worker, std::string_view reason, int attempts,
                                   PublishDone done) {
  if (topic::is_dead(from->name())) {
    log()->error("{} failed on the dead letter {} of {} ({}, attempt {}): given up",
                 printable(worker), printable(event->id()), printable(from->name()),
                 printable(reason), attempts);
    done(failed_precondition("'{}' is a topic of dead letters", from->name()));
    return;
  }
  auto letter = make_dead_letter(*event, from->name(), worker, reason, attempts);
  if (!letter.ok()) {
    log()->error("no dead letter for event {} of {} that {} failed on ({}): {}",
                 printable(event->id()), printable(from->name()), printable(worker),
                 printable(reason), message(letter.status()));
    done(letter.status());
    return;
  }
  const std::string dead = topic::dead(from->name());
  if (dead_letters_) {
    dead_letters_(dead, *std::move(letter), std::move(done));
  } else {
    publish(topic(dead), *std::move(letter), done);
  }
}

void Registry::flush_metrics() {
  std::vector<SubscriberPtr> subscribers;
  {
    std::lock_guard lock(mutex_);
    subscribers.reserve(registrations_.size());
    for (const auto& [key, registration] : registrations_) {
      subscribers.push_back(registration.subscriber);
    }
  }
  for (const auto& subscriber : subscribers) subscriber->flush_metrics();
}

void Registry::shut_down() {
  std::vector<SubscriberPtr> subscribers;
  {
    std::lock_guard lock(mutex_);
    down_ = true;
    for (const auto& [key, registration] : registrations_) {
      subscribers.push_back(registration.subscriber);
    }
  }
  for (const auto& subscriber : subscribers) subscriber->end(unavailable("the bus has ended"));
  timer_.stop();
}

MemoryBus::Footprint Registry::footprint() const {
  std::lock_guard lock(mutex_);
  MemoryBus::Footprint footprint;
  footprint.topics = topics_.size();
  footprint.patterns = exact_.size() + prefixes_.size();
  footprint.interned = interner_->size();
  footprint.subscriptions = registrations_.size();
  footprint.groups = groups_.size();
  return footprint;
}

}  // namespace virtufin::bus::memory

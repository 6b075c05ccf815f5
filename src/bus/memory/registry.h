#pragma once

#include <absl/status/statusor.h>

#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bus/bus.h"
#include "bus/memory/filter.h"
#include "bus/memory/group.h"
#include "bus/memory/memory_bus.h"
#include "bus/memory/subscriber.h"
#include "bus/memory/timer.h"
#include "core/errors.h"

namespace virtufin::bus::memory {

/// One who hears a topic: a subscription, or a group of them.
struct Target {
  std::uint64_t order = 0;  ///< of subscribing; tells targets apart
  std::shared_ptr<const CompiledFilter> filter;
  SubscriberPtr subscriber;
  boost::intrusive_ptr<Group> group;  ///< instead of the subscriber

  Subscriber::Offer offer(const TopicPtr& topic, EventPtr event, CompletionPtr& completion,
                          PublishDone& done, bool at_once, SpinLock* outer) const {
    return group ? group->offer(topic, std::move(event), completion, done, at_once, outer)
                 : subscriber->offer(topic, std::move(event), 0, completion, done, at_once, outer);
  }
};

/// Who hears a topic. Immutable: a change of subscriptions makes a new one.
struct TargetList : boost::intrusive_ref_counter<TargetList> {
  std::vector<Target> targets;
  TargetFilters filters;
};
using TargetListPtr = boost::intrusive_ptr<const TargetList>;

/// Takes a dead letter to where `<topic>-dead` is published, for a bus whose topics are not only
/// here. Answers UNAVAILABLE only at its own end.
using DeadLetters = std::function<void(std::string_view topic, EventPtr letter, PublishDone done)>;

/// What a subscription of a bus over this one may ask for beyond SubscribeOptions.
struct Terms {
  bool hold = false;  ///< a publish is complete when this subscription has dealt with the event
  bool stand = true;  ///< else nothing is handed out before Subscriber::stand()
};

class MemoryTopic final : public Topic {
 public:
  MemoryTopic(std::string name, std::shared_ptr<Registry> registry);
  ~MemoryTopic() override;

 private:
  friend class Registry;
  const std::shared_ptr<Registry> registry_;
  mutable SpinLock lock_;
  mutable TargetListPtr list_;  // null: nobody
};

/// Which subscriptions there are, which topics are held by somebody, and who hears what.
///
/// Life: shared by the bus, its topics and its subscriptions; works on after the bus has gone, but
/// nobody subscribes any more.
/// Threads: any. `mutex_` is held for changes, never for publishing to a topic that is held.
class Registry : public std::enable_shared_from_this<Registry> {
 public:
  /// Without `dead_letters` they are published here.
  Registry(const BusConfig& config, Metrics& metrics, DeadLetters dead_letters = {});

  TopicPtr topic(std::string_view name);
  void publish(const TopicPtr& topic, EventPtr event, PublishDone& done);
  absl::StatusOr<SubscriberPtr> subscribe(std::vector<std::string> patterns,
                                          SubscribeOptions options, Handler handler,
                                          Terms terms = {});
  /// Nothing is offered to it any more by who begins to publish from now on. Again: no effect.
  void detach(Subscriber& subscriber);
  void shut_down();

  /// Publishes the dead letter of an event that came on `topic`.
  void publish_dead_letter(const TopicPtr& topic, const EventPtr& event, std::string_view worker,
                           std::string_view reason, int attempts, PublishDone done);
  Timer& timer() { return timer_; }
  MemoryBus::Footprint footprint() const;

 private:
  friend class MemoryTopic;
  struct Registration {
    SubscriberPtr subscriber;
    std::vector<std::string> patterns;
    std::string group;
    std::uint64_t order;
  };
  /// What a change lets go of; freed after mutex_, because the end of a topic or a subscription
  /// takes it.
  struct Leftovers {
    std::vector<std::shared_ptr<const MemoryTopic>> topics;
    std::vector<TargetListPtr> lists;
    std::vector<Target> targets;
    SubscriberPtr subscriber;
  };

  void forget(const MemoryTopic& topic);
  void flush_metrics();

  // Under mutex_.
  void add_target(const Target& target, const std::vector<std::string>& patterns, Leftovers& left);
  void remove_target(std::uint64_t order, const std::vector<std::string>& patterns,
                     Leftovers& left);
  void rebuild_lists(const std::vector<std::string>& patterns, Leftovers& left);
  TargetListPtr make_list(std::string_view topic) const;

  const BusConfig config_;
  Metrics& metrics_;
  const DeadLetters dead_letters_;
  const std::shared_ptr<Interner> interner_ = std::make_shared<Interner>();

  mutable std::mutex mutex_;
  bool down_ = false;
  std::uint64_t next_order_ = 0;
  StringMap<std::weak_ptr<const MemoryTopic>> topics_;
  StringMap<std::vector<Target>> exact_, prefixes_;  // prefixes end in '.'
  struct NamedGroup {
    boost::intrusive_ptr<Group> group;
    std::uint64_t order;
  };
  StringMap<NamedGroup> groups_;
  std::unordered_map<const Subscriber*, Registration> registrations_;

  Timer timer_;  // last: its thread ends before anything that it reaches
};

}  // namespace virtufin::bus::memory

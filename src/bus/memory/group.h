#pragma once

#include <atomic>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "bus/memory/subscriber.h"

namespace virtufin::bus::memory {

/// Subscriptions that share events by hash of the subject; an empty subject goes round.
///
/// A change of members begins a new *epoch*: events are spread over the new members from then on,
/// but are handed out only when all of the epochs before are answered, so that order per subject
/// holds across the change. Nothing is held back in a place of its own: the members' queues, bounds
/// and overflow policies apply.
///
/// Threads: any.
class Group : public boost::intrusive_ref_counter<Group> {
 public:
  Group(std::vector<std::string> patterns, Filter filter);

  /// What later members have to give too.
  const std::vector<std::string>& patterns() const { return patterns_; }
  const Filter& filter() const { return filter_; }

  void add(SubscriberPtr member);
  /// True if it was the last.
  bool remove(const Subscriber& member);

  Subscriber::Offer offer(const TopicPtr& topic, EventPtr event, CompletionPtr& completion,
                          PublishDone& done, bool at_once, SpinLock* outer);

  /// So many events of an epoch are answered or dropped.
  void finished(std::uint32_t epoch, std::uint64_t events);
  bool open(std::uint32_t epoch) const {
    return open_epoch_.load(std::memory_order_acquire) == epoch;
  }

 private:
  struct Epoch {
    std::uint32_t id;
    std::uint64_t outstanding;
  };
  struct Leaver {
    SubscriberPtr member;
    std::uint32_t last_epoch;
  };
  void change();

  const std::vector<std::string> patterns_;
  const Filter filter_;

  SpinLock lock_;
  std::vector<SubscriberPtr> members_;
  std::vector<Leaver> leavers_;       // may hold events whose turn has not come
  std::deque<Epoch> epochs_{{0, 0}};  // the last one takes what is published
  std::uint64_t round_ = 0;
  std::atomic<std::uint32_t> open_epoch_{0};
};

}  // namespace virtufin::bus::memory

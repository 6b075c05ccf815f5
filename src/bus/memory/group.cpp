#include "bus/memory/group.h"

#include <algorithm>
#include <functional>
#include <mutex>
#include <utility>

namespace virtufin::bus::memory {

Group::Group(std::vector<std::string> patterns, Filter filter)
    : patterns_(std::move(patterns)), filter_(std::move(filter)) {}

void Group::change() {
  if (epochs_.back().outstanding != 0 || epochs_.size() > 1) {
    epochs_.push_back({epochs_.back().id + 1, 0});
  }
}

void Group::add(SubscriberPtr member) {
  std::lock_guard lock(lock_);
  change();
  members_.push_back(std::move(member));
}

bool Group::remove(const Subscriber& member) {
  SubscriberPtr released;  // outlives the lock
  std::lock_guard lock(lock_);
  const auto found =
      std::find_if(members_.begin(), members_.end(), [&](const auto& m) { return &*m == &member; });
  if (found == members_.end()) return members_.empty();
  const Epoch last = epochs_.back();
  change();
  if (epochs_.back().id != last.id) {
    leavers_.push_back({std::move(*found), last.id});
  } else {
    released = std::move(*found);
  }
  members_.erase(found);
  return members_.empty();
}

Subscriber::Offer Group::offer(const TopicPtr& topic, EventPtr event, CompletionPtr& completion,
                               PublishDone& done, bool at_once, SpinLock* outer) {
  std::lock_guard lock(lock_);
  if (outer) outer->unlock();
  if (members_.empty()) return {};
  const std::string_view subject = event->subject();
  const std::size_t at = subject.empty() ? round_++ : std::hash<std::string_view>{}(subject);
  Subscriber& member = *members_[at % members_.size()];
  Epoch& epoch = epochs_.back();
  auto offer = member.offer(topic, std::move(event), epoch.id, completion, done, at_once, nullptr);
  if (offer.taken) ++epoch.outstanding;
  return offer;
}

void Group::finished(std::uint32_t epoch, std::uint64_t events) {
  std::vector<SubscriberPtr> waiting;
  {
    std::lock_guard lock(lock_);
    epochs_[epoch - epochs_.front().id].outstanding -= events;
    const std::uint32_t open_before = epochs_.front().id;
    while (epochs_.size() > 1 && epochs_.front().outstanding == 0) epochs_.pop_front();
    const std::uint32_t open = epochs_.front().id;
    if (open == open_before) return;
    open_epoch_.store(open, std::memory_order_release);
    waiting = members_;
    for (const Leaver& leaver : leavers_) waiting.push_back(leaver.member);
    std::erase_if(leavers_, [&](const Leaver& leaver) {
      return static_cast<std::int32_t>(leaver.last_epoch - open) < 0;
    });
  }
  for (const auto& member : waiting) member->kick();
}

}  // namespace virtufin::bus::memory

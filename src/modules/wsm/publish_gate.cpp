#include "modules/wsm/publish_gate.h"

#include <utility>

namespace virtufin::wsm {

PublishGate* PublishGate::create(bus::Bus& bus, std::uint32_t bound,
                                 absl::AnyInvocable<void()> resume) {
  return new PublishGate(bus, bound, std::move(resume));
}

void PublishGate::publish(const bus::TopicPtr& topic, EventPtr event) {
  state_.fetch_add(kReference + 1);
  bus_.publish(topic, std::move(event), [this](const absl::Status& status) { completed(status); });
}

bool PublishGate::full() {
  if (outstanding() < bound_) return false;
  waiting_.store(true);
  // What completed before that did not see us wait; then nobody would wake us.
  return outstanding() > bound_ / 2 || !waiting_.exchange(false);
}

void PublishGate::completed(const absl::Status& status) {
  if (!status.ok()) note_failure(status);
  const std::uint64_t left = (state_.fetch_sub(1) - 1) & kOutMask;
  if (left <= bound_ / 2 && waiting_.load() && waiting_.exchange(false)) resume_();
  drop_reference();
}

void PublishGate::release() { drop_reference(); }

void PublishGate::drop_reference() {
  if (state_.fetch_sub(kReference) == kReference) delete this;
}

void PublishGate::note_failure(const absl::Status& status) {
  failed_.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  failure_ = status;
}

std::optional<absl::Status> PublishGate::take_failure() {
  const std::lock_guard lock(mutex_);
  return std::exchange(failure_, std::nullopt);
}

}  // namespace virtufin::wsm

// What comes of a call: outputs are recorded, published and answered for, in order.

#include <utility>

#include "core/errors.h"
#include "core/log.h"
#include "core/topic.h"
#include "modules/workmanager/order_record.h"
#include "modules/workmanager/worker.h"
#include "modules/workmanager/worker_slot.h"

namespace virtufin::workmanager {
namespace {

constexpr std::string_view kReasonPublish = "publish";

// The states of publish_meeting_.
constexpr int kCalling = 0;    // inside Bus::publish
constexpr int kCompleted = 1;  // its completion came first
constexpr int kLeft = 2;       // its caller came back first

}  // namespace

void Worker::pop_finished() {
  while (head_ != tail_ && ring_[head_ & mask_].state == Slot::State::kFinished) {
    ring_[head_ & mask_].state = Slot::State::kFree;
    ++head_;
  }
}

void Worker::pump(std::unique_lock<std::mutex>& lock, Reply* last) {
  if (pumping_) return;
  pumping_ = true;
  while (!closed_ && head_ != tail_) {
    Slot& slot = ring_[head_ & mask_];
    if (slot.state != Slot::State::kDone) break;
    if (slot.next_output == slot.outputs.size()) {
      Reply reply = finish_slot(slot);
      const bool more = head_ != tail_ && ring_[head_ & mask_].state == Slot::State::kDone;
      // Room among the outputs: a runner that found none has left.
      const bool wanted = may_run();
      if (last != nullptr && !more && !wanted) {
        *last = std::move(reply);
        break;
      }
      if (wanted) ++runners_;
      lock.unlock();
      if (wanted) schedule_run();
      std::move(reply).send();
      lock.lock();
    } else if (!step(slot, lock)) {
      if (!lock.owns_lock()) lock.lock();
      return;  // whoever completes the step goes on
    }
  }
  pumping_ = false;
  end_if_idle(lock);
  if (!lock.owns_lock()) lock.lock();
}

/// One step of the first output in line. False if its completion has to be waited for: that of a
/// publish keeps `pumping_` and goes on itself, all others call pump().
bool Worker::step(Slot& slot, std::unique_lock<std::mutex>& lock) {
  Pending& pending = slot.outputs[slot.next_output];
  // Lent to publish(): the slot stays as it is until its step is done.
  const bus::TopicPtr* topic = &pending.output.to->topic;
  bus::TopicPtr dead_topic;
  EventPtr event = pending.output.event;
  switch (pending.step) {
    case Pending::Step::kRecord:
      pending.step = Pending::Step::kWaiting;
      record(head_, slot.next_output, lock);
      return true;
    case Pending::Step::kWaiting: pumping_ = false; return false;
    case Pending::Step::kPublish: break;
    case Pending::Step::kBury: {
      const TimePoint now = shared_->platform.clock.now();
      auto dead = maker_.dead_letter(pending.output, pending.reason, pending.attempts, now);
      // What fails on a dead-letter topic ends there.
      if (!dead.ok() || topic::is_dead(bus::name(*topic))) {
        published(dead.status());
        return true;
      }
      dead_topic = shared_->platform.bus.topic(topic::dead(bus::name(*topic)));
      topic = &dead_topic;
      event = *std::move(dead);
      break;
    }
  }
  publish_meeting_.store(kCalling, std::memory_order_relaxed);
  lock.unlock();
  shared_->platform.bus.publish(
      *topic, std::move(event),
      [self = shared_from_this()](absl::Status status) { self->on_published(std::move(status)); });
  const bool completed = publish_meeting_.exchange(kLeft, std::memory_order_acq_rel) == kCompleted;
  if (completed) {
    lock.lock();
    published(publish_status_);
  }
  return completed;
}

void Worker::on_published(absl::Status status) {
  publish_status_ = std::move(status);
  if (publish_meeting_.exchange(kCompleted, std::memory_order_acq_rel) != kLeft) return;
  std::unique_lock lock(mutex_);
  if (closed_) return;
  published(publish_status_);
  pumping_ = false;
  pump(lock);
}

/// The step of the first output in line is done, well or not.
void Worker::published(const absl::Status& status) {
  Slot& slot = ring_[head_ & mask_];
  Pending& pending = slot.outputs[slot.next_output];
  if (pending.step == Pending::Step::kBury) {
    ++counts_.outputs_dead;
    slot.dead = pending.reason;
    shared_->log->error(
        "worker {}: output {} to {} is dead ({}){}", spec_.id, pending.output.event->id(),
        bus::name(pending.output.to->topic), pending.reason,
        status.ok() ? "" : fmt::format("; its dead letter too: {}", message(status)));
  } else if (status.ok()) {
    ++counts_.outputs;
    outputs_total_->add();
    if (pending.output.order == OrderRole::kOpens) {
      ++counts_.orders;
      orders_total_->add();
    }
  } else if (++pending.attempts < spec_.retry.max_attempts) {
    last_error_ = fmt::format("publishing: {}", message(status));
    // Its place in the line is kept: what is behind waits too.
    pending.step = Pending::Step::kWaiting;
    after(backoff(pending.attempts),
          [self = shared_from_this(), sequence = head_, index = slot.next_output] {
            std::unique_lock lock(self->mutex_);
            if (self->closed_) return;
            self->ring_[sequence & self->mask_].outputs[index].step = Pending::Step::kPublish;
            self->pump(lock);
          });
    return;
  } else {
    last_error_ = fmt::format("publishing: {}", message(status));
    pending.step = Pending::Step::kBury;
    pending.reason = kReasonPublish;
    return;
  }
  ++slot.next_output;
  --outputs_waiting_;
}

Worker::Reply Worker::finish_slot(Slot& slot) {
  Reply reply(slot.receipt, slot.attempts, std::string(slot.dead));
  if (slot.dead.empty()) {
    ++counts_.processed;
    processed_total_->add();
  } else {
    ++counts_.dead_lettered;
    dead_total_->add();
    state_ = state_ == State::kOnline ? State::kDegraded : state_;
  }
  slot.outputs.clear();
  slot.next_output = 0;
  slot.dead = {};
  slot.state = Slot::State::kFinished;
  pop_finished();
  return reply;
}

/// Saves the records of a slot's new orders, before their turn to be published: several commits of
/// a durable store overlap.
void Worker::start_records(std::uint64_t sequence, std::unique_lock<std::mutex>& lock) {
  const auto& outputs = ring_[sequence & mask_].outputs;
  std::vector<std::size_t> orders;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].step == Pending::Step::kWaiting) orders.push_back(i);
  }
  // The slot stays at least until the last of them is recorded; it is not touched after that.
  for (const std::size_t i : orders) record(sequence, i, lock);
}

void Worker::record(std::uint64_t sequence, std::size_t index, std::unique_lock<std::mutex>& lock) {
  const Output output = ring_[sequence & mask_].outputs[index].output;
  lock.unlock();
  if (output.order == OrderRole::kOpens) {
    save_new(sequence, index, output);
  } else {
    save_change(sequence, index, output);
  }
  lock.lock();
}

void Worker::save_new(std::uint64_t sequence, std::size_t index, const Output& output) {
  const OrderRecord record = open_order(*output.event);
  if (record.order_id.starts_with(kIndexPart)) {
    return recorded(sequence, index,
                    invalid_argument("order_id '{}' is a key of the index of orders",
                                     printable(record.order_id)),
                    0);
  }
  bus::Save save{order_key(output.to->scenario, record.order_id), to_json(record), bus::IfAbsent{},
                 std::nullopt};
  const std::size_t bytes = save.key.size() + save.value.size();
  shared_->platform.store.save(
      std::move(save), [self = shared_from_this(), sequence, index, bytes, to = output.to,
                        id = record.order_id](absl::StatusOr<std::string> etag) {
        if (etag.ok()) self->shared_->orders->add(order_prefix(to->scenario), id);
        // One that exists already counts as recorded: the event was handled before.
        const bool exists = etag.status().code() == absl::StatusCode::kAborted;
        self->recorded(sequence, index, exists ? absl::OkStatus() : etag.status(),
                       etag.ok() ? bytes : 0);
      });
}

void Worker::save_change(std::uint64_t sequence, std::size_t index, const Output& output) {
  const std::string id = order_id_of(*output.event);
  std::string key = order_key(output.to->scenario, id);
  shared_->platform.store.get(key, [self = shared_from_this(), sequence, index, key,
                                    event = output.event](absl::StatusOr<bus::Item> item) {
    if (!item.ok()) return self->recorded(sequence, index, item.status(), 0);
    if (item->etag.empty()) {
      self->shared_->log->warn("worker {}: {} of an order that has no record at {}", self->spec_.id,
                               event->type(), printable(key));
      return self->recorded(sequence, index, absl::OkStatus(), 0);
    }
    auto record = order_from_json(item->value);
    if (!record.ok()) return self->recorded(sequence, index, record.status(), 0);
    update_order(*record, *event);
    self->shared_->platform.store.save(
        bus::Save{key, to_json(*record), bus::IfEtag{item->etag}, std::nullopt},
        [self, sequence, index](absl::StatusOr<std::string> etag) {
          self->recorded(sequence, index, etag.status(), 0);
        });
  });
}

void Worker::recorded(std::uint64_t sequence, std::size_t index, const absl::Status& status,
                      std::size_t bytes) {
  std::unique_lock lock(mutex_);
  if (closed_) return;
  Pending& pending = ring_[sequence & mask_].outputs[index];
  if (status.ok()) {
    pending.step = Pending::Step::kPublish;
    pending.attempts = 0;
    if (pending.output.order == OrderRole::kOpens) {
      ++counts_.orders_recorded;
      counts_.order_record_bytes += bytes;
    }
  } else {
    last_error_ = fmt::format("recording an order: {}", message(status));
    if (++pending.attempts < spec_.retry.max_attempts) {
      return after(backoff(pending.attempts), [self = shared_from_this(), sequence, index] {
        std::unique_lock again(self->mutex_);
        if (!self->closed_) self->record(sequence, index, again);
      });
    }
    pending.step = Pending::Step::kBury;
    pending.reason = kReasonPublish;
  }
  pump(lock);
}

}  // namespace virtufin::workmanager

// Events come in, are handled in order by one runner or several, and their calls are settled.
#include "modules/workmanager/worker.h"

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <utility>

#include "core/errors.h"
#include "core/event_writer.h"
#include "core/log.h"
#include "modules/workmanager/worker_slot.h"

namespace virtufin::workmanager {
namespace {

constexpr int kTurn = 64;  // events before the pool's other workers have their turn

}  // namespace

/// Takes one call's outputs into the call, so that a late result touches nothing of the worker.
class Worker::Sink final : public OutputSink {
 public:
  Sink(Worker& worker, Call& call) : worker_(worker), call_(call) {}

  absl::Status output(const EventFields& fields) override {
    if (call_.given_up) return deadline_exceeded("too late");
    auto made =
        worker_.maker_.make(fields, *call_.input, call_.outputs.size(), now(), call_.topics);
    if (!made.ok()) return made.status();
    call_.outputs.push_back(*std::move(made));
    return absl::OkStatus();
  }
  void report(std::string_view message) override { call_.report = printable(message, 1000); }

  /// When Process had returned: the engine reads its outputs after that.
  TimePoint now() {
    if (now_ == TimePoint{}) now_ = worker_.shared_->platform.clock.now();
    return now_;
  }

 private:
  Worker& worker_;
  Call& call_;
  TimePoint now_{};
};

void Worker::on_delivery(const bus::Delivery& delivery, bus::Receipt receipt) {
  std::unique_lock lock(mutex_);
  ++counts_.delivered;
  if (delivery.missed > 0) count_dropped(delivery.missed);
  if (!accepting_ || tail_ - head_ == ring_.size()) {
    ++counts_.dropped;
    dropped_total_->add();
    lock.unlock();
    return std::move(receipt).answer(bus::Answer::kDrop);
  }
  Slot& slot = ring_[tail_++ & mask_];
  slot.state = Slot::State::kReady;
  slot.event = delivery.event;
  slot.receipt.emplace(std::move(receipt));
  slot.attempts = 0;
  if (!may_run()) return;
  ++runners_;
  if (strand_ == nullptr) return run(std::move(lock));
  lock.unlock();
  schedule_run();
}

/// Events that were matched to the worker and dropped by the bus.
void Worker::count_dropped(std::uint64_t count) {
  counts_.delivered += count;
  counts_.dropped += count;
  dropped_total_->add(count);
}

bool Worker::work_waits() const {
  return !closed_ && (!retries_.empty() || (held_ == 0 && next_ != tail_)) &&
         outputs_waiting_ < shared_->config.outputs_bound;
}

/// Whether another runner is wanted.
bool Worker::may_run() const { return runners_ < spec_.concurrency && work_waits(); }

/// With `runners_` counted up already.
void Worker::schedule_run() {
  Task task = [self = shared_from_this()] { self->run(std::unique_lock(self->mutex_)); };
  if (spec_.concurrency > 1 || strand_ == nullptr) {
    shared_->pool->post(std::move(task));
  } else {
    strand_->post(std::move(task));
  }
}

Worker::Slot& Worker::take_slot() {
  if (retries_.empty()) return ring_[next_++ & mask_];
  const auto sequence = retries_.front();
  retries_.erase(retries_.begin());
  return ring_[sequence & mask_];
}

void Worker::run(std::unique_lock<std::mutex> lock) {
  Reply reply;
  // A runner that comes late may find nothing to do, or a worker that has failed.
  if (!free_calls_.empty() && work_waits()) {
    Call& call = *free_calls_.back();
    free_calls_.pop_back();
    call.thread = WorkerPool::current();
    for (int turn = 1;; ++turn) {
      Slot& slot = take_slot();
      slot.state = Slot::State::kProcessing;
      ++slot.attempts;
      call.slot_index = static_cast<std::size_t>(&slot - ring_.data());
      call.input = std::move(slot.event);
      lock.unlock();
      const absl::Status status = process(call);
      lock.lock();
      if (call.given_up) return let_go(call, lock);
      reply = settle(slot, call, status, lock);
      if (!work_waits()) break;
      if (turn >= kTurn && strand_ != nullptr) {
        free_calls_.push_back(&call);
        lock.unlock();
        std::move(reply).send();
        return schedule_run();
      }
      if (reply.receipt) {
        lock.unlock();
        std::move(reply).send();
        lock.lock();
        reply = {};
        if (!work_waits()) break;
      }
    }
    free_calls_.push_back(&call);
  }
  --runners_;
  // What came in while the mutex was free saw this runner and asked for no other.
  end_if_idle(lock);
  if (lock.owns_lock()) lock.unlock();
  std::move(reply).send();
}

absl::Status Worker::process(Call& call) {
  Sink sink(*this, call);
  const auto inside = call.entries.load(std::memory_order_relaxed);
  EventPtr stamped;
  if (!spec_.config.empty()) {
    auto made = with_config(*call.input);
    if (!made.ok()) return with_context(made.status(), "the worker's config does not fit");
    stamped = *std::move(made);
  }
  call.entries.store(inside + 1, std::memory_order_release);
  absl::Status status = call.code->process(stamped != nullptr ? *stamped : *call.input, sink);
  call.entries.store(inside + 2, std::memory_order_release);
  if (call.input->clock() == ClockType::kWall && !call.given_up) {
    const TimePoint received = call.input->wall_time();
    if (received != TimePoint{}) lag_->record_ns((sink.now() - received).count());
  }
  return status;
}

absl::StatusOr<EventPtr> Worker::with_config(const Event& event) const {
  std::vector<Extension> extensions;
  EventFields fields = fields_of(event, extensions);
  std::erase_if(extensions, [this](const Extension& extension) {
    return spec_.config.contains(std::string(extension.name));
  });
  for (const auto& [key, value] : spec_.config) extensions.push_back({key, value});
  fields.extensions = extensions;
  return make_event(fields);
}

/// Takes the receipt out of its slot.
Worker::Reply::Reply(std::optional<bus::Receipt>& from, int tries, std::string reason)
    : attempts(tries), dead(std::move(reason)) {
  if (from) receipt.emplace(std::move(*from));
  from.reset();
}

Worker::Reply& Worker::Reply::operator=(Reply&& other) {
  receipt.reset();
  if (other.receipt) receipt.emplace(std::move(*other.receipt));
  other.receipt.reset();
  attempts = other.attempts;
  dead = std::move(other.dead);
  return *this;
}

void Worker::Reply::send() && {
  if (!receipt) return;
  if (dead.empty()) {
    std::move(*receipt).answer(bus::Answer::kSuccess);
  } else {
    std::move(*receipt).dead(std::move(dead), attempts);
  }
}

Worker::Reply Worker::settle(Slot& slot, Call& call, const absl::Status& status,
                             std::unique_lock<std::mutex>& lock) {
  // The slot's number: the one of its place that lies between head and tail.
  const std::uint64_t sequence = head_ + ((call.slot_index - head_) & mask_);
  if (!call.report.empty()) {
    last_error_ = std::exchange(call.report, {});
    shared_->log->warn("worker {} reports: {}", spec_.id, last_error_);
  }
  if (status.ok()) {
    if (state_ == State::kDegraded) state_ = State::kOnline;
    call.input = nullptr;
    if (call.outputs.empty()) {
      ++counts_.processed;
      processed_total_->add();
      Reply reply(slot.receipt, slot.attempts);
      slot.state = Slot::State::kFinished;
      pop_finished();
      return reply;
    }
    bool records = false;
    for (auto& output : call.outputs) {
      Pending& pending = slot.outputs.emplace_back();
      pending.output = std::move(output);
      if (pending.output.refused) {
        pending.step = Pending::Step::kBury;
        pending.reason = "historical";
      } else if (pending.output.order == OrderRole::kOpens) {
        pending.step = Pending::Step::kWaiting;
        records = true;
      } else if (pending.output.order == OrderRole::kChanges) {
        pending.step = Pending::Step::kRecord;
      }
    }
    outputs_waiting_ += call.outputs.size();
    call.outputs.clear();
    slot.state = Slot::State::kDone;
    if (records) start_records(sequence, lock);
    Reply last;
    pump(lock, &last);
    return last;
  }

  ++counts_.failed;
  failed_total_->add();
  call.outputs.clear();
  slot.event = std::move(call.input);
  last_error_ = message(status);
  if (!accepting_) {
    // Stopped during the call: there is no other try, and nobody who would write a dead letter.
    ++counts_.dropped;
    dropped_total_->add();
    Reply reply(slot.receipt, slot.attempts);
    slot.event = nullptr;
    slot.state = Slot::State::kFinished;
    pop_finished();
    return reply;
  }
  if (slot.attempts < spec_.retry.max_attempts) {
    slot.state = Slot::State::kReady;
    ++held_;
    retry_later(sequence, slot.attempts);
    return {};
  }
  shared_->log->warn("worker {}: event {} is dead after {} calls: {}", spec_.id,
                     printable(slot.event->id()), slot.attempts, last_error_);
  state_ = State::kDegraded;
  ++counts_.dead_lettered;
  dead_total_->add();
  Reply reply(slot.receipt, slot.attempts, fmt::format("error: {}", printable(last_error_)));
  slot.event = nullptr;
  slot.state = Slot::State::kFinished;
  pop_finished();
  return reply;
}

std::chrono::milliseconds Worker::backoff(int attempts) const {
  const auto doubled = spec_.retry.first_delay * (std::int64_t{1} << std::min(attempts - 1, 30));
  return std::min<std::chrono::milliseconds>(doubled, shared_->config.retry_max_delay);
}

void Worker::after(std::chrono::milliseconds delay, Task task) {
  auto timer =
      std::make_shared<boost::asio::steady_timer>(shared_->platform.loops.at(0).io(), delay);
  timer->async_wait(
      [timer, task = std::move(task)](const boost::system::error_code&) mutable { task(); });
}

void Worker::retry_later(std::uint64_t sequence, int attempts) {
  after(backoff(attempts), [self = shared_from_this(), sequence, run = starts_] {
    std::unique_lock lock(self->mutex_);
    // held_ is 0 if a stop dropped it meanwhile.
    if (self->closed_ || run != self->starts_ || self->held_ == 0) return;
    --self->held_;
    self->retries_.push_back(sequence);
    if (!self->may_run()) return;
    ++self->runners_;
    lock.unlock();
    self->schedule_run();
  });
}

}  // namespace virtufin::workmanager

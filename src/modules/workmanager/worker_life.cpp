// A worker's life: started, stopped, drained, watched and given up.

#include <algorithm>
#include <bit>
#include <utility>

#include "core/errors.h"
#include "core/log.h"
#include "modules/workmanager/subscriptions.h"
#include "modules/workmanager/worker.h"
#include "modules/workmanager/worker_slot.h"

namespace virtufin::workmanager {
namespace {

constexpr std::string_view kReasonTimeout = "timeout";

/// How many events their queues still held.
std::uint64_t end_all(std::vector<std::unique_ptr<bus::Subscription>>& subscriptions) {
  std::uint64_t left = 0;
  for (auto& one : subscriptions) left += one->end();
  subscriptions.clear();
  return left;
}

Labels labels(const WorkerSpec& spec) { return {{"worker", spec.id}}; }

}  // namespace

std::string_view name(Worker::State state) {
  switch (state) {
    case Worker::State::kStopped: return "stopped";
    case Worker::State::kStarting: return "starting";
    case Worker::State::kOnline: return "online";
    case Worker::State::kDegraded: return "degraded";
    case Worker::State::kFailed: return "failed";
  }
  return "";
}

Worker::Worker(WorkerSpec spec, Scenario scenario, std::shared_ptr<const WorkerShared> shared,
               absl::AnyInvocable<void(Worker&)> on_failed)
    : spec_(std::move(spec)),
      shared_(std::move(shared)),
      maker_(shared_->platform.bus, spec_.id, std::move(scenario)),
      on_failed_(std::move(on_failed)),
      lag_(shared_->platform.metrics.histogram("virtufin_workmanager_event_lag_seconds",
                                               "From receipt of the frame to the end of Process",
                                               labels(spec_))),
      processed_total_(shared_->platform.metrics.counter("virtufin_workmanager_processed_total",
                                                         "Events handled", labels(spec_))),
      failed_total_(shared_->platform.metrics.counter("virtufin_workmanager_failed_calls_total",
                                                      "Calls of Process that failed",
                                                      labels(spec_))),
      dead_total_(shared_->platform.metrics.counter("virtufin_workmanager_dead_lettered_total",
                                                    "Events dead-lettered", labels(spec_))),
      dropped_total_(shared_->platform.metrics.counter("virtufin_workmanager_dropped_total",
                                                       "Events dropped by policy", labels(spec_))),
      outputs_total_(shared_->platform.metrics.counter("virtufin_workmanager_outputs_total",
                                                       "Events published", labels(spec_))),
      orders_total_(shared_->platform.metrics.counter("virtufin_workmanager_orders_total",
                                                      "Orders published", labels(spec_))) {}

Worker::~Worker() = default;

void Worker::set_code(std::shared_ptr<WorkerCode> code) {
  std::lock_guard lock(mutex_);
  code_ = std::move(code);
}

bool Worker::has_code() const {
  std::lock_guard lock(mutex_);
  return code_ != nullptr;
}

Worker::State Worker::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

Counts Worker::counts() const {
  std::lock_guard lock(mutex_);
  Counts counts = counts_;
  // Counted, not computed: what is in the ring and unanswered.
  for (std::uint64_t i = head_; i != tail_; ++i) {
    counts.in_flight += ring_[i & mask_].state != Slot::State::kFinished;
  }
  return counts;
}

std::string Worker::last_error() const {
  std::lock_guard lock(mutex_);
  return last_error_;
}

void Worker::set_failed(std::string error) {
  std::lock_guard lock(mutex_);
  state_ = State::kFailed;
  last_error_ = std::move(error);
}

absl::Status Worker::start() {
  const auto plan = plan_subscriptions(spec_);
  {
    std::lock_guard lock(mutex_);
    if (closed_) return unavailable("worker {} is being deleted", spec_.id);
    if (accepting_) return absl::OkStatus();
    if (code_ == nullptr) return failed_precondition("worker {} has no code loaded", spec_.id);
    if (head_ != tail_ || runners_ != 0) {
      return failed_precondition("worker {} is still stopping; try again", spec_.id);
    }
    if (spec_.dispatch == Dispatch::kThread) {
      own_pool_ = std::make_unique<WorkerPool>("worker", 1);
      strand_ = own_pool_->strand();
    } else if (spec_.dispatch == Dispatch::kPool) {
      strand_ = shared_->pool->strand();
    }
    const auto in_flight = static_cast<std::size_t>(shared_->config.max_in_flight);
    ring_ = std::vector<Slot>(std::bit_ceil(plan.size() * in_flight));
    mask_ = ring_.size() - 1;
    head_ = next_ = tail_ = 0;
    calls_.clear();
    free_calls_.clear();
    for (int i = 0; i < spec_.concurrency; ++i) {
      calls_.push_back(std::make_unique<Call>());
      calls_.back()->code = code_;
      free_calls_.push_back(calls_.back().get());
    }
    ++starts_;
    state_ = State::kStarting;
    accepting_ = true;
  }
  std::vector<std::unique_ptr<bus::Subscription>> made;
  for (const auto& one : plan) {
    bus::SubscribeOptions options;
    options.name = spec_.id;
    options.group = one.group;
    options.filter = spec_.filter;
    options.retry = spec_.retry;
    options.overflow = one.overflow;
    options.queue_events = spec_.queue_events;
    options.max_in_flight = shared_->config.max_in_flight;
    options.executor = strand_.get();
    options.on_end = [weak = weak_from_this()](absl::Status status) {
      if (const auto self = weak.lock()) self->on_end(status);
    };
    auto subscription = shared_->platform.bus.subscribe(
        one.patterns, std::move(options),
        [self = shared_from_this()](const bus::Delivery& delivery, bus::Receipt receipt) {
          self->on_delivery(delivery, std::move(receipt));
        });
    if (!subscription.ok()) {
      {
        std::lock_guard lock(mutex_);
        subscriptions_ = std::move(made);
        last_error_ = message(subscription.status());
      }
      stop([] {});
      return subscription.status();
    }
    made.push_back(*std::move(subscription));
  }
  std::lock_guard lock(mutex_);
  subscriptions_ = std::move(made);
  if (state_ == State::kStarting) state_ = State::kOnline;
  return absl::OkStatus();
}

void Worker::stop(absl::AnyInvocable<void()> done) {
  std::vector<std::unique_ptr<bus::Subscription>> ended;
  {
    std::lock_guard lock(mutex_);
    accepting_ = false;
    ended = std::move(subscriptions_);
    subscriptions_.clear();
  }
  const std::uint64_t left = end_all(ended);  // waits for a handler: a push, or an inline call
  std::vector<bus::Receipt> dropped;          // go after the lock
  std::unique_lock lock(mutex_);
  count_dropped(left);
  drop_waiting(dropped);
  stop_waiters_.push_back(std::move(done));
  end_if_idle(lock);
}

void Worker::drain(absl::AnyInvocable<void()> done) {
  struct Countdown {
    Countdown(std::size_t count, absl::AnyInvocable<void()> at_zero)
        : left(count), done(std::move(at_zero)) {}
    std::atomic<std::size_t> left;
    absl::AnyInvocable<void()> done;
  };
  std::vector<bus::Subscription*> all;
  {
    std::lock_guard lock(mutex_);
    for (const auto& one : subscriptions_) all.push_back(one.get());
  }
  if (all.empty()) return done();
  const auto countdown = std::make_shared<Countdown>(all.size(), std::move(done));
  for (auto* one : all) {
    one->drain([countdown] {
      if (countdown->left.fetch_sub(1) == 1) countdown->done();
    });
  }
}

void Worker::close() {
  std::vector<bus::Receipt> dropped;
  std::vector<absl::AnyInvocable<void()>> waiters;
  std::vector<WorkerPool::ThreadPtr> hung;
  std::unique_ptr<WorkerPool> pool;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    accepting_ = false;
    drop_waiting(dropped);
    waiters.swap(stop_waiters_);
    pool = std::move(own_pool_);
    for (auto& call : calls_) {
      if (call->entries.load(std::memory_order_acquire) % 2 == 0) continue;
      call->given_up = true;
      --runners_;
      if (call->thread != nullptr) hung.push_back(call->thread);
      given_up_.push_back(std::move(call));
    }
    std::erase(calls_, nullptr);
  }
  for (const auto& thread : hung) WorkerPool::abandon(thread);
  for (auto& waiter : waiters) waiter();
}

void Worker::on_end(const absl::Status& status) {
  {
    std::lock_guard lock(mutex_);
    if (closed_ || !accepting_) return;
    state_ = State::kFailed;
    last_error_ = fmt::format("the bus ended a subscription: {}", message(status));
  }
  shared_->log->error("worker {}: {}", spec_.id, last_error());
  on_failed_(*this);
}

/// The end of a call that was given up: its event is answered and its slot another's, so only what
/// the call itself holds goes. With an inline call these are the subscriptions, which end here,
/// inside their handler.
void Worker::let_go(Call& call, std::unique_lock<std::mutex>& lock) {
  const auto keep = shared_from_this();
  const auto at = std::find_if(given_up_.begin(), given_up_.end(),
                               [&](const auto& one) { return one.get() == &call; });
  const auto hung = std::move(*at);
  given_up_.erase(at);
  lock.unlock();
  const std::uint64_t left = end_all(hung->subscriptions);
  lock.lock();
  if (left > 0 && !closed_) count_dropped(left);
  lock.unlock();
}

/// Everything that is not in a call or behind one, with the mutex held; the receipts are answered
/// by whoever gets them, when the subscription is gone.
void Worker::drop_waiting(std::vector<bus::Receipt>& receipts) {
  for (std::uint64_t i = head_; i != tail_; ++i) {
    Slot& slot = ring_[i & mask_];
    if (slot.state != Slot::State::kReady) continue;
    receipts.push_back(std::move(*slot.receipt));
    slot.receipt.reset();
    slot.event = nullptr;
    slot.state = Slot::State::kFinished;
    ++counts_.dropped;
    dropped_total_->add();
  }
  next_ = tail_;
  held_ = 0;
  retries_.clear();
  pop_finished();
}

/// Called with the mutex, left without it if there was somebody to tell.
void Worker::end_if_idle(std::unique_lock<std::mutex>& lock) {
  if (accepting_ || stop_waiters_.empty() || runners_ != 0 || head_ != tail_ || pumping_) return;
  state_ = State::kStopped;
  auto waiters = std::exchange(stop_waiters_, {});
  const auto pool = std::move(own_pool_);
  const auto strand = std::move(strand_);
  lock.unlock();
  for (auto& waiter : waiters) waiter();
}

void Worker::watch(std::chrono::steady_clock::time_point now) {
  std::unique_lock lock(mutex_);
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    Call& call = *calls_[i];
    const auto entries = call.entries.load(std::memory_order_acquire);
    if (entries % 2 == 0 || entries != call.seen_entries) {
      call.seen_entries = entries;
      call.seen_at = now;
    } else if (now - call.seen_at >= spec_.timeout) {
      return give_up(i, lock);
    }
  }
}

void Worker::give_up(std::size_t index, std::unique_lock<std::mutex>& lock) {
  Call& call = *calls_[index];
  Slot& slot = ring_[call.slot_index];
  call.given_up = true;
  Reply reply(slot.receipt, slot.attempts, std::string(kReasonTimeout));
  slot.state = Slot::State::kFinished;
  ++counts_.dead_lettered;
  ++counts_.failed;
  dead_total_->add();
  failed_total_->add();
  last_error_ = fmt::format(
      "a call of Process did not return within {} ms; start the worker again "
      "to load its code anew",
      spec_.timeout.count());
  state_ = State::kFailed;
  accepting_ = false;
  code_ = nullptr;
  --runners_;
  std::vector<bus::Receipt> dropped;
  drop_waiting(dropped);
  auto subscriptions = std::exchange(subscriptions_, {});
  const auto thread = call.thread;
  const auto strand = strand_;  // outlives the subscriptions
  if (strand_ == nullptr) call.subscriptions = std::move(subscriptions);
  given_up_.push_back(std::move(calls_[index]));
  calls_.erase(calls_.begin() + static_cast<std::ptrdiff_t>(index));
  const std::string error = last_error_;
  lock.unlock();

  shared_->log->error("worker {}: {}", spec_.id, error);
  std::move(reply).send();
  if (thread != nullptr) WorkerPool::abandon(thread);
  const std::uint64_t left = end_all(subscriptions);
  dropped.clear();
  on_failed_(*this);
  lock.lock();
  count_dropped(left);
  end_if_idle(lock);
}

}  // namespace virtufin::workmanager

#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/status.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bus/bus.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/scenario.h"
#include "modules/platform.h"
#include "modules/workmanager/config.h"
#include "modules/workmanager/counters.h"
#include "modules/workmanager/engines/engine.h"
#include "modules/workmanager/order_index.h"
#include "modules/workmanager/output_maker.h"
#include "modules/workmanager/worker_pool.h"
#include "modules/workmanager/worker_spec.h"

namespace virtufin::workmanager {

/// What the workers of one module share. Held by each, because a callback may come after the module
/// is gone; the platform outlives them all.
struct WorkerShared {
  Platform& platform;
  const WorkManagerConfig config;
  const std::shared_ptr<WorkerPool> pool;
  const std::shared_ptr<OrderIndex> orders;
  const Logger log;
};

/// One worker: its subscriptions, the calls of its code, and what comes of them.
///
/// An event passes through a slot of the worker's ring: *ready* (handed out by the bus),
/// *processing*, *done* (its outputs wait to be recorded and published, in order), *finished*
/// (answered). Calls are made one at a time in the order of arrival (`concurrency` lifts that); a
/// failed call is tried again after a pause that holds what is behind it. What Process returned is
/// kept: a failure to record or publish repeats that step and never Process, while the next event
/// may already enter. The ring holds what the subscriptions may have in flight, so nothing is
/// allocated per event.
///
/// Life: made stopped; set_code(), start(), stop(), again; close() before what it shares goes.
/// Callbacks that come later hold it by shared_ptr and find it closed.
/// Threads: control (set_code, start, stop, drain) one call at a time, from a thread that may wait;
/// the rest from any. The mutex guards everything; it is never held while code of a worker, the bus
/// or the store runs.
class Worker : public std::enable_shared_from_this<Worker> {
 public:
  enum class State { kStopped, kStarting, kOnline, kDegraded, kFailed };

  /// `on_failed`: the worker was stopped because a call hung or the bus ended its subscription.
  Worker(WorkerSpec spec, Scenario scenario, std::shared_ptr<const WorkerShared> shared,
         absl::AnyInvocable<void(Worker&)> on_failed);
  ~Worker();

  const WorkerSpec& spec() const { return spec_; }
  void set_code(std::shared_ptr<WorkerCode> code);
  bool has_code() const;

  /// Subscribes all topics. Idempotent. The bus's error, or FAILED_PRECONDITION without code.
  absl::Status start();
  /// Unsubscribes; `done` when the events in hand are finished. What waits is dropped and counted.
  /// Idempotent.
  void stop(absl::AnyInvocable<void()> done);
  /// `done` when nothing waits any more; takes nothing new meanwhile. For the end of the process.
  void drain(absl::AnyInvocable<void()> done);
  /// Nothing is done any more for callbacks that are still out.
  void close();

  /// Looks for calls past their timeout; a timer calls it. `now` of the steady clock.
  void watch(std::chrono::steady_clock::time_point now);

  State state() const;
  Counts counts() const;
  std::string last_error() const;
  /// Why the worker could not be loaded or started.
  void set_failed(std::string error);
  const Histogram& lag() const { return *lag_; }

 private:
  struct Call;
  struct Slot;
  class Sink;

  /// An output on its way, and what is to be done with it next.
  struct Pending {
    enum class Step {
      kRecord,   ///< begin to bring an order's record up to date, when it is first in line
      kWaiting,  ///< for the store, or for the pause before another try
      kPublish,
      kBury,  ///< to be dead-lettered
    };
    Output output;
    Step step = Step::kPublish;
    int attempts = 0;
    std::string_view reason = {};  ///< of kBury
  };

  /// What to answer when the mutex is released, if the event is finished.
  struct Reply {
    std::optional<bus::Receipt> receipt;
    int attempts = 0;
    std::string dead;  ///< reason; empty: success

    Reply() = default;
    Reply(std::optional<bus::Receipt>& from, int tries, std::string reason = {});
    Reply(Reply&&) = default;
    Reply& operator=(Reply&& other);
    void send() &&;
  };

  // worker_life.cpp
  void on_end(const absl::Status& status);
  void let_go(Call& call, std::unique_lock<std::mutex>& lock);
  void drop_waiting(std::vector<bus::Receipt>& receipts);
  void give_up(std::size_t index, std::unique_lock<std::mutex>& lock);
  void end_if_idle(std::unique_lock<std::mutex>& lock);

  // worker.cpp
  void on_delivery(const bus::Delivery& delivery, bus::Receipt receipt);
  void count_dropped(std::uint64_t count);
  bool work_waits() const;
  bool may_run() const;
  void schedule_run();
  void run(std::unique_lock<std::mutex> lock);
  Slot& take_slot();
  absl::Status process(Call& call);
  Reply settle(Slot& slot, Call& call, const absl::Status& status,
               std::unique_lock<std::mutex>& lock);
  void retry_later(std::uint64_t sequence, int attempts);
  absl::StatusOr<EventPtr> with_config(const Event& event) const;
  std::chrono::milliseconds backoff(int attempts) const;
  void after(std::chrono::milliseconds delay, Task task);

  // worker_outputs.cpp
  /// Carries on with the first output in line until there is none or it has to be waited for.
  /// Called and left with the mutex held.
  /// `last`: a runner takes the reply of the last output along, to be sent when it lets go of the
  /// mutex anyway.
  void pump(std::unique_lock<std::mutex>& lock, Reply* last = nullptr);
  bool step(Slot& slot, std::unique_lock<std::mutex>& lock);
  Reply finish_slot(Slot& slot);
  void pop_finished();
  void start_records(std::uint64_t sequence, std::unique_lock<std::mutex>& lock);
  void record(std::uint64_t sequence, std::size_t index, std::unique_lock<std::mutex>& lock);
  void save_new(std::uint64_t sequence, std::size_t index, const Output& output);
  void save_change(std::uint64_t sequence, std::size_t index, const Output& output);
  void recorded(std::uint64_t sequence, std::size_t index, const absl::Status& status,
                std::size_t bytes);
  void on_published(absl::Status status);
  void published(const absl::Status& status);

  const WorkerSpec spec_;
  const std::shared_ptr<const WorkerShared> shared_;
  OutputMaker maker_;
  absl::AnyInvocable<void(Worker&)> on_failed_;
  const std::shared_ptr<Histogram> lag_;
  const std::shared_ptr<Counter> processed_total_, failed_total_, dead_total_, dropped_total_,
      outputs_total_, orders_total_;

  mutable std::mutex mutex_;
  State state_ = State::kStopped;
  bool accepting_ = false;
  bool closed_ = false;
  std::string last_error_;
  Counts counts_;
  std::vector<absl::AnyInvocable<void()>> stop_waiters_;

  std::shared_ptr<WorkerCode> code_;
  std::unique_ptr<WorkerPool> own_pool_;  ///< of Dispatch::kThread
  std::shared_ptr<Executor> strand_;      ///< null when inline
  std::vector<std::unique_ptr<bus::Subscription>> subscriptions_;

  std::vector<std::unique_ptr<Call>> calls_;  ///< as many as the concurrency
  std::vector<Call*> free_calls_;
  std::vector<std::unique_ptr<Call>> given_up_;  ///< hang in the worker's code
  int runners_ = 0;
  std::uint64_t starts_ = 0;            ///< tells the timers of an earlier run apart
  int held_ = 0;                        ///< failed events that wait for their next try
  std::vector<std::uint64_t> retries_;  ///< whose wait is over

  std::vector<Slot> ring_;
  std::uint64_t mask_ = 0;
  std::uint64_t head_ = 0;  ///< the oldest that is not finished
  std::uint64_t next_ = 0;  ///< the next to process
  std::uint64_t tail_ = 0;

  std::size_t outputs_waiting_ = 0;
  bool pumping_ = false;
  // The one publish that is out. Whoever comes second, its completion or its caller, goes on.
  std::atomic<int> publish_meeting_{0};
  absl::Status publish_status_;
};

std::string_view name(Worker::State state);

}  // namespace virtufin::workmanager

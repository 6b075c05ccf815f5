#pragma once

#include <absl/container/flat_hash_map.h>

#include <atomic>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "bus/bus.h"
#include "bus/memory/completion.h"
#include "bus/memory/ring.h"
#include "bus/memory/spin_lock.h"
#include "bus/memory/turn_lock.h"
#include "core/executor.h"
#include "core/metrics.h"

namespace virtufin::bus::memory {

class Group;
class Registry;
class Subscriber;
using SubscriberPtr = boost::intrusive_ptr<Subscriber>;

/// A subscription's numbers, by its pattern and name.
struct SubscriberMetrics {
  SubscriberMetrics(Metrics& metrics, const std::string& pattern, const std::string& name);
  std::shared_ptr<Counter> matched, succeeded, retried, dead_lettered, dropped_overflow,
      dropped_handler, dropped_end, dead_letter_failures;
  std::shared_ptr<Gauge> queued;
};

/// One subscription at work: its queue, what is out, and whose turn it is.
///
/// At any time at most one thread is its *runner*: it calls the handler for one event after the
/// other until nothing can be handed out. Inline (no executor) that is the publisher who found the
/// subscription idle, or who ends what it waited for (an answer, a back-off); with an executor, the
/// one drain that is posted. The runner takes events from the queue in batches (`claimed_`), so
/// that publishers and runner rarely meet at the lock.
///
/// Life: counted. Held by its Subscription, the lists of topics, a posted drain, the timer, and
/// every receipt that is out after its call. Threads: any. `lock_` guards what is not said
/// otherwise; no callback runs under it. Locks are taken in the order registry, topic, group,
/// subscriber.
class Subscriber final : public ReceiptSink, public boost::intrusive_ref_counter<Subscriber> {
 private:
  struct Slot;

 public:
  static constexpr auto kNever = std::chrono::steady_clock::time_point::max();

  struct Setup {
    SubscribeOptions options;
    Handler handler;
    std::string pattern;  ///< all of them, for people
    std::chrono::milliseconds block, retry_delay_max;
    std::uint64_t seed;
    bool hold = false;  ///< see Terms
  };
  Subscriber(Setup setup, std::shared_ptr<Registry> registry, Metrics& metrics);
  ~Subscriber();

  /// What the publisher has to do for an offered event once it has let go of all locks.
  struct Offer {
    enum class Next : std::uint8_t { kNothing, kRun, kPost, kEnd };
    Next next = Next::kNothing;
    bool taken = false;      ///< queued, handed out or waiting
    bool refused = false;    ///< `block`, and as many wait as may
    bool displaced = false;  ///< `drop_oldest`: one of displaced_epoch made room
    std::uint32_t displaced_epoch = 0;
    Subscriber* subscriber = nullptr;
    Slot* slot = nullptr;  ///< of kRun; null: look into the queue
    SubscriberPtr keep;    ///< set where there is more to do than a run
    std::chrono::steady_clock::time_point timer = kNever;
    TopicPtr freed_topic;  ///< dropped; freed outside the locks
    EventPtr freed_event;

    bool to_carry_out() const { return next != Next::kNothing || keep; }
  };
  /// Offers an event; `outer` (the topic's lock, held) is let go once this subscription's own is
  /// held. `topic` is the publisher's until publish() returns. `completion` is made from `done` if
  /// the event has to wait. `at_once`: the caller carries the offer out before anything else
  /// happens on its thread; else it keeps the subscriber alive until then.
  Offer offer(const TopicPtr& topic, EventPtr event, std::uint32_t epoch, CompletionPtr& completion,
              PublishDone& done, bool at_once, SpinLock* outer);
  static void carry_out(Offer& offer, bool at_once);

  /// The short way for a subscription that has its runner, or will: there is nothing to do but to
  /// queue the event. `outer` as in offer(). False: nothing is done, offer it.
  bool enqueue(const TopicPtr& topic, EventPtr& event, SpinLock* outer);
  /// The short way for a subscription that is idle and inline. True: short_run() has to follow.
  bool begin_short_run() { return lock_.begin_short_run(); }
  void short_run(const TopicPtr& topic, EventPtr event);

  void stand();  ///< on_ready, then what came meanwhile
  void drain(Task done);
  /// The end of its Subscription; how many events go with it that no Delivery told of.
  std::uint64_t close();
  void end(absl::Status status);
  void kick();  ///< its group has changed: look whether it can go on
  void flush_metrics();

  void join(boost::intrusive_ptr<Group> group);  ///< before it is offered anything
  const boost::intrusive_ptr<Group>& group() const { return group_; }
  const std::string& name() const { return options_.name; }

  // ReceiptSink
  void answered(std::uint64_t ticket, Answer answer) noexcept override;
  void dead(std::uint64_t ticket, std::string reason, int attempts) noexcept override;

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;

  struct Entry {
    TopicPtr topic;  // null: as the entry before
    EventPtr event;
    std::uint64_t missed = 0;
    std::uint32_t epoch = 0;
  };
  struct Waiter {
    Entry entry;
    CompletionPtr completion;
    SteadyTime deadline;
  };
  /// An event that is out, in back-off, or on its way to the dead letters.
  struct Slot {
    enum class State : std::uint8_t { kFree, kOut, kBackOff, kDue, kDead, kSettled };
    TopicPtr topic;
    const TopicPtr* lent_topic = nullptr;  // the publisher's, while it is in publish()
    EventPtr event;
    int attempt = 1;
    std::uint32_t ticket = 0;
    std::uint64_t missed = 0;
    std::uint32_t epoch = 0;
    State state = State::kFree;
    bool to_fill = false;          // from claimed_, by the runner, outside the lock
    bool reserved = false;         // for a publisher who is yet to run it
    bool in_call = false;          // its handler runs: what it borrowed stays
    bool holds_reference = false;  // for a receipt that outlives its call
    SteadyTime due;

    const TopicPtr& its_topic() const { return lent_topic ? *lent_topic : topic; }
  };
  struct Verdict {
    Answer answer = Answer::kRetry;
    bool dead = false;
    int attempts = 0;
    std::string reason;
  };
  struct Call;
  struct Actions;

  /// lock_ held. Enters a short run in the books, and lets go with what may begin next.
  class Hold {
   public:
    explicit Hold(Subscriber& subscriber) : subscriber_(subscriber) { lock(); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold() {
      if (held_) unlock();
    }
    void lock() {
      if (subscriber_.lock_.lock()) subscriber_.book_short_run();
      held_ = true;
    }
    void unlock() {
      held_ = false;
      subscriber_.lock_.unlock(subscriber_.idle());
    }

   private:
    Subscriber& subscriber_;
    bool held_ = false;
  };

  bool on_this_thread() const;
  Call* call_of(std::uint64_t ticket) const;

  void run(Slot* slot, Actions* first);
  void go_on(Call& call, Slot* slot);
  void run_drain();
  void forget_callbacks();
  void invoke(Call& call, Slot& slot) noexcept;
  bool refill(Slot& slot);
  bool await_more();
  void post();
  void perform(Actions& actions);
  void perform_and_go_on(Actions& actions, bool go_on);
  void settle_from_outside(std::uint64_t ticket, Verdict&& verdict);
  void letter_done(Slot* slot, const absl::Status& status);
  void on_timer(SteadyTime armed);

  // Under lock_.
  bool idle() const;
  void book_short_run();
  Slot& slot_of(std::uint64_t ticket);
  Slot& take_slot();
  void free_slot(Slot& slot, Actions& actions);
  void settle(Slot& slot, Verdict&& verdict, Actions& actions);
  Slot* next(Actions& actions);
  bool claim(Actions& actions);
  void admit(Actions& actions);
  void release_slot(Slot& slot);
  void drop_everything(Actions& actions);
  void drop_slot(Slot& slot, Actions& actions);
  void drop_claimed(Actions& actions);
  void drop_front(Offer& offer);
  void overflow(const TopicPtr& topic, Entry&& entry, CompletionPtr& completion, PublishDone& done,
                Offer& offer);
  void push(const TopicPtr& topic, Entry&& entry);
  bool full() const;
  bool ended() const { return closed_ || !end_status_.ok(); }
  bool nothing_waits() const;
  bool epoch_open(std::uint32_t epoch) const;
  void epoch_ends(std::uint32_t epoch, std::uint64_t events, Actions& actions) const;
  bool can_go_on() const;
  bool take_turn();
  void arm(SteadyTime due, Actions& actions);
  void check_drained(Actions& actions);
  void hold_publish(const Event& event, CompletionPtr& completion, PublishDone& done);
  void let_go(const Event& event, absl::Status status, Actions& actions);
  std::chrono::nanoseconds back_off(int attempt);

  static constinit thread_local Call* innermost_call;

  const std::string pattern_;  // all of them, for people
  SubscribeOptions options_;
  Handler handler_;
  const std::chrono::milliseconds block_, retry_delay_max_;
  const std::size_t claim_max_;
  const bool holds_;
  const std::shared_ptr<Registry> registry_;
  boost::intrusive_ptr<Group> group_;
  const SubscriberMetrics metrics_;

  // The runner's alone; handed on under lock_.
  std::vector<Entry> claimed_;
  std::size_t claimed_next_ = 0;
  TopicPtr current_topic_;        // of the entry taken last
  std::uint64_t batch_done_ = 0;  // answered with success since the lock was held last
  int rounds_ = 0;                // of await_more()

  // Read outside the lock.
  std::atomic<std::uint32_t> claimed_left_{0};
  std::atomic<bool> attention_{false};  // the runner has to look before the next event
  std::atomic<bool> has_queued_{false};
  std::atomic<bool> finished_{false};         // closed, and the last run is over
  std::atomic<std::uint64_t> short_runs_{0};  // that ended so; written by their runner

  alignas(64) TurnLock lock_;
  bool standing_ = false, ready_told_ = false;
  bool running_ = false;
  bool started_ = false;  // the runner is where close() has to wait for it
  bool posted_ = false;
  bool closed_ = false, draining_ = false, end_told_ = false;
  bool runner_releases_ = false;  // closed from its own call: one share is the runner's
  int in_flight_ = 0;             // slots that are not free
  Ring<Entry> queue_;
  const Topic* tail_topic_ = nullptr;  // of the entry pushed last; null: the next one says its own
  std::uint64_t tail_missed_ = 0;      // dropped behind the entry pushed last
  std::uint64_t untold_ = 0;           // gone with the end, without a Delivery that tells
  Slot short_slot_;                    // of short runs
  std::deque<Slot> slots_;
  std::vector<Slot*> free_slots_, backing_off_;
  std::deque<Slot*> due_;
  std::deque<Waiter> waiters_;
  absl::flat_hash_map<const Event*, CompletionPtr> held_;  // of holds_: not dealt with yet
  absl::Status end_status_;
  Task drained_;
  SteadyTime armed_ = kNever;
  std::minstd_rand random_;
  std::uint64_t matched_ = 0, succeeded_ = 0;            // beside short_runs_
  std::uint64_t matched_told_ = 0, succeeded_told_ = 0;  // as the metrics have it
  std::int64_t queued_told_ = 0;
};

}  // namespace virtufin::bus::memory

#include "bus/memory/subscriber_run.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>

#include "bus/dead_letter.h"
#include "bus/memory/group.h"
#include "bus/memory/registry.h"
#include "core/errors.h"
#include "core/log.h"

/// The runner's half of Subscriber: handing out, settling, repeating.
namespace virtufin::bus::memory {
namespace {

/// After so many events a drain lets others of its executor run.
constexpr int kDrainEvents = 1024;

/// How long a drain that has run out of events looks for more before it gives up its turn, because
/// being woken costs the publisher a system call. In rounds, between which others may have the
/// processor; as many as adapt between these by whether it helped.
constexpr int kLooks = 32;
constexpr int kRoundsMin = 1;
constexpr int kRoundsMax = 32;

const Logger& log() {
  static const Logger kLogger = logger("bus");
  return kLogger;
}

}  // namespace

constinit thread_local Subscriber::Call* Subscriber::innermost_call = nullptr;

bool Subscriber::on_this_thread() const {
  for (const Call* call = innermost_call; call; call = call->outer) {
    if (call->subscriber == this) return true;
  }
  return false;
}

Subscriber::Call* Subscriber::call_of(std::uint64_t ticket) const {
  for (Call* call = innermost_call; call; call = call->outer) {
    if (call->subscriber == this && call->slot && call->slot->ticket == ticket) return call;
  }
  return nullptr;
}

// --- Running ------------------------------------------------------------------------------------

void Subscriber::post() {
  options_.executor->post([self = SubscriberPtr(this)] { self->run_drain(); });
}

void Subscriber::run_drain() {
  {
    Hold hold(*this);
    posted_ = false;
    if (closed_) return;
    running_ = started_ = true;
  }
  run(nullptr, nullptr);
}

void Subscriber::invoke(Call& call, Slot& slot) noexcept {
  call.answered = false;
  call.slot = &slot;
  try {
    handler_(Delivery{slot.its_topic(), slot.event, slot.attempt, false, slot.missed},
             Receipt(*this, slot.ticket));
  } catch (const std::exception& error) {
    // Its receipt has died on the way: a retry.
    log()->error("{} threw on an event of {}: {}", printable(options_.name),
                 printable(slot.its_topic()->name()), printable(error.what()));
  } catch (...) {
    log()->error("{} threw on an event of {}", printable(options_.name),
                 printable(slot.its_topic()->name()));
  }
  call.slot = nullptr;
}

bool Subscriber::refill(Slot& slot) {
  if (claimed_next_ == claimed_.size()) return false;
  Entry& entry = claimed_[claimed_next_++];
  claimed_left_.store(static_cast<std::uint32_t>(claimed_.size() - claimed_next_),
                      std::memory_order_relaxed);
  if (entry.topic) current_topic_ = std::move(entry.topic);
  if (slot.topic != current_topic_) slot.topic = current_topic_;
  slot.lent_topic = nullptr;
  slot.event = std::move(entry.event);
  slot.attempt = 1;
  slot.missed = entry.missed;
  return true;
}

bool Subscriber::await_more() {
  rounds_ = std::max(rounds_, kRoundsMin);
  for (int round = 0; round < rounds_; ++round) {
    if (round > 0) std::this_thread::yield();
    for (int look = 0; look < kLooks; ++look) {
      if (has_queued_.load(std::memory_order_relaxed) ||
          attention_.load(std::memory_order_relaxed)) {
        rounds_ = std::min(rounds_ * 2, kRoundsMax);
        return true;
      }
      relax();
    }
  }
  rounds_ /= 2;
  return false;
}

void Subscriber::run(Slot* slot, Actions* first) {
  Call call{this, innermost_call};
  innermost_call = &call;
  if (first) perform(*first);
  if (slot) invoke(call, *slot);
  go_on(call, slot);
}

/// The rest of a run whose `slot`, if any, has just been handled.
void Subscriber::go_on(Call& call, Slot* slot) {
  int budget = kDrainEvents;
  bool release = false;
  TopicPtr idle_topic;
  for (;;) {
    Actions actions;
    Hold hold(*this);
    if (slot) {
      if (batch_done_ != 0) {
        succeeded_ += batch_done_;
        epoch_ends(slot->epoch, batch_done_, actions);
        batch_done_ = 0;
      }
      slot->in_call = false;
      if (call.answered) {
        settle(*slot, std::move(call.verdict), actions);
        call.verdict.dead = false;
      } else if (slot->state == Slot::State::kOut) {
        slot->holds_reference = true;
        intrusive_ptr_add_ref(this);
      } else if (slot->state == Slot::State::kSettled) {
        free_slot(*slot, actions);
      }
      // What was borrowed for the call and is not done with it becomes its own.
      if (slot->state != Slot::State::kFree && slot->lent_topic) {
        slot->topic = *std::exchange(slot->lent_topic, nullptr);
      }
    }
    for (;;) {
      if (actions.any()) {
        hold.unlock();
        perform(actions);
        actions.clear();
        hold.lock();
      }
      const bool out_of_turn = options_.executor && budget <= 0;
      slot = out_of_turn ? nullptr : next(actions);
      if (slot && actions.any()) {
        // Publishers who waited for room are told first, and may close the subscription.
        hold.unlock();
        if (std::exchange(slot->to_fill, false)) refill(*slot);
        perform(actions);
        actions.clear();
        hold.lock();
        if (ended()) {
          slot->in_call = false;
          free_slot(*slot, actions);
          slot = nullptr;
          continue;
        }
      }
      if (slot || !actions.any()) break;
    }
    if (slot) {
      hold.unlock();
      if (std::exchange(slot->to_fill, false)) refill(*slot);
      invoke(call, *slot);
      // The common case without the lock: answered with success at once, and the next is at hand.
      while (call.answered && call.verdict.answer == Answer::kSuccess && !call.verdict.dead &&
             !holds_ && !attention_.load(std::memory_order_relaxed) && refill(*slot)) {
        ++batch_done_;
        --budget;
        invoke(call, *slot);
      }
      --budget;
      continue;
    }

    if (options_.executor && budget > 0 && in_flight_ == 0 && queue_.empty() && !ended()) {
      hold.unlock();
      if (await_more()) continue;
      hold.lock();
      if (has_queued_.load(std::memory_order_relaxed)) continue;
    }
    if (queue_.empty() && claimed_next_ == claimed_.size()) {
      // A topic is not kept alive by who heard it last.
      idle_topic = std::move(current_topic_);
      tail_topic_ = nullptr;
      queue_.shrink();
    }
    running_ = started_ = false;
    attention_.store(ended(), std::memory_order_relaxed);
    const bool post_again = options_.executor && take_turn();
    check_drained(actions);
    const SubscriberPtr keep(post_again || actions.any() ? this : nullptr);
    if (closed_) {
      release = runner_releases_;
      runner_releases_ = false;
      finished_.store(true, std::memory_order_release);
      finished_.notify_all();
    }
    hold.unlock();
    innermost_call = call.outer;
    if (post_again) post();
    perform(actions);
    if (release) {
      forget_callbacks();
      intrusive_ptr_release(this);
    }
    return;
  }
}

Subscriber::Slot* Subscriber::next(Actions& actions) {
  if (closed_) {
    drop_claimed(actions);
    return nullptr;
  }
  if (!ready_told_) {
    ready_told_ = true;
    actions.rare().on_ready = std::exchange(options_.on_ready, nullptr);
    return nullptr;
  }
  if (!end_status_.ok()) {
    drop_claimed(actions);
    if (!end_told_) {
      end_told_ = true;
      actions.rare().on_end = std::exchange(options_.on_end, nullptr);
      actions.rare().end_status = end_status_;
    }
    return nullptr;
  }
  if (!due_.empty()) {
    Slot& slot = *due_.front();
    due_.pop_front();
    attention_.store(!due_.empty(), std::memory_order_relaxed);
    slot.state = Slot::State::kOut;
    slot.in_call = true;
    slot.missed = 0;
    ++slot.attempt;
    return &slot;
  }
  attention_.store(false, std::memory_order_relaxed);
  if (in_flight_ >= options_.max_in_flight) return nullptr;
  if (claimed_next_ == claimed_.size() && !claim(actions)) return nullptr;
  Slot& slot = take_slot();
  slot.to_fill = true;
  slot.in_call = true;
  slot.epoch = claimed_[claimed_next_].epoch;
  // Said here, because a publisher who finds the queue full has the lock.
  claimed_left_.store(static_cast<std::uint32_t>(claimed_.size() - claimed_next_ - 1),
                      std::memory_order_relaxed);
  return &slot;
}

bool Subscriber::claim(Actions& actions) {
  if (queue_.empty() || !epoch_open(queue_.front().epoch)) return false;
  const std::uint32_t epoch = queue_.front().epoch;
  claimed_.clear();
  claimed_next_ = 0;
  while (claimed_.size() < claim_max_ && !queue_.empty() && queue_.front().epoch == epoch) {
    claimed_.push_back(queue_.pop_front());
  }
  claimed_left_.store(static_cast<std::uint32_t>(claimed_.size()), std::memory_order_relaxed);
  if (!waiters_.empty()) admit(actions);
  if (queue_.empty()) has_queued_.store(false, std::memory_order_relaxed);
  return true;
}

void Subscriber::admit(Actions& actions) {
  while (!waiters_.empty() && !full()) {
    Waiter& waiter = waiters_.front();
    const TopicPtr topic = std::move(waiter.entry.topic);
    push(topic, std::move(waiter.entry));
    actions.rare().completions.emplace_back(std::move(waiter.completion), absl::OkStatus());
    waiters_.pop_front();
  }
}

bool Subscriber::can_go_on() const {
  if (!ready_told_ || (!end_status_.ok() && !end_told_)) return true;
  if (!end_status_.ok()) return false;
  if (!due_.empty()) return true;
  if (in_flight_ >= options_.max_in_flight) return false;
  if (claimed_next_ != claimed_.size()) return true;
  return !queue_.empty() && epoch_open(queue_.front().epoch);
}

bool Subscriber::take_turn() {
  if (!standing_ || running_ || posted_ || closed_ || !can_go_on()) return false;
  if (options_.executor) {
    posted_ = true;
  } else {
    running_ = started_ = true;
  }
  return true;
}

// --- Settling -----------------------------------------------------------------------------------

Subscriber::Slot& Subscriber::slot_of(std::uint64_t ticket) {
  return ticket == short_slot_.ticket ? short_slot_ : slots_[ticket];
}

Subscriber::Slot& Subscriber::take_slot() {
  ++in_flight_;
  Slot* slot;
  if (free_slots_.empty()) {
    slot = &slots_.emplace_back();
    slot->ticket = static_cast<std::uint32_t>(slots_.size() - 1);
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  slot->state = Slot::State::kOut;
  return *slot;
}

void Subscriber::release_slot(Slot& slot) {
  slot.state = Slot::State::kFree;
  slot.to_fill = false;
  slot.lent_topic = nullptr;
  if (&slot != &short_slot_) free_slots_.push_back(&slot);
  --in_flight_;
}

void Subscriber::free_slot(Slot& slot, Actions& actions) {
  if (slot.in_call) {  // on another thread, which frees it at its end
    slot.state = Slot::State::kSettled;
    return;
  }
  actions.freed_topic = std::move(slot.topic);
  actions.freed_event = std::move(slot.event);
  release_slot(slot);
}

void Subscriber::epoch_ends(std::uint32_t epoch, std::uint64_t events, Actions& actions) const {
  if (!group_) return;
  if (!actions.epoch_ends.empty() && actions.epoch_ends.back().epoch == epoch) {
    actions.epoch_ends.back().events += events;
  } else {
    actions.epoch_ends.push_back({epoch, events});
  }
}

void Subscriber::settle(Slot& slot, Verdict&& verdict, Actions& actions) {
  if (ended()) {  // it counted as dropped then
    free_slot(slot, actions);
    return;
  }
  const int attempt = slot.attempt;
  const auto to_dead_letters = [&](std::string reason, int attempts) {
    slot.state = Slot::State::kDead;
    actions.rare().letter =
        Actions::Letter{&slot, slot.its_topic(), slot.event, std::move(reason), attempts};
  };
  if (verdict.dead) {
    to_dead_letters(std::move(verdict.reason), verdict.attempts);
    return;
  }
  if (verdict.answer == Answer::kRetry) {
    if (attempt >= options_.retry.max_attempts) {
      to_dead_letters(std::string(kRetriesExhausted), attempt);
      return;
    }
    metrics_.retried->add();
    slot.state = Slot::State::kBackOff;
    slot.due = std::chrono::steady_clock::now() + back_off(attempt);
    backing_off_.push_back(&slot);
    arm(slot.due, actions);
    return;
  }
  if (verdict.answer == Answer::kSuccess) {
    ++succeeded_;
  } else {
    metrics_.dropped_handler->add();
  }
  epoch_ends(slot.epoch, 1, actions);
  if (holds_) let_go(*slot.event, absl::OkStatus(), actions);
  free_slot(slot, actions);
}

std::chrono::nanoseconds Subscriber::back_off(int attempt) {
  std::chrono::nanoseconds longest = options_.retry.first_delay;
  const std::chrono::nanoseconds limit = retry_delay_max_;
  for (int i = 1; i < attempt && longest < limit; ++i) longest *= 2;
  longest = std::min(longest, limit);
  return std::chrono::nanoseconds(
      std::uniform_int_distribution<std::int64_t>(0, longest.count())(random_));
}

void Subscriber::answered(std::uint64_t ticket, Answer answer) noexcept {
  if (Call* call = call_of(ticket)) {
    call->answered = true;
    call->verdict.answer = answer;
    return;
  }
  Verdict verdict;
  verdict.answer = answer;
  settle_from_outside(ticket, std::move(verdict));
}

void Subscriber::dead(std::uint64_t ticket, std::string reason, int attempts) noexcept {
  Verdict verdict;
  verdict.dead = true;
  verdict.attempts = attempts;
  verdict.reason = std::move(reason);
  if (Call* call = call_of(ticket)) {
    call->answered = true;
    call->verdict = std::move(verdict);
    return;
  }
  settle_from_outside(ticket, std::move(verdict));
}

void Subscriber::settle_from_outside(std::uint64_t ticket, Verdict&& verdict) {
  Actions actions;
  bool go_on;
  SubscriberPtr keep;
  {
    Hold hold(*this);
    Slot& slot = slot_of(ticket);
    // The receipt's own share, unless its call still runs on another thread.
    keep = std::exchange(slot.holds_reference, false) ? SubscriberPtr(this, /*add_ref=*/false)
                                                      : SubscriberPtr(this);
    settle(slot, std::move(verdict), actions);
    go_on = take_turn();
    if (!go_on) check_drained(actions);
  }
  perform_and_go_on(actions, go_on);
}

void Subscriber::letter_done(Slot* slot, const absl::Status& status) {
  Actions actions;
  bool go_on;
  {
    Hold hold(*this);
    (status.ok() ? metrics_.dead_lettered : metrics_.dead_letter_failures)->add();
    epoch_ends(slot->epoch, 1, actions);
    if (holds_) let_go(*slot->event, status, actions);
    free_slot(*slot, actions);
    go_on = take_turn();
    if (!go_on) check_drained(actions);
  }
  perform_and_go_on(actions, go_on);
}

void Subscriber::arm(SteadyTime due, Actions& actions) {
  if (due >= armed_) return;
  armed_ = actions.rare().timer = due;
}

void Subscriber::on_timer(SteadyTime armed) {
  Actions actions;
  bool go_on;
  {
    Hold hold(*this);
    if (armed_ == armed) armed_ = kNever;
    const auto now = std::chrono::steady_clock::now();
    std::sort(backing_off_.begin(), backing_off_.end(),
              [](const Slot* a, const Slot* b) { return a->due < b->due; });
    const auto later = std::find_if(backing_off_.begin(), backing_off_.end(),
                                    [&](const Slot* slot) { return slot->due > now; });
    for (auto slot = backing_off_.begin(); slot != later; ++slot) {
      (*slot)->state = Slot::State::kDue;
      due_.push_back(*slot);
    }
    backing_off_.erase(backing_off_.begin(), later);
    if (!due_.empty()) attention_.store(true, std::memory_order_relaxed);
    while (!waiters_.empty() && waiters_.front().deadline <= now) {
      Waiter& waiter = waiters_.front();
      --matched_;  // its publisher is told
      epoch_ends(waiter.entry.epoch, 1, actions);
      actions.rare().completions.emplace_back(
          std::move(waiter.completion),
          resource_exhausted("subscription '{}' to {} was full with {} events for {} ms",
                             options_.name, pattern_, options_.queue_events, block_.count()));
      actions.rare().dropped_others.push_back(std::move(waiter.entry));
      waiters_.pop_front();
    }
    if (!backing_off_.empty()) arm(backing_off_.front()->due, actions);
    if (!waiters_.empty()) arm(waiters_.front().deadline, actions);
    go_on = take_turn();
    if (!go_on) check_drained(actions);
  }
  perform_and_go_on(actions, go_on);
}

// --- After the lock -----------------------------------------------------------------------------

void Subscriber::perform(Actions& actions) {
  for (const auto& end : actions.epoch_ends) group_->finished(end.epoch, end.events);
  if (!actions.rare_) return;
  Actions::Rare& rare = *actions.rare_;
  if (rare.timer != kNever) {
    registry_->timer().at(rare.timer,
                          [self = SubscriberPtr(this), due = rare.timer] { self->on_timer(due); });
  }
  for (auto& [completion, status] : rare.completions) completion->finish(std::move(status));
  if (rare.letter) {
    // The slot keeps its place until the dead letter is with the bus.
    Actions::Letter& letter = *rare.letter;
    registry_->publish_dead_letter(
        letter.topic, letter.event, options_.name, letter.reason, letter.attempts,
        [self = SubscriberPtr(this), slot = letter.slot](const absl::Status& status) {
          self->letter_done(slot, status);
        });
  }
  if (rare.on_ready) rare.on_ready();
  if (rare.on_end) rare.on_end(rare.end_status);
  if (rare.drained) rare.drained();
}

void Subscriber::perform_and_go_on(Actions& actions, bool go_on) {
  if (go_on && !options_.executor) {
    run(nullptr, &actions);
    return;
  }
  perform(actions);
  if (go_on) post();
}

}  // namespace virtufin::bus::memory

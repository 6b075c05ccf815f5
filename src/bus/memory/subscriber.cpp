#include "bus/memory/subscriber.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <optional>
#include <utility>

#include "bus/dead_letter.h"
#include "bus/memory/group.h"
#include "bus/memory/registry.h"
#include "bus/memory/subscriber_run.h"
#include "core/errors.h"
#include "core/log.h"

namespace virtufin::bus::memory {
namespace {

/// How many events the runner takes from the queue at once; a part of the bound, because what is
/// taken counts against it and can no longer be dropped.
std::size_t claim_size(std::size_t bound) { return std::clamp<std::size_t>(bound / 8, 1, 64); }

/// No index of slots_.
constexpr std::uint32_t kShortTicket = std::numeric_limits<std::uint32_t>::max();

}  // namespace

SubscriberMetrics::SubscriberMetrics(Metrics& metrics, const std::string& pattern,
                                     const std::string& name) {
  const Labels labels{{"pattern", pattern}, {"subscription", name}};
  const auto dropped = [&](const char* reason) {
    Labels with_reason = labels;
    with_reason.emplace("reason", reason);
    return metrics.counter("virtufin_bus_dropped_total",
                           "Events that a subscription matched and did not get to its end",
                           std::move(with_reason));
  };
  matched = metrics.counter("virtufin_bus_matched_total",
                            "Events that matched a subscription, each once", labels);
  succeeded =
      metrics.counter("virtufin_bus_succeeded_total", "Events answered with success", labels);
  retried = metrics.counter("virtufin_bus_retried_total", "Deliveries to be repeated", labels);
  dead_lettered = metrics.counter("virtufin_bus_dead_lettered_total",
                                  "Events sent to the dead letters", labels);
  dead_letter_failures = metrics.counter(
      "virtufin_bus_dead_letter_failures_total",
      "Events given up without a dead letter, as those that fail on a topic of dead letters",
      labels);
  dropped_overflow = dropped("overflow");
  dropped_handler = dropped("handler");
  dropped_end = dropped("end");
  queued =
      metrics.gauge("virtufin_bus_queued_events", "Events that wait in a subscription", labels);
}

Subscriber::Subscriber(Setup setup, std::shared_ptr<Registry> registry, Metrics& metrics)
    : pattern_(std::move(setup.pattern)),
      options_(std::move(setup.options)),
      handler_(std::move(setup.handler)),
      block_(setup.block),
      retry_delay_max_(setup.retry_delay_max),
      claim_max_(claim_size(options_.queue_events)),
      holds_(setup.hold),
      registry_(std::move(registry)),
      metrics_(metrics, pattern_, options_.name),
      random_(static_cast<std::minstd_rand::result_type>(setup.seed)) {
  claimed_.reserve(claim_max_);
  short_slot_.ticket = kShortTicket;
}

Subscriber::~Subscriber() = default;

void Subscriber::join(boost::intrusive_ptr<Group> group) { group_ = std::move(group); }

// --- What publishers do -------------------------------------------------------------------------

bool Subscriber::full() const {
  const std::size_t bound = options_.queue_events;
  // The runner's count changes with every event, so it is looked at only where it matters.
  if (queue_.size() + claim_max_ <= bound) return false;
  return queue_.size() + claimed_left_.load(std::memory_order_relaxed) >= bound;
}

bool Subscriber::nothing_waits() const {
  return in_flight_ < options_.max_in_flight && queue_.empty() && due_.empty() &&
         claimed_next_ == claimed_.size() && waiters_.empty();
}

bool Subscriber::epoch_open(std::uint32_t epoch) const { return !group_ || group_->open(epoch); }

void Subscriber::push(const TopicPtr& topic, Entry&& entry) {
  // A run of events of one topic holds it once: counting it up here and down there for every event
  // would send its counter back and forth between two processors.
  if (topic.get() != tail_topic_) {
    entry.topic = topic;
    tail_topic_ = topic.get();
  }
  entry.missed += std::exchange(tail_missed_, 0);
  queue_.push_back(std::move(entry));
  if (!has_queued_.load(std::memory_order_relaxed)) {
    has_queued_.store(true, std::memory_order_relaxed);
  }
}

void Subscriber::drop_front(Offer& offer) {
  Entry oldest = queue_.pop_front();
  offer.displaced = static_cast<bool>(group_);
  offer.displaced_epoch = oldest.epoch;
  offer.freed_event = std::move(oldest.event);
  if (queue_.empty()) {
    tail_topic_ = nullptr;
    tail_missed_ += oldest.missed + 1;
    offer.freed_topic = std::move(oldest.topic);
    return;
  }
  Entry& front = queue_.front();
  front.missed += oldest.missed + 1;
  (front.topic ? offer.freed_topic : front.topic) = std::move(oldest.topic);
}

void Subscriber::hold_publish(const Event& event, CompletionPtr& completion, PublishDone& done) {
  if (!completion) completion.reset(new Completion(std::move(done)));
  // One event that is published again while it is held counts once.
  if (held_.try_emplace(&event, completion).second) completion->expect();
}

void Subscriber::let_go(const Event& event, absl::Status status, Actions& actions) {
  const auto held = held_.find(&event);
  if (held == held_.end()) return;
  actions.rare().completions.emplace_back(std::move(held->second), std::move(status));
  held_.erase(held);
}

void Subscriber::overflow(const TopicPtr& topic, Entry&& entry, CompletionPtr& completion,
                          PublishDone& done, Offer& offer) {
  switch (options_.overflow) {
    case Overflow::kBlock:
      if (waiters_.size() >= options_.queue_events) {
        --matched_;  // the publisher is told
        offer.refused = true;
        break;
      }
      if (!completion) completion.reset(new Completion(std::move(done)));
      completion->expect();
      entry.topic = topic;
      waiters_.push_back({std::move(entry), completion, std::chrono::steady_clock::now() + block_});
      offer.taken = true;
      if (waiters_.front().deadline < armed_) {
        armed_ = offer.timer = waiters_.front().deadline;
        offer.keep.reset(this);
      }
      return;
    case Overflow::kDropOldest:
      // There is a front: what the runner has claimed is at most an eighth of a full queue.
      metrics_.dropped_overflow->add();
      drop_front(offer);
      if (offer.displaced) offer.keep.reset(this);
      push(topic, std::move(entry));
      offer.taken = true;
      return;
    case Overflow::kDropNewest:
      metrics_.dropped_overflow->add();
      ++tail_missed_;
      break;
    case Overflow::kDisconnect:
      metrics_.dropped_overflow->add();
      offer.next = Offer::Next::kEnd;
      offer.keep.reset(this);
      break;
  }
  offer.freed_event = std::move(entry.event);
}

bool Subscriber::idle() const {
  // A group's member may have to wait for its epoch.
  return ready_told_ && in_flight_ == 0 && !running_ && !draining_ && !ended() &&
         !options_.executor && !group_ && !holds_ && tail_missed_ == 0 && nothing_waits();
}

void Subscriber::book_short_run() {
  ++matched_;
  ++in_flight_;
  short_slot_.state = Slot::State::kOut;
  short_slot_.in_call = true;
  running_ = started_ = true;
}

bool Subscriber::enqueue(const TopicPtr& topic, EventPtr& event, SpinLock* outer) {
  Hold hold(*this);
  const bool has_runner = running_ || posted_;
  if (!has_runner || group_ || ended() || draining_ || !waiters_.empty() || full()) return false;
  if (outer) outer->unlock();
  ++matched_;
  push(topic, Entry{nullptr, std::move(event), 0, 0});
  return true;
}

Subscriber::Offer Subscriber::offer(const TopicPtr& topic, EventPtr event, std::uint32_t epoch,
                                    CompletionPtr& completion, PublishDone& done, bool at_once,
                                    SpinLock* outer) {
  Offer offer;
  offer.subscriber = this;
  Hold hold(*this);
  if (outer) outer->unlock();
  if (ended() || draining_) {
    offer.freed_event = std::move(event);
    return offer;
  }
  ++matched_;
  if (holds_) hold_publish(*event, completion, done);
  if (!options_.executor && !running_ && ready_told_ && nothing_waits() && epoch_open(epoch)) {
    Slot& slot = take_slot();
    slot.lent_topic = &topic;
    slot.event = std::move(event);
    slot.attempt = 1;
    slot.missed = std::exchange(tail_missed_, 0);
    slot.epoch = epoch;
    slot.reserved = !at_once;
    slot.in_call = true;
    running_ = true;
    started_ = at_once;
    offer.taken = true;
    offer.next = Offer::Next::kRun;
    offer.slot = &slot;
  } else {
    Entry entry{nullptr, std::move(event), 0, epoch};
    if (full() || !waiters_.empty()) {
      overflow(topic, std::move(entry), completion, done, offer);
      if (offer.next == Offer::Next::kEnd) return offer;
    } else {
      push(topic, std::move(entry));
      offer.taken = true;
    }
    if (take_turn()) {
      if (options_.executor) {
        offer.next = Offer::Next::kPost;
        offer.keep.reset(this);
      } else {
        started_ = at_once;
        offer.next = Offer::Next::kRun;
      }
    }
  }
  // close() waits for a run that has started. One that has not is safe while the topic's list names
  // the subscription; a group's members it does not name.
  if (offer.next == Offer::Next::kRun && !at_once && group_) offer.keep.reset(this);
  return offer;
}

void Subscriber::carry_out(Offer& offer, bool at_once) {
  Subscriber* const self = offer.subscriber;
  if (offer.timer != kNever) {
    self->registry_->timer().at(offer.timer,
                                [keep = offer.keep, due = offer.timer] { keep->on_timer(due); });
  }
  if (offer.displaced) self->group_->finished(offer.displaced_epoch, 1);
  switch (offer.next) {
    case Offer::Next::kNothing: break;
    case Offer::Next::kPost: self->post(); break;
    case Offer::Next::kEnd:
      self->end(resource_exhausted(
          "subscription '{}' to {} was full with {} events: it is too slow for what is published",
          self->options_.name, self->pattern_, self->options_.queue_events));
      break;
    case Offer::Next::kRun:
      if (!at_once) {
        Hold hold(*self);
        self->started_ = true;
        if (offer.slot) offer.slot->reserved = false;
        // A handler that ran before it on this thread may have closed it.
        if (self->ended() && offer.slot) {
          offer.freed_event = std::move(offer.slot->event);
          offer.slot->in_call = false;
          self->release_slot(*std::exchange(offer.slot, nullptr));
        }
      }
      self->run(offer.slot, nullptr);
      break;
  }
}

void Subscriber::short_run(const TopicPtr& topic, EventPtr event) {
  Call call{this, innermost_call};
  innermost_call = &call;
  Slot& slot = short_slot_;
  slot.lent_topic = &topic;
  slot.event = std::move(event);
  slot.attempt = 1;
  slot.missed = 0;
  invoke(call, slot);
  if (call.answered && call.verdict.answer == Answer::kSuccess && !call.verdict.dead) {
    // It may be the next one's as soon as this run has ended.
    const EventPtr freed = std::move(slot.event);
    short_runs_.store(short_runs_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (lock_.end_short_run()) {
      innermost_call = call.outer;
      return;
    }
    short_runs_.store(short_runs_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  }
  go_on(call, &slot);
}

// --- Its life -----------------------------------------------------------------------------------

void Subscriber::stand() {
  bool go_on;
  {
    Hold hold(*this);
    standing_ = true;
    if (!options_.on_ready) ready_told_ = true;
    go_on = take_turn();
  }
  Actions none;
  perform_and_go_on(none, go_on);
}

void Subscriber::drop_everything(Actions& actions) {
  std::uint64_t dropped = queue_.size() + waiters_.size();
  untold_ += dropped + std::exchange(tail_missed_, 0);
  for (std::size_t i = 0; i < queue_.size(); ++i) {
    untold_ += queue_[i].missed;
    epoch_ends(queue_[i].epoch, 1, actions);
  }
  Actions::Rare& rare = actions.rare();
  rare.dropped_queue = std::move(queue_);
  queue_ = {};
  tail_topic_ = nullptr;
  has_queued_.store(false, std::memory_order_relaxed);
  // Nobody is left to wait for.
  for (Waiter& waiter : waiters_) {
    epoch_ends(waiter.entry.epoch, 1, actions);
    rare.completions.emplace_back(std::move(waiter.completion), absl::OkStatus());
    rare.dropped_others.push_back(std::move(waiter.entry));
  }
  waiters_.clear();
  for (auto& [event, completion] : held_) {
    rare.completions.emplace_back(std::move(completion), cancelled("the subscription has ended"));
  }
  held_.clear();
  metrics_.dropped_end->add(dropped);
  drop_slot(short_slot_, actions);
  for (Slot& slot : slots_) drop_slot(slot, actions);
  backing_off_.clear();
  due_.clear();
  // While it runs they are the runner's.
  if (!running_) drop_claimed(actions);
}

void Subscriber::drop_slot(Slot& slot, Actions& actions) {
  switch (slot.state) {
    case Slot::State::kFree:
    case Slot::State::kSettled:
    case Slot::State::kDead:  // counts when its dead letter is out
      return;
    case Slot::State::kOut:
      if (slot.reserved) untold_ += 1 + slot.missed;
      break;
    case Slot::State::kBackOff:
    case Slot::State::kDue:
      if (slot.in_call) {
        slot.state = Slot::State::kSettled;
      } else {
        actions.rare().dropped_others.push_back(
            {std::move(slot.topic), std::move(slot.event), 0, 0});
        release_slot(slot);
      }
      break;
  }
  metrics_.dropped_end->add();
  epoch_ends(slot.epoch, 1, actions);
}

void Subscriber::drop_claimed(Actions& actions) {
  const std::uint64_t dropped = claimed_.size() - claimed_next_;
  if (dropped == 0) return;
  epoch_ends(claimed_[claimed_next_].epoch, dropped, actions);
  untold_ += dropped;
  for (std::size_t i = claimed_next_; i < claimed_.size(); ++i) untold_ += claimed_[i].missed;
  actions.rare().dropped_claimed = std::move(claimed_);
  actions.rare().freed_topic = std::move(current_topic_);
  claimed_.clear();
  claimed_next_ = 0;
  claimed_left_.store(0, std::memory_order_relaxed);
  metrics_.dropped_end->add(dropped);
}

std::uint64_t Subscriber::close() {
  Actions actions;
  bool wait = false;
  bool own_call = false;
  {
    Hold hold(*this);
    if (!ended()) drop_everything(actions);
    closed_ = true;
    attention_.store(true, std::memory_order_relaxed);
    if (running_ && started_) {
      own_call = on_this_thread();
      wait = !own_call;
      if (own_call) {
        runner_releases_ = true;
        intrusive_ptr_add_ref(this);
      }
    }
  }
  if (wait) finished_.wait(false, std::memory_order_acquire);
  std::uint64_t untold;
  {
    Hold hold(*this);  // and the runner has let go of it
    if (own_call) drop_claimed(actions);
    untold = std::exchange(untold_, 0);
  }
  perform(actions);
  flush_metrics();
  // What the handler holds goes with the subscription, not with the last list that names it.
  if (!own_call) forget_callbacks();
  return untold;
}

void Subscriber::forget_callbacks() {
  handler_ = nullptr;
  options_.on_ready = nullptr;
  options_.on_end = nullptr;
}

void Subscriber::end(absl::Status status) {
  Actions actions;
  bool go_on = false;
  {
    Hold hold(*this);
    if (ended()) return;
    end_status_ = std::move(status);
    // One that never stood is told its end alone.
    if (!std::exchange(standing_, true)) ready_told_ = true;
    attention_.store(true, std::memory_order_relaxed);
    drop_everything(actions);
    if (!options_.on_end) end_told_ = true;
    go_on = take_turn();
  }
  registry_->detach(*this);
  perform_and_go_on(actions, go_on);
}

void Subscriber::drain(Task done) {
  Actions actions;
  {
    Hold hold(*this);
    draining_ = true;
    drained_ = std::move(done);
    check_drained(actions);
  }
  perform(actions);
}

void Subscriber::check_drained(Actions& actions) {
  // The order of the questions matters: claimed_ is the runner's, who has a slot while it uses it.
  if (!draining_ || !drained_ || in_flight_ != 0 || running_) return;
  if (!nothing_waits()) return;
  actions.rare().drained = std::exchange(drained_, nullptr);
}

void Subscriber::kick() {
  bool go_on;
  {
    Hold hold(*this);
    go_on = take_turn();
  }
  Actions none;
  perform_and_go_on(none, go_on);
}

void Subscriber::flush_metrics() {
  std::uint64_t matched, succeeded;
  std::int64_t queued;
  // A publish that gave up waiting, or a short run that became a long one, is taken back: what was
  // told already is then waited for.
  const auto more = [](std::uint64_t now, std::uint64_t& told) {
    return now > told ? now - std::exchange(told, now) : 0;
  };
  {
    Hold hold(*this);
    const std::uint64_t short_runs = short_runs_.load(std::memory_order_relaxed);
    matched = more(matched_ + short_runs, matched_told_);
    succeeded = more(succeeded_ + short_runs, succeeded_told_);
    const auto now = static_cast<std::int64_t>(queue_.size() + waiters_.size() +
                                               claimed_left_.load(std::memory_order_relaxed));
    queued = now - std::exchange(queued_told_, now);
  }
  if (matched) metrics_.matched->add(matched);
  if (succeeded) metrics_.succeeded->add(succeeded);
  if (queued) metrics_.queued->add(queued);
}

}  // namespace virtufin::bus::memory

#include "bus/dapr/subscription_stream.h"

#include <algorithm>
#include <utility>

#include "core/log.h"
#include "dapr/proto/runtime/v1/dapr.pb.h"

namespace virtufin::bus {
namespace {

using std::chrono::milliseconds;
namespace runtime = ::dapr::proto::runtime::v1;

constexpr char kMethod[] = "SubscribeTopicEventsAlpha1";

const Logger& log() {
  static const Logger kLogger = logger("dapr");
  return kLogger;
}

template <class Limits>
Limits limits_of(const DaprConfig& config, const TopicSource& source) {
  Limits limits;
  limits.wait = source.one_by_one ? milliseconds(0) : config.reorder_wait;
  limits.window_events = config.reorder_events;
  limits.events = config.reorder_total;
  limits.publishers = config.publishers_max;
  limits.idle = config.publisher_idle;
  return limits;
}

}  // namespace

SubscriptionStream::SubscriptionStream(Sidecar& sidecar, TopicSource source,
                                       std::weak_ptr<StreamReceiver> receiver, Metrics& metrics)
    : sidecar_(sidecar),
      source_(std::move(source)),
      receiver_(std::move(receiver)),
      config_(sidecar.config()),
      restores_order_(config_.replicas == 1),
      answers_at_once_(source_.kind == BrokerKind::kInMemory),
      received_(metrics.counter("virtufin_dapr_received_total", "Events that the sidecar delivered",
                                {{"component", source_.component}})),
      late_(metrics.counter("virtufin_dapr_late_total",
                            "Events that came after their successors, or came again",
                            {{"component", source_.component}})),
      missing_(metrics.counter("virtufin_dapr_missing_total",
                               "Events that were not waited for any more",
                               {{"component", source_.component}})),
      unreadable_(metrics.counter("virtufin_dapr_unreadable_total",
                                  "Messages that are no event, and were let go",
                                  {{"component", source_.component}})),
      reopened_(metrics.counter("virtufin_dapr_reopened_total",
                                "Subscriptions to the sidecar that were lost",
                                {{"component", source_.component}})),
      forgotten_(metrics.counter("virtufin_dapr_windows_dropped_total",
                                 "Publishers forgotten as idle, or to make room",
                                 {{"component", source_.component}})),
      unanswered_shown_(metrics.gauge("virtufin_dapr_unanswered_events",
                                      "Events that are here and not dealt with",
                                      {{"component", source_.component}})),
      reordering_shown_(metrics.gauge("virtufin_dapr_reordering_events",
                                      "Events that wait for those before them",
                                      {{"component", source_.component}})),
      order_(limits_of<Order::Limits>(config_, source_)),
      backoff_(config_.reopen_first, config_.reopen_max) {}

void SubscriptionStream::open() {
  runtime::SubscribeTopicEventsRequestAlpha1 first;
  first.mutable_initial_request()->set_pubsub_name(source_.component);
  first.mutable_initial_request()->set_topic(source_.topic);
  using Message = runtime::SubscribeTopicEventsResponseAlpha1;
  // No message is looked at before stream_ is there to answer it.
  std::lock_guard opening(opening_);
  std::uint64_t incarnation = 0;
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    incarnation = ++incarnation_;
  }
  auto stream = sidecar_.open<Message>(
      kMethod, first,
      [weak = weak_from_this(), incarnation](Message& message) {
        const auto self = weak.lock();
        return !self || self->on_message(incarnation, message);
      },
      [weak = weak_from_this(), incarnation](absl::Status status) {
        if (const auto self = weak.lock()) self->on_end(incarnation, std::move(status));
      });
  std::lock_guard lock(mutex_);
  if (incarnation == incarnation_) stream_ = std::move(stream);
}

void SubscriptionStream::close() {
  std::shared_ptr<SidecarStream> ended;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    standing_ = false;
    ++incarnation_;
    ended = std::move(stream_);
    unanswered_shown_->add(-static_cast<std::int64_t>(std::exchange(unsettled_, 0)));
    ids_.clear();
  }
  if (ended) ended->close();
}

void SubscriptionStream::stop_intake() {
  std::lock_guard lock(mutex_);
  intake_ = false;
}

void SubscriptionStream::restart_intake() {
  {
    std::lock_guard lock(mutex_);
    intake_ = true;
  }
  sidecar_.after(milliseconds(0), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->unpark();
  });
}

void SubscriptionStream::unpark() {
  std::shared_ptr<SidecarStream> stream;
  while (!parked_.empty()) {
    {
      std::lock_guard lock(mutex_);
      if (!intake_) return;
    }
    Parked parked = std::move(parked_.front());
    parked_.pop_front();
    hand_out(parked.topic, std::move(parked.item), parked.late);
  }
  {
    std::lock_guard lock(mutex_);
    if (!intake_ || !paused_ || unsettled_ > config_.queue_arrivals / 2) return;
    paused_ = false;
    resumed_ = true;
    stream = stream_;
  }
  if (stream) stream->resume();
}

bool SubscriptionStream::standing() const {
  std::lock_guard lock(mutex_);
  return standing_;
}

absl::Status SubscriptionStream::health() const {
  std::lock_guard lock(mutex_);
  if (standing_) return absl::OkStatus();
  const std::string_view hint =
      source_.kind == BrokerKind::kJetStream
          ? "; does its stream exist (config/dapr/streams.py makes those of config/dapr)?"
          : "";
  return unavailable("no subscription to '{}' on component {}: {}{}", printable(source_.topic),
                     source_.component, printable(message(problem_), 300), hint);
}

bool SubscriptionStream::on_message(std::uint64_t incarnation,
                                    runtime::SubscribeTopicEventsResponseAlpha1& message) {
  { const std::lock_guard opened(opening_); }
  if (message.has_initial_response()) {
    {
      std::lock_guard lock(mutex_);
      if (incarnation != incarnation_) return false;
      standing_ = true;
      backoff_.succeeded();
    }
    log()->info("subscribed to '{}' on component {}", printable(source_.topic), source_.component);
    if (const auto receiver = receiver_.lock()) receiver->stands(source_);
    return true;
  }
  if (message.has_event_message()) on_event(incarnation, *message.mutable_event_message());
  std::lock_guard lock(mutex_);
  if (incarnation != incarnation_) return false;
  paused_ = !intake_ || unsettled_ >= config_.queue_arrivals;
  return !paused_;
}

void SubscriptionStream::on_event(std::uint64_t incarnation, runtime::TopicEventRequest& message) {
  received_->add();
  Item item{message.id(), incarnation, nullptr};
  std::shared_ptr<SidecarStream> stream;
  {
    std::lock_guard lock(mutex_);
    if (incarnation != incarnation_) return;
    stream = stream_;
    if (!answers_at_once_) ++ids_[item.id];
  }
  if (answers_at_once_) answer(stream, item.id);
  auto arrived = decode_envelope(message);
  if (!arrived.ok()) {
    unreadable_->add();
    log()->error("event {} of '{}' on component {} is none and is let go: {}", printable(item.id),
                 printable(message.topic()), source_.component,
                 printable(virtufin::message(arrived.status())));
    bool answers = false;
    if (!answers_at_once_) {
      std::lock_guard lock(mutex_);
      answers = forget_id(item.id);
    }
    if (answers) answer(stream, item.id);
    return;
  }
  item.event = std::move(arrived->event);
  const std::string topic = TopicMap::from_broker(arrived->topic);
  if (!restores_order_ || !arrived->order) {
    deliver(topic, std::move(item), /*late=*/false);
    return;
  }
  Order::Steps steps;
  order_.arrived(topic, *arrived->order, std::move(item), std::chrono::steady_clock::now(), steps);
  carry_out(steps);
  arm();
}

void SubscriptionStream::carry_out(Order::Steps& steps) {
  using What = Order::Step::What;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    Order::Step& step = steps[i];
    switch (step.what) {
      case What::kDeliver: deliver(step.topic, *std::move(step.item), /*late=*/false); break;
      case What::kDeliverLate: deliver(step.topic, *std::move(step.item), /*late=*/true); break;
      case What::kReplaced: {
        std::lock_guard lock(mutex_);
        if (step.item->incarnation == incarnation_ && !answers_at_once_) forget_id(step.item->id);
        break;
      }
      case What::kHole: {
        missing_->add(step.received - step.expected);
        log()->warn("{} events of '{}' did not come in their place ({} to {})",
                    step.received - step.expected, printable(step.topic), step.expected,
                    step.received - 1);
        // What follows in the steps is the event behind the hole.
        const auto receiver = receiver_.lock();
        if (receiver && source_.market && i + 1 < steps.size() && steps[i + 1].item) {
          receiver->hole({step.topic, step.expected, step.received}, *steps[i + 1].item->event);
        }
        break;
      }
    }
  }
  reordering_shown_->set(static_cast<std::int64_t>(order_.waiting()));
  const std::uint64_t forgotten = order_.forgotten();
  forgotten_->add(forgotten - std::exchange(windows_told_, forgotten));
}

void SubscriptionStream::deliver(std::string_view topic, Item item, bool late) {
  bool park = !parked_.empty();
  {
    std::lock_guard lock(mutex_);
    park |= !intake_;
  }
  if (park) {
    parked_.push_back({std::string(topic), std::move(item), late});
  } else {
    hand_out(topic, std::move(item), late);
  }
}

void SubscriptionStream::hand_out(std::string_view topic, Item item, bool late) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    if (item.incarnation == incarnation_) {
      ++unsettled_;
      unanswered_shown_->add(1);
    }
  }
  if (late) {
    late_->add();
    auto marked = mark_late(*item.event);
    if (marked.ok()) item.event = *std::move(marked);
  }
  const auto receiver = receiver_.lock();
  if (!receiver) return;
  receiver->arrived(
      topic, std::move(item.event),
      [self = shared_from_this(), incarnation = item.incarnation, id = std::move(item.id)](
          const absl::Status& status) { self->dealt_with(incarnation, id, status); });
}

bool SubscriptionStream::forget_id(const std::string& id) {
  const auto found = ids_.find(id);
  if (found == ids_.end()) return false;
  if (--found->second > 0) return false;
  ids_.erase(found);
  return true;
}

void SubscriptionStream::dealt_with(std::uint64_t incarnation, const std::string& id,
                                    const absl::Status& status) {
  std::shared_ptr<SidecarStream> stream;
  bool answers = false, resumes = false;
  {
    std::lock_guard lock(mutex_);
    if (incarnation != incarnation_) return;  // it comes again
    --unsettled_;
    unanswered_shown_->add(-1);
    stream = stream_;
    answers = !answers_at_once_ && forget_id(id);
    if (paused_ && intake_ && unsettled_ <= config_.queue_arrivals / 2) {
      paused_ = false;
      resumed_ = resumes = true;
    }
  }
  if (answers) answer(stream, id);
  if (resumes) stream->resume();
  if (!status.ok()) {
    log()->debug("event {} of component {} was not dealt with by everybody: {}", printable(id),
                 source_.component, message(status));
  }
}

void SubscriptionStream::answer(const std::shared_ptr<SidecarStream>& stream,
                                const std::string& id) const {
  runtime::SubscribeTopicEventsRequestAlpha1 message;
  message.mutable_event_processed()->set_id(id);
  message.mutable_event_processed()->mutable_status()->set_status(
      runtime::TopicEventResponse::SUCCESS);
  if (stream) stream->write(message);
}

void SubscriptionStream::on_end(std::uint64_t incarnation, absl::Status status) {
  std::shared_ptr<SidecarStream> ended;
  milliseconds pause{0};
  {
    std::lock_guard lock(mutex_);
    if (closed_ || incarnation != incarnation_) return;
    ++incarnation_;  // what comes to its end from now on belongs to a stream that is no more
    ended = std::move(stream_);
    unanswered_shown_->add(-static_cast<std::int64_t>(std::exchange(unsettled_, 0)));
    ids_.clear();
    paused_ = false;
    if (std::exchange(standing_, false)) {
      reopened_->add();
      log()->warn("the subscription to '{}' on component {} was lost: {}", printable(source_.topic),
                  source_.component, printable(message(status), 300));
    }
    problem_ = std::move(status);
    pause = backoff_.next();
  }
  sidecar_.after(pause, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->open();
  });
}

void SubscriptionStream::arm() {
  const auto due = order_.next_due();
  if (!due || (armed_ && *armed_ <= *due)) return;
  armed_ = due;
  const auto now = std::chrono::steady_clock::now();
  const auto delay = std::chrono::ceil<milliseconds>(std::max(*due - now, Time::duration(0)));
  sidecar_.after(delay, [weak = weak_from_this(), due = *due] {
    const auto self = weak.lock();
    if (!self) return;
    if (self->armed_ == due) self->armed_.reset();
    self->expire();
  });
}

void SubscriptionStream::expire() {
  const auto now = std::chrono::steady_clock::now();
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    // What is missing may stand in the stream that nobody reads from.
    if (paused_ || std::exchange(resumed_, false)) order_.not_before(now + config_.reorder_wait);
  }
  Order::Steps steps;
  order_.expire(now, steps);
  carry_out(steps);
  arm();
}

}  // namespace virtufin::bus

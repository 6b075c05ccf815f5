#include "modules/gateway/fanout.h"

#include <algorithm>
#include <future>
#include <set>

#include "core/errors.h"
#include "core/log.h"
#include "core/topic.h"
#include "core/uuid.h"

namespace virtufin::gateway {
namespace {

/// Arrivals handed out before registering and leaving get their turn.
constexpr std::size_t kDrainBatch = 256;
constexpr std::int64_t kMaxQueueEvents = 65'536;

}  // namespace

Fanout::Fanout(bus::Bus& bus, Metrics& metrics, const GatewayConfig& config)
    : bus_(bus),
      config_(config),
      streams_gauge_(metrics.gauge("virtufin_gateway_streams", "Clients' event streams now open")),
      patterns_gauge_(metrics.gauge("virtufin_gateway_bus_subscriptions",
                                    "Topic patterns that the open streams share")),
      written_(metrics.counter("virtufin_gateway_stream_events_total",
                               "Events written to clients' streams")),
      missed_(metrics.counter("virtufin_gateway_stream_missed_total",
                              "Events dropped for slow streams")),
      loop_(std::make_unique<Loop>("gateway-fanout")) {
  comments_.emplace(loop_->io());
  loop_->post([this] { arm_comments(); });
}

Fanout::~Fanout() { stop(std::chrono::steady_clock::now()); }

absl::Status Fanout::check(const StreamRequest& request) const {
  if (request.topics.empty()) {
    return invalid_argument("topics is empty; name at least one topic to subscribe to");
  }
  if (request.topics.size() > config_.max_topics_per_stream) {
    return invalid_argument(
        "{} topics are more than one stream may have ({}); use a pattern that ends in .*, several "
        "streams, or raise gateway.max_topics_per_stream",
        request.topics.size(), config_.max_topics_per_stream);
  }
  for (const std::string& topic : request.topics) {
    VIRTUFIN_RETURN_IF_ERROR(topic::check_pattern(topic));
  }
  if (request.queue_events < 0 || request.queue_events > kMaxQueueEvents) {
    return invalid_argument("queue_events is {}; give 1 to {}, or 0 for {}", request.queue_events,
                            kMaxQueueEvents, config_.stream_queue_events);
  }
  return absl::OkStatus();
}

bool Fanout::post(Task task) {
  const std::lock_guard lock(life_mutex_);
  if (!loop_) {
    return false;
  }
  loop_->post(std::move(task));
  return true;
}

void Fanout::open(StreamRequest request, std::unique_ptr<StreamSink> sink,
                  const rpc::CallPtr& call) {
  absl::Status status = check(request);
  if (status.ok()) {
    const std::lock_guard lock(life_mutex_);
    if (stopping_) {
      status = unavailable("the gateway is stopping; subscribe again later");
    } else if (unfinished_ >= config_.max_streams) {
      status = resource_exhausted(
          "{} streams are open, the most there may be; close one or raise gateway.max_streams",
          unfinished_);
    } else {
      ++unfinished_;
    }
  }
  if (!status.ok()) {
    sink->finish(std::move(status));
    return;
  }

  Stream::Options options;
  options.id = random_uuid().view();
  // A topic named twice is one: order stays, as the first of several matching patterns counts.
  std::set<std::string, std::less<>> seen;
  for (std::string& topic : request.topics) {
    if (seen.insert(topic).second) {
      options.patterns.push_back(std::move(topic));
    }
  }
  options.filter = std::move(request.filter);
  options.queue_events = request.queue_events == 0 ? config_.stream_queue_events
                                                   : static_cast<std::size_t>(request.queue_events);
  options.written = written_;
  options.missed = missed_;
  const std::string id = options.id;
  const auto leave = [self = weak_from_this(), id] {
    if (const auto fanout = self.lock()) {
      fanout->post([raw = fanout.get(), id] {
        raw->remove(id, cancelled("the client went away"), Stream::Queued::kDrop);
      });
    }
  };
  options.on_broken = leave;
  options.on_finished = [self = weak_from_this()] {
    if (const auto fanout = self.lock()) {
      const std::lock_guard lock(fanout->life_mutex_);
      --fanout->unfinished_;
      fanout->finished_.notify_all();
    }
  };
  streams_gauge_->add(1);
  auto stream = std::make_shared<Stream>(std::move(options), std::move(sink));
  if (!post([this, stream] { add(stream); })) {
    streams_gauge_->add(-1);
    stream->close(unavailable("the gateway is stopping; subscribe again later"),
                  Stream::Queued::kDrop);
    return;
  }
  call->on_cancel(leave);
}

void Fanout::unsubscribe(std::string id, absl::AnyInvocable<void(absl::Status)> done) {
  // Shared, because the task is lost if the loop is gone, and the answer must not be.
  auto answer = std::make_shared<absl::AnyInvocable<void(absl::Status)>>(std::move(done));
  const bool posted = post([this, id = std::move(id), answer] {
    const bool found = remove(id, absl::OkStatus(), Stream::Queued::kDrop);
    (*answer)(found ? absl::OkStatus()
                    : not_found("no stream has the subscription id '{}'; it may have ended",
                                printable(id)));
  });
  if (!posted) {
    (*answer)(unavailable("the gateway is stopping; all streams end"));
  }
}

void Fanout::stop(std::chrono::steady_clock::time_point deadline) {
  {
    const std::lock_guard lock(life_mutex_);
    if (!loop_) {
      return;
    }
    stopping_ = true;
  }
  std::promise<std::vector<StreamPtr>> promise;
  auto ended = promise.get_future();
  post([this, promise = std::move(promise)]() mutable {
    promise.set_value(end_all(unavailable("the gateway is stopping; subscribe again later")));
  });
  const std::vector<StreamPtr> streams = ended.get();
  {
    std::unique_lock lock(life_mutex_);
    finished_.wait_until(lock, deadline, [this] { return unfinished_ == 0; });
    if (unfinished_ > 0) {
      logger("gateway")->warn("{} event streams did not take all that was queued for them in time",
                              unfinished_);
    }
  }
  for (const StreamPtr& stream : streams) {
    stream->close(absl::OkStatus(), Stream::Queued::kDrop);
  }
  std::unique_ptr<Loop> loop;  // joined when it goes, without the lock
  const std::lock_guard lock(life_mutex_);
  loop.swap(loop_);
}

std::vector<StreamPtr> Fanout::end_all(const absl::Status& status) {
  comments_.reset();
  while (true) {
    std::unique_lock lock(arrivals_mutex_);
    if (arrivals_.empty()) {
      break;
    }
    const Arrival arrival = std::move(arrivals_.front());
    arrivals_.pop_front();
    lock.unlock();
    deliver(arrival);
  }
  std::vector<StreamPtr> streams;
  while (!open_.empty()) {
    streams.push_back(open_.begin()->second.stream);
    remove(streams.back()->id(), status, Stream::Queued::kWrite);
  }
  return streams;
}

std::size_t Fanout::open_streams() const {
  const std::lock_guard lock(life_mutex_);
  return unfinished_;
}

void Fanout::arrive(const PatternPtr& pattern, const bus::Delivery& delivery) {
  std::optional<Arrival> dropped;
  bool wake = false;
  {
    const std::lock_guard lock(arrivals_mutex_);
    if (arrivals_.size() >= config_.fanout_queue_events) {
      dropped = std::move(arrivals_.front());
      arrivals_.pop_front();
    }
    arrivals_.push_back({pattern, delivery.topic, delivery.event, delivery.missed});
    wake = !std::exchange(draining_, true);
  }
  if (dropped) {
    count_missed(*dropped);
  }
  if (wake) {
    post([this] { drain(); });
  }
}

void Fanout::count_missed(const Arrival& arrival) {
  const std::string_view topic = bus::name(arrival.topic);
  const std::lock_guard lock(arrival.pattern->mutex);
  for (const StreamPtr& stream : arrival.pattern->streams) {
    const bool taken = stream->accepts(arrival.pattern->text, topic, *arrival.event);
    if (arrival.missed + (taken ? 1 : 0) > 0) {
      stream->count_missed(arrival.missed + (taken ? 1 : 0));
    }
  }
}

void Fanout::drain() {
  for (std::size_t i = 0; i < kDrainBatch; ++i) {
    std::unique_lock lock(arrivals_mutex_);
    if (arrivals_.empty()) {
      draining_ = false;
      return;
    }
    const Arrival arrival = std::move(arrivals_.front());
    arrivals_.pop_front();
    lock.unlock();
    deliver(arrival);
  }
  post([this] { drain(); });
}

void Fanout::deliver(const Arrival& arrival) {
  const std::string_view topic = bus::name(arrival.topic);
  std::shared_ptr<FanoutEvent> event;
  for (const StreamPtr& stream : arrival.pattern->streams) {
    if (arrival.missed > 0) {
      stream->count_missed(arrival.missed);
    }
    if (!stream->accepts(arrival.pattern->text, topic, *arrival.event)) {
      continue;
    }
    if (!event) {
      event = std::make_shared<FanoutEvent>(arrival.topic, arrival.event);
    }
    stream->sink().prepare(*event);
    stream->push(event);
  }
}

void Fanout::add(StreamPtr stream) {
  Open open{stream, {}, 0};
  absl::Status status;
  for (const std::string& text : stream->patterns()) {
    status = join(text, open);
    if (!status.ok()) {
      break;
    }
  }
  const std::size_t pending = open.pending;
  open_.emplace(stream->id(), std::move(open));
  if (!status.ok()) {
    remove(stream->id(), std::move(status), Stream::Queued::kDrop);
  } else if (pending == 0) {
    stream->start();
  }
}

absl::Status Fanout::join(const std::string& text, Open& open) {
  PatternPtr pattern;
  if (const auto found = patterns_.find(text); found != patterns_.end()) {
    pattern = found->second;
  } else {
    pattern = std::make_shared<Pattern>(text);
    bus::SubscribeOptions options;
    options.name = "gateway";
    options.overflow = bus::Overflow::kDropOldest;
    options.queue_events = config_.fanout_queue_events;
    // The callbacks hold the pattern weakly: it owns the subscription that owns them.
    options.on_ready = [this, weak = std::weak_ptr(pattern)] {
      post([this, weak] {
        if (const PatternPtr ready = weak.lock()) {
          on_ready(ready);
        }
      });
    };
    options.on_end = [this, weak = std::weak_ptr(pattern)](const absl::Status& status) {
      post([this, weak, status] {
        if (const PatternPtr ended = weak.lock()) {
          on_end(ended, status);
        }
      });
    };
    auto subscription = bus_.subscribe(
        {text}, std::move(options),
        [this, weak = std::weak_ptr(pattern)](const bus::Delivery& delivery, bus::Receipt receipt) {
          if (const PatternPtr holder = weak.lock()) {
            arrive(holder, delivery);
          }
          std::move(receipt).answer(bus::Answer::kSuccess);
        });
    if (!subscription.ok()) {
      return subscription.status();
    }
    pattern->subscription = *std::move(subscription);
    patterns_.emplace(text, pattern);
    patterns_gauge_->add(1);
  }
  {
    const std::lock_guard lock(pattern->mutex);
    pattern->streams.push_back(open.stream);
  }
  open.pending += pattern->ready ? 0 : 1;
  open.patterns.push_back(std::move(pattern));
  return absl::OkStatus();
}

void Fanout::leave(const PatternPtr& pattern, const StreamPtr& stream) {
  {
    const std::lock_guard lock(pattern->mutex);
    std::erase(pattern->streams, stream);
  }
  if (pattern->streams.empty() && pattern->subscription) {
    pattern->subscription.reset();
    patterns_.erase(pattern->text);
    patterns_gauge_->add(-1);
  }
}

bool Fanout::remove(const std::string& id, absl::Status status, Stream::Queued queued) {
  const auto found = open_.find(id);
  if (found == open_.end()) {
    return false;
  }
  const Open open = std::move(found->second);
  open_.erase(found);
  for (const PatternPtr& pattern : open.patterns) {
    leave(pattern, open.stream);
  }
  streams_gauge_->add(-1);
  open.stream->close(std::move(status), queued);
  return true;
}

void Fanout::on_ready(const PatternPtr& pattern) {
  if (std::exchange(pattern->ready, true)) {
    return;
  }
  const std::vector<StreamPtr> streams = pattern->streams;
  for (const StreamPtr& stream : streams) {
    const auto found = open_.find(stream->id());
    if (found != open_.end() && --found->second.pending == 0) {
      stream->start();
    }
  }
}

void Fanout::on_end(const PatternPtr& pattern, const absl::Status& status) {
  logger("gateway")->warn("the bus ended the subscription of {}: {}", printable(pattern->text),
                          message(status));
  const std::vector<StreamPtr> streams = pattern->streams;
  for (const StreamPtr& stream : streams) {
    remove(stream->id(), status, Stream::Queued::kWrite);
  }
}

void Fanout::arm_comments() {
  if (!comments_) {
    return;
  }
  comments_->expires_after(config_.sse_comment);
  comments_->async_wait([this](const boost::system::error_code& error) {
    if (error || !comments_) {
      return;
    }
    for (const auto& [id, open] : open_) {
      open.stream->comment();
    }
    arm_comments();
  });
}

}  // namespace virtufin::gateway

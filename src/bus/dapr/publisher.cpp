#include "bus/dapr/publisher.h"

#include <google/protobuf/empty.pb.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <random>
#include <utility>

#include "core/log.h"
#include "dapr/proto/runtime/v1/dapr.pb.h"

namespace virtufin::bus {
namespace {

using google::protobuf::Empty;
using std::chrono::milliseconds;
namespace runtime = ::dapr::proto::runtime::v1;

constexpr char kContentType[] = "application/cloudevents+json";

std::uint64_t random_instance() {
  thread_local std::mt19937_64 random{[] {
    std::random_device device;
    return (std::uint64_t{device()} << 32) | device();
  }()};
  return random();
}

std::string key_of(const TopicAddress& address) { return address.component + ' ' + address.topic; }

/// The sidecar was not there, or went away: it may not have seen the call.
bool is_away(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

}  // namespace

Publisher::Publisher(Sidecar& sidecar, Metrics& metrics)
    : sidecar_(sidecar),
      metrics_(metrics),
      config_(sidecar.config()),
      queued_shown_(metrics.gauge("virtufin_dapr_publish_queued_events",
                                  "Events that wait for the sidecar to take them")),
      forgotten_(metrics.counter("virtufin_dapr_counters_dropped_total",
                                 "Counters of topics dropped as idle, or to make room")) {}

void Publisher::publish(const std::shared_ptr<const TopicAddress>& address, EventPtr event,
                        PublishDone done) {
  absl::Status refused;
  Lane* to_send = nullptr;
  {
    std::lock_guard lock(mutex_);
    const std::size_t bytes = event->bytes().size();
    if (closed_) {
      refused = unavailable("the bus has ended");
    } else if (queued_ >= config_.queue_publishes ||
               queued_bytes_ + bytes > config_.queue_publish_bytes) {
      refused = unavailable(
          "{} events of {} bytes wait for sidecar {} already (bus.dapr.queue_publishes, "
          "queue_publish_bytes): is it there, and as fast as what is published?",
          queued_, queued_bytes_, sidecar_.endpoint());
    } else {
      const Time now = std::chrono::steady_clock::now();
      Lane& lane = lane_of(address, now);
      ++queued_;
      queued_bytes_ += bytes;
      queued_shown_->set(static_cast<std::int64_t>(queued_));
      lane.waiting.push_back(
          {std::move(event), std::move(done), now + config_.queue_wait, bytes, 0});
      if (!std::exchange(lane.busy, true)) to_send = &lane;
    }
  }
  if (to_send) {
    go_on(*to_send);
  } else if (!refused.ok() && done) {
    done(std::move(refused));
  }
}

Publisher::Lane& Publisher::lane_of(const std::shared_ptr<const TopicAddress>& address, Time now) {
  const std::string key = key_of(*address);
  auto found = lanes_.find(key);
  if (found == lanes_.end()) {
    forget_idle(now);
    auto made = std::make_unique<Lane>(Backoff(config_.reopen_first, config_.reopen_max));
    made->address = address;
    made->instance = random_instance();
    made->used = now;
    auto& metrics = component_metrics_[address->component];
    if (!metrics.published) {
      const Labels labels{{"component", address->component}};
      metrics.published = metrics_.counter("virtufin_dapr_published_total",
                                           "Events that the sidecar has acknowledged", labels);
      metrics.failed = metrics_.counter("virtufin_dapr_publish_failures_total",
                                        "Events that could not be published", labels);
      metrics.calls = metrics_.counter("virtufin_dapr_publish_calls_total",
                                       "Calls that publish, of one event or in bulk", labels);
    }
    made->metrics = &metrics;
    by_use_.push_front(made.get());
    made->place = by_use_.begin();
    found = lanes_.emplace(key, std::move(made)).first;
  }
  Lane& lane = *found->second;
  if (!lane.busy && now - lane.used >= config_.publisher_idle) {
    // Those who listen have forgotten it.
    lane.instance = random_instance();
    lane.next_counter = 1;
    forgotten_->add();
  }
  lane.used = now;
  by_use_.splice(by_use_.begin(), by_use_, lane.place);
  return lane;
}

void Publisher::forget_idle(Time now) {
  // A busy one is in use, however long ago its last event came.
  auto at = by_use_.end();
  while (at != by_use_.begin()) {
    --at;
    Lane& lane = **at;
    const bool idle = now - lane.used >= config_.publisher_idle;
    if (!idle && lanes_.size() < config_.publishers_max) return;
    if (lane.busy) continue;
    at = by_use_.erase(at);
    lanes_.erase(key_of(*lane.address));
    forgotten_->add();
  }
}

void Publisher::release(const Item& item) {
  --queued_;
  queued_bytes_ -= item.bytes;
}

absl::Status Publisher::away() const {
  return unavailable(
      "sidecar {} has not taken the event within {} ms (bus.dapr.queue_wait_ms): is daprd running, "
      "and does its broker answer?",
      sidecar_.endpoint(), config_.queue_wait.count());
}

absl::Status Publisher::failure(const Lane& lane, const absl::Status& status) const {
  if (is_away(status)) return away();
  const auto code = absl::IsResourceExhausted(status) ? absl::StatusCode::kResourceExhausted
                                                      : absl::StatusCode::kUnavailable;
  return make_status(code, "component {} did not take an event of '{}': {}",
                     lane.address->component, printable(lane.address->topic),
                     printable(message(status), 500));
}

/// Chooses what goes in the lane's next call. False: nothing waits, and the lane is idle.
bool Publisher::fill(Lane& lane, Failures& failures) {
  const Time now = std::chrono::steady_clock::now();
  std::size_t bytes = 0;
  if (lane.address->market && !lane.in_bulk && lane.waiting.size() > 1) {
    const auto kind = TopicMap::kind(sidecar_.info().get(), lane.address->component);
    lane.in_bulk = kind && TopicMap::in_bulk(*lane.address, *kind);
  }
  const std::size_t most = lane.in_bulk ? config_.bulk_max : 1;
  while (!lane.waiting.empty() && lane.out.size() < most) {
    Item& item = lane.waiting.front();
    if (item.deadline <= now) {
      failures.emplace_back(std::move(item.done), away());
      release(item);
      lane.metrics->failed->add();
    } else {
      bytes += item.bytes;
      if (!lane.out.empty() && bytes > config_.bulk_bytes_max) break;
      if (item.counter == 0) item.counter = lane.next_counter++;
      lane.out.push_back(std::move(item));
    }
    lane.waiting.pop_front();
  }
  lane.busy = !lane.out.empty();
  queued_shown_->set(static_cast<std::int64_t>(queued_));
  return lane.busy;
}

/// Of a lane that is busy and has no call out.
void Publisher::go_on(Lane& lane) {
  Failures failures;
  bool sends = false;
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    if (calls_ >= config_.publish_calls) {
      ready_.push_back(&lane);
    } else if (fill(lane, failures)) {
      ++calls_;
      sends = true;
    }
  }
  for (auto& [done, status] : failures) {
    if (done) done(std::move(status));
  }
  if (sends) send(lane);
}

void Publisher::send(Lane& lane) {
  lane.metrics->calls->add();
  const auto left = std::chrono::duration_cast<milliseconds>(lane.out.front().deadline -
                                                             std::chrono::steady_clock::now());
  const auto timeout = std::clamp(left, milliseconds(1), config_.call_timeout);
  if (lane.out.size() == 1) {
    send_one(lane, timeout);
  } else {
    send_bulk(lane, timeout);
  }
}

void Publisher::send_one(Lane& lane, milliseconds timeout) {
  runtime::PublishEventRequest request;
  request.set_pubsub_name(lane.address->component);
  request.set_topic(lane.address->topic);
  request.set_data_content_type(kContentType);
  const Item& item = lane.out.front();
  request.set_data(encode_envelope(*item.event, {lane.instance, item.counter}));
  sidecar_.call<Empty>("PublishEvent", request, {timeout, /*wait_for_ready=*/true},
                       [self = shared_from_this(), &lane](absl::StatusOr<Empty> answer) {
                         self->ended(lane, answer.status(), nullptr);
                       });
}

void Publisher::send_bulk(Lane& lane, milliseconds timeout) {
  runtime::BulkPublishRequest request;
  request.set_pubsub_name(lane.address->component);
  request.set_topic(lane.address->topic);
  for (std::size_t i = 0; i < lane.out.size(); ++i) {
    auto& entry = *request.add_entries();
    entry.set_entry_id(std::to_string(i));
    entry.set_content_type(kContentType);
    entry.set_event(encode_envelope(*lane.out[i].event, {lane.instance, lane.out[i].counter}));
  }
  bool alpha;
  {
    std::lock_guard lock(mutex_);
    alpha = bulk_is_alpha_;
  }
  sidecar_.call<runtime::BulkPublishResponse>(
      alpha ? "BulkPublishEventAlpha1" : "BulkPublishEvent", request,
      {timeout, /*wait_for_ready=*/true},
      [self = shared_from_this(), &lane,
       alpha](absl::StatusOr<runtime::BulkPublishResponse> answer) {
        if (absl::IsUnimplemented(answer.status()) && !alpha) {
          {
            std::lock_guard lock(self->mutex_);
            self->bulk_is_alpha_ = true;
          }
          self->send(lane);
          return;
        }
        self->ended(lane, answer.status(), answer.ok() ? &*answer : nullptr);
      });
}

void Publisher::ended(Lane& lane, const absl::Status& status,
                      const runtime::BulkPublishResponse* response) {
  Failures told;
  Lane* next = nullptr;
  std::optional<milliseconds> pause;
  {
    std::lock_guard lock(mutex_);
    --calls_;
    const bool again = is_away(status) && !closed_;
    const Time now = std::chrono::steady_clock::now();
    std::vector<std::string> errors(lane.out.size());
    std::vector<bool> failed(lane.out.size(), !status.ok());
    if (response) {
      for (const auto& entry : response->failedentries()) {
        std::size_t index = 0;
        const auto& id = entry.entry_id();
        const auto parsed = std::from_chars(id.data(), id.data() + id.size(), index);
        if (parsed.ec != std::errc() || index >= failed.size()) continue;
        failed[index] = true;
        errors[index] = entry.error();
      }
    }
    for (std::size_t i = lane.out.size(); i-- > 0;) {
      Item& item = lane.out[i];
      if (again && item.deadline > now) {
        lane.waiting.push_front(std::move(item));
        continue;
      }
      absl::Status result;
      if (failed[i]) {
        lane.metrics->failed->add();
        if (closed_) {
          result = unavailable("the bus has ended while the event was on its way to the sidecar");
        } else {
          result = failure(lane, status.ok() ? internal_error("{}", errors[i]) : status);
        }
      } else {
        lane.metrics->published->add();
      }
      told.emplace_back(std::move(item.done), std::move(result));
      release(item);
    }
    lane.out.clear();
    queued_shown_->set(static_cast<std::int64_t>(queued_));
    if (again) {
      pause = lane.backoff.next();
    } else {
      lane.backoff.succeeded();
    }
    if (!ready_.empty()) {
      next = ready_.front();
      ready_.pop_front();
    }
  }
  for (auto at = told.rbegin(); at != told.rend(); ++at) {
    if (at->first) at->first(std::move(at->second));
  }
  if (next) go_on(*next);
  if (pause) {
    sidecar_.after(*pause, [weak = weak_from_this(), &lane] {
      if (const auto self = weak.lock()) self->go_on(lane);
    });
  } else {
    go_on(lane);
  }
}

void Publisher::close() {
  std::vector<PublishDone> dones;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    for (auto& [key, lane] : lanes_) {
      for (Item& item : lane->waiting) {
        dones.push_back(std::move(item.done));
        release(item);
        lane->metrics->failed->add();
      }
      lane->waiting.clear();
    }
    ready_.clear();
    queued_shown_->set(static_cast<std::int64_t>(queued_));
  }
  for (auto& done : dones) {
    if (done) done(unavailable("the bus has ended before the sidecar took the event"));
  }
}

}  // namespace virtufin::bus

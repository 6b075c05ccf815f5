#pragma once

#include <chrono>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bus/bus.h"
#include "bus/dapr/envelope.h"
#include "bus/dapr/sidecar.h"
#include "bus/dapr/topic_map.h"
#include "core/errors.h"
#include "core/metrics.h"

namespace dapr::proto::runtime::v1 {
class BulkPublishResponse;
}

namespace virtufin::bus {

/// Events on their way to the sidecar. Each topic is a lane: one call is out, what comes meanwhile
/// waits, in order. A call takes one event, on market topics all that wait, up to `bulk_max`.
///
/// A call that finds no sidecar is repeated, with the same counters, until an event has waited
/// `queue_wait_ms`; any other error fails the events that it is about, at once: UNAVAILABLE with
/// the sidecar's words. What one event fails on does not touch another's.
///
/// Life: shared with the calls that are out; close() fails what waits.
/// Threads: any. `done` runs on the caller's thread if refused at once, else on the sidecar's.
class Publisher : public std::enable_shared_from_this<Publisher> {
 public:
  Publisher(Sidecar& sidecar, Metrics& metrics);

  void publish(const std::shared_ptr<const TopicAddress>& address, EventPtr event,
               PublishDone done);
  void close();

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Item {
    EventPtr event;
    PublishDone done;
    Time deadline;
    std::size_t bytes = 0;
    std::uint64_t counter = 0;  // 0: not sent yet
  };
  struct ComponentMetrics {
    std::shared_ptr<Counter> published, failed, calls;
  };
  struct Lane {
    explicit Lane(Backoff pause) : backoff(pause) {}
    std::shared_ptr<const TopicAddress> address;
    std::uint64_t instance = 0, next_counter = 1;
    std::deque<Item> waiting;
    std::vector<Item> out;  // of the call that is out; nobody else's while busy
    bool busy = false;      // a call is out, or one is to be made
    bool in_bulk = false;   // known once the sidecar has told of the component
    Backoff backoff;
    Time used;
    const ComponentMetrics* metrics = nullptr;
    std::list<Lane*>::iterator place;  // in by_use_
  };
  using Failures = std::vector<std::pair<PublishDone, absl::Status>>;

  Lane& lane_of(const std::shared_ptr<const TopicAddress>& address, Time now);
  void forget_idle(Time now);
  bool fill(Lane& lane, Failures& failures);
  void go_on(Lane& lane);
  void send(Lane& lane);
  void send_one(Lane& lane, std::chrono::milliseconds timeout);
  void send_bulk(Lane& lane, std::chrono::milliseconds timeout);
  void ended(Lane& lane, const absl::Status& status,
             const ::dapr::proto::runtime::v1::BulkPublishResponse* response);
  absl::Status failure(const Lane& lane, const absl::Status& status) const;
  absl::Status away() const;
  void release(const Item& item);

  Sidecar& sidecar_;
  Metrics& metrics_;
  const DaprConfig config_;
  const std::shared_ptr<Gauge> queued_shown_;
  const std::shared_ptr<Counter> forgotten_;

  std::mutex mutex_;
  bool closed_ = false;
  bool bulk_is_alpha_ = false;  // a sidecar that knows the older name only
  std::size_t queued_ = 0, queued_bytes_ = 0, calls_ = 0;
  StringMap<std::unique_ptr<Lane>> lanes_;  // by component and topic
  std::list<Lane*> by_use_;                 // the one used last in front
  std::deque<Lane*> ready_;                 // busy, and waiting for a call to be free
  StringMap<ComponentMetrics> component_metrics_;
};

}  // namespace virtufin::bus

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bus/bus.h"
#include "bus/dapr/sidecar.h"
#include "bus/memory/memory_bus.h"
#include "core/module.h"

namespace virtufin {
class Clock;
class Metrics;
}  // namespace virtufin

namespace virtufin::bus {

/// The bus behind a Dapr sidecar: what is published goes to the sidecar's broker, and what comes
/// from there is handed to the subscriptions of this process. What brokers behind Dapr do not
/// promise is made true here: a publisher's order, retries that end, dead letters that arrive.
///
/// Publishing: complete when the sidecar has acknowledged. While the sidecar is away, publishes
/// wait (`queue_publishes`, `queue_publish_bytes`, `queue_wait_ms`) and then fail with UNAVAILABLE.
/// One call is out per topic; on market topics (`act.`, `hyp.`) it takes all that waits, up to
/// `bulk_max`.
/// Subscriptions: one stream to the sidecar for each component and topic (JetStream: and root),
/// shared in the process, opened again with back-off for as long as somebody subscribes. A
/// subscription stands (on_ready) when its streams do. With `block` an event is answered to the
/// sidecar when it has been handled, or its dead letter acknowledged, and the sidecar is made to
/// wait beyond `queue_arrivals` unanswered ones; with every other policy it is answered when it is
/// here. What is queued when a stream's last subscription ends is left unanswered and comes again.
/// Order: by `busorder`, see reorder.h; with `replicas` above 1 there is none to restore.
///
/// Life: subscriptions and topics may outlive it; the sidecar and the clock do outlive it. Its
/// destructor ends the subscriptions that still stand, and fails what waits to be published, with
/// UNAVAILABLE.
/// Threads: any. Callbacks run on the sidecar's thread, or on the subscription's executor.
class DaprBus final : public Bus {
 public:
  /// Of `[bus]` the retry settings apply; all else is in the sidecar's config, `[bus.dapr]`.
  DaprBus(Sidecar& sidecar, const Clock& clock, BusConfig config, Metrics& metrics);
  ~DaprBus() override;

  TopicPtr topic(std::string_view name) override;
  void publish(const TopicPtr& topic, EventPtr event, PublishDone done = {}) override;
  absl::StatusOr<std::unique_ptr<Subscription>> subscribe(std::vector<std::string> patterns,
                                                          SubscribeOptions options,
                                                          Handler handler) override;

  /// Readiness, to be shown beside Sidecar::health(): `dapr bus` is OK when every stream stands,
  /// and named `dapr bus, order: none` if `replicas` is above 1. Cheap.
  std::vector<HealthEntry> health() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace virtufin::bus

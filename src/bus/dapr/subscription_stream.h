#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "bus/bus.h"
#include "bus/dapr/envelope.h"
#include "bus/dapr/reorder.h"
#include "bus/dapr/sidecar.h"
#include "bus/dapr/topic_map.h"
#include "core/errors.h"
#include "core/metrics.h"

namespace dapr::proto::runtime::v1 {
class SubscribeTopicEventsResponseAlpha1;
class TopicEventRequest;
}  // namespace dapr::proto::runtime::v1

namespace virtufin::bus {

/// Events of `topic` that will not come in their place, if at all.
struct Hole {
  std::string_view topic;
  std::uint64_t expected = 0, received = 0;  ///< the first that is missing; the next that is here
};

/// Who is told what a stream brings.
class StreamReceiver {
 public:
  virtual ~StreamReceiver() = default;
  /// An event in its publisher's order, or late. `done` runs once, anywhere, when all who wanted it
  /// have dealt with it; CANCELLED or UNAVAILABLE: somebody did not get to.
  virtual void arrived(std::string_view topic, EventPtr event, PublishDone done) = 0;
  /// On a market topic, ahead of `next`, the first event behind the hole.
  virtual void hole(const Hole& hole, const Event& next) = 0;
  /// The subscription has been accepted, first or again.
  virtual void stands(const TopicSource& source) = 0;
};

/// One streaming subscription to the sidecar: opened, and opened again with back-off until it is
/// closed; restores order; answers each event when it has been dealt with. Never answers RETRY,
/// which brokers repeat without pause or end.
///
/// An event is answered once under its id, because the sidecar tells events by that alone: of two
/// under way with one id it awaits one answer.
/// Life: held by its owner and by what it delivered. close(): nothing is delivered from then on;
/// what is unanswered is left so, and comes again to the next who subscribes.
/// Threads: any; the receiver is called on the sidecar's.
class SubscriptionStream : public std::enable_shared_from_this<SubscriptionStream> {
 public:
  SubscriptionStream(Sidecar& sidecar, TopicSource source, std::weak_ptr<StreamReceiver> receiver,
                     Metrics& metrics);

  void open();
  void close();
  /// Nothing more is delivered; the sidecar waits. What is out is still answered.
  void stop_intake();
  /// Delivers what came meanwhile, and goes on.
  void restart_intake();

  const TopicSource& source() const { return source_; }
  bool standing() const;
  /// OK while it stands; else why not, and what to do.
  absl::Status health() const;

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Item {
    std::string id;
    std::uint64_t incarnation = 0;
    EventPtr event;
  };
  using Order = Reorder<Item>;
  struct Parked {
    std::string topic;
    Item item;
    bool late;
  };

  // On the sidecar's thread.
  bool on_message(std::uint64_t incarnation,
                  ::dapr::proto::runtime::v1::SubscribeTopicEventsResponseAlpha1& message);
  void on_event(std::uint64_t incarnation, ::dapr::proto::runtime::v1::TopicEventRequest& message);
  void on_end(std::uint64_t incarnation, absl::Status status);
  void carry_out(Order::Steps& steps);
  void deliver(std::string_view topic, Item item, bool late);
  void hand_out(std::string_view topic, Item item, bool late);
  void unpark();
  void expire();
  void arm();

  void dealt_with(std::uint64_t incarnation, const std::string& id, const absl::Status& status);
  void answer(const std::shared_ptr<SidecarStream>& stream, const std::string& id) const;
  bool forget_id(const std::string& id);  // under mutex_; true: it is to be answered now

  Sidecar& sidecar_;
  const TopicSource source_;
  const std::weak_ptr<StreamReceiver> receiver_;
  const DaprConfig config_;
  const bool restores_order_;
  /// The in-memory component hands out one event at a time, makes publishers wait for its answer,
  /// and never repeats one: nothing is gained by answering it late.
  const bool answers_at_once_;
  const std::shared_ptr<Counter> received_, late_, missing_, unreadable_, reopened_, forgotten_;
  const std::shared_ptr<Gauge> unanswered_shown_, reordering_shown_;

  // The sidecar's thread only.
  Order order_;
  std::uint64_t windows_told_ = 0;
  std::optional<Time> armed_;
  std::deque<Parked> parked_;  // came while there was no intake

  std::mutex opening_;  // taken before mutex_
  mutable std::mutex mutex_;
  bool closed_ = false, standing_ = false, paused_ = false;
  bool intake_ = true;
  bool resumed_ = false;  // since expire() looked last
  absl::Status problem_ = unavailable("it has not been opened yet");
  std::uint64_t incarnation_ = 0;
  std::shared_ptr<SidecarStream> stream_;
  std::size_t unsettled_ = 0;   // handed out and not dealt with, of this incarnation
  StringMap<std::size_t> ids_;  // that the sidecar may await an answer for
  Backoff backoff_;
};

}  // namespace virtufin::bus

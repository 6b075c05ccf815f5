#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "bus/bus.h"
#include "modules/gateway/fanout.h"
#include "rpc/http_route.h"
#include "rpc/method.h"

namespace virtufin::gateway {

/// Pubsub's methods, and the handlers of its two routes beyond transcoding: the forms of a
/// published body, and server-sent events over the same fan-out as Subscribe.
///
/// Life: held by shared_ptr, by what it registered too.
/// Threads: any, once registered.
class PubsubService : public std::enable_shared_from_this<PubsubService> {
 public:
  PubsubService(bus::Bus& bus, std::shared_ptr<Fanout> fanout);

  void register_methods(rpc::MethodTable& methods);

  /// PublishEvent and Subscribe answer UNAVAILABLE from here on.
  void close_intake() { closed_.store(true, std::memory_order_release); }

  /// `POST /v1/pubsub/{topic}`.
  void publish_over_http(const std::shared_ptr<rpc::HttpExchange>& exchange) const;
  /// `GET /v1/pubsub/stream`.
  void stream_over_http(const std::shared_ptr<rpc::HttpExchange>& exchange) const;

 private:
  absl::Status check_open() const;
  /// `done` runs once: OK when the bus has taken the event.
  void publish(std::string_view topic, absl::StatusOr<EventPtr> event, bus::PublishDone done) const;

  bus::Bus& bus_;
  const std::string published_json_;  ///< what transcoding makes of the method's answer
  const std::shared_ptr<Fanout> fanout_;
  std::atomic<bool> closed_{false};
};

}  // namespace virtufin::gateway

#pragma once

#include <memory>
#include <string>

#include "bus/bus.h"
#include "rpc/method.h"

namespace virtufin::gateway {

/// One event on its way to many streams. Each form is made once, however many streams take it.
///
/// Threads: make_*() on the thread that fans out, before the event is in any queue; the rest from
/// any thread after that.
class FanoutEvent {
 public:
  FanoutEvent(bus::TopicPtr topic, EventPtr event)
      : topic_(std::move(topic)), event_(std::move(event)) {}

  void make_proto();
  void make_sse();

  /// The serialised SubscribeResponse, without subscription_id and missed.
  const rpc::BytesPtr& proto() const { return proto_; }
  /// The server-sent event up to where its JSON object may go on or end.
  const std::string& sse() const { return sse_; }

 private:
  bus::TopicPtr topic_;
  EventPtr event_;
  rpc::BytesPtr proto_;
  std::string sse_;
};
using FanoutEventPtr = std::shared_ptr<const FanoutEvent>;

}  // namespace virtufin::gateway

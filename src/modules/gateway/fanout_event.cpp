#include "modules/gateway/fanout_event.h"

#include "core/event_codec.h"
#include "core/json_text.h"
#include "virtufin/pubsub.pb.h"

namespace virtufin::gateway {

void FanoutEvent::make_proto() {
  if (proto_) {
    return;
  }
  SubscribeResponse response;
  response.set_topic(std::string(bus::name(topic_)));
  to_proto(*event_, *response.mutable_cloudevent());
  proto_ = rpc::make_bytes(response);
}

void FanoutEvent::make_sse() {
  if (!sse_.empty()) {
    return;
  }
  sse_ = "id: ";
  sse_ += event_->id();
  sse_ += "\ndata: {\"topic\":";
  append_json_string(sse_, bus::name(topic_));
  sse_ += ",\"cloudevent\":";
  append_json(*event_, sse_);  // on one line, as a server-sent event must be
}

}  // namespace virtufin::gateway

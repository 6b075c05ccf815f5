#include "modules/gateway/fanout_event.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "core/event_codec.h"
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
  std::string json;
  append_json(*event_, json);
  // A payload keeps its caller's white space, but a server-sent event's data is one line. Within
  // JSON strings there is no bare line break, so this changes no value.
  std::replace_if(
      json.begin(), json.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  sse_ = "id: ";
  sse_ += event_->id();
  sse_ += "\ndata: {\"topic\":";
  append_json_string(bus::name(topic_), sse_);
  sse_ += ",\"cloudevent\":";
  sse_ += json;
}

void append_json_string(std::string_view text, std::string& out) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

}  // namespace virtufin::gateway

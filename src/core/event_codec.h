#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/event.h"

namespace io::cloudevents::v1 {
class CloudEvent;
}

/// An event's forms at the edges, each with its way back. A round trip loses neither a value nor
/// its kind. Errors: INVALID_ARGUMENT naming the attribute. Threads: any.
namespace virtufin {

/// Structured JSON, `application/cloudevents+json`. Extensions keep their order.
absl::StatusOr<EventPtr> event_from_json(std::string_view json);
void append_json(const Event& event, std::string& out);
std::string to_json(const Event& event);

/// HTTP binary mode: `ce-` headers and a body. Header names in any case.
using HttpHeader = std::pair<std::string_view, std::string_view>;
absl::StatusOr<EventPtr> event_from_http(const std::vector<HttpHeader>& headers,
                                         std::string_view body);
struct HttpEvent {
  std::vector<std::pair<std::string, std::string>> headers;  ///< `content-type` and `ce-…`
  std::string body;
};
HttpEvent to_http(const Event& event);

/// The CloudEvents protobuf. Its map of attributes has no order.
absl::StatusOr<EventPtr> event_from_proto(const io::cloudevents::v1::CloudEvent& proto);
void to_proto(const Event& event, io::cloudevents::v1::CloudEvent& out);

}  // namespace virtufin

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

/// An event's forms at the edges, each with its way back. What came in one form goes out in it
/// without losing a value or its kind. A form that has fewer kinds than an event (JSON has string,
/// boolean and integer; headers have text) carries the others as text. Errors: INVALID_ARGUMENT
/// naming the attribute. Threads: any.
namespace virtufin {

struct DecodeOptions {
  /// As EventFields::config_names: for what has been through a worker.
  bool config_names = false;
};

/// Structured JSON, `application/cloudevents+json`, on one line. Extensions keep their order;
/// payload numbers are not touched. Attributes that are null are absent.
absl::StatusOr<EventPtr> event_from_json(std::string_view json, DecodeOptions options = {});
void append_json(const Event& event, std::string& out);
std::string to_json(const Event& event);

/// HTTP binary mode: `ce-` headers and a body, values percent-encoded as the CloudEvents HTTP
/// binding says. Header names in any case. An empty body is data only beside a `content-type`.
using HttpHeader = std::pair<std::string_view, std::string_view>;
absl::StatusOr<EventPtr> event_from_http(const std::vector<HttpHeader>& headers,
                                         std::string_view body, DecodeOptions options = {});
struct HttpEvent {
  std::vector<std::pair<std::string, std::string>> headers;  ///< `content-type` and `ce-…`
  std::string body;
};
/// Fails for an extension whose name no header can have (upper case, spaces): worker config keys.
absl::StatusOr<HttpEvent> to_http(const Event& event);

/// The CloudEvents protobuf. Its map of attributes has no order; extensions are put in that of
/// their names. `time` is a timestamp if that says the same, else text (an offset, more digits).
absl::StatusOr<EventPtr> event_from_proto(const io::cloudevents::v1::CloudEvent& proto,
                                          DecodeOptions options = {});
void to_proto(const Event& event, io::cloudevents::v1::CloudEvent& out);

/// `application/json`, `*/json`, `*/*+json`, with parameters or without.
bool is_json_type(std::string_view content_type);

/// What an event's data is, by its bytes too: never kByContentType; JSON only if it parses, text
/// only if it is UTF-8, else binary.
DataKind resolve_data_kind(const Event& event);

}  // namespace virtufin

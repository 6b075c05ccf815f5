#pragma once

#include <flatbuffers/flatbuffers.h>
#include <io/cloudevents/v1/cloudevents.pb.h>
#include <worker_api_generated.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "core/errors.h"
#include "core/event_codec.h"
#include "core/event_writer.h"

/// What must hold of every event, however it was made: it is a FlatBuffer, it can be written in
/// every form, and what is read from there is written the same again.
namespace virtufin::fuzz {

inline void require(bool holds, std::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

inline EventPtr require_event(absl::StatusOr<EventPtr> event, std::string_view form) {
  require(event.ok(), std::string(form).append(": ").append(message(event.status())));
  return std::move(*event);
}

inline void check_flatbuffer(const Event& event) {
  const auto bytes = event.bytes();
  flatbuffers::Verifier verifier(bytes.data(), bytes.size());
  require(Virtufin::Worker::FlatBuffers::VerifyCloudEventBuffer(verifier), "the verifier accepts");
  const EventPtr again = require_event(parse_event(bytes), "from FlatBuffer");
  require(as_text(again->bytes()) == as_text(bytes), "the same FlatBuffer");
  require(again->event_time() == event.event_time(), "the same event time");
  require(again->scenario_id() == event.scenario_id(), "the same scenario");
}

inline void check_json(const Event& event) {
  const std::string json = to_json(event);
  require(json.find_first_of("\r\n") == std::string::npos, "JSON on one line");
  const EventPtr again = require_event(event_from_json(json, {.config_names = true}), "from JSON");
  require(to_json(*again) == json, "the same JSON");
  require(again->extension_count() == event.extension_count(), "all extensions in JSON");
}

inline void check_proto(const Event& event) {
  io::cloudevents::v1::CloudEvent first, second;
  to_proto(event, first);
  const EventPtr again =
      require_event(event_from_proto(first, {.config_names = true}), "from protobuf");
  to_proto(*again, second);
  require(
      first.ByteSizeLong() == second.ByteSizeLong() && first.data_case() == second.data_case() &&
          first.binary_data() == second.binary_data() && first.text_data() == second.text_data() &&
          first.proto_data().SerializeAsString() == second.proto_data().SerializeAsString() &&
          first.attributes().size() == second.attributes().size(),
      "the same protobuf");
  for (const auto& [name, value] : first.attributes()) {
    const auto found = second.attributes().find(name);
    require(found != second.attributes().end() &&
                found->second.SerializeAsString() == value.SerializeAsString(),
            "the same attribute in protobuf");
  }
  require(again->data().size() == event.data().size() || event.data_kind() == DataKind::kProto,
          "the same data in protobuf");
}

inline void check_http(const Event& event) {
  const auto http = to_http(event);
  if (!http.ok()) return;  // a worker config key that no header can carry
  const std::vector<HttpHeader> headers(http->headers.begin(), http->headers.end());
  const EventPtr again =
      require_event(event_from_http(headers, http->body, {.config_names = true}), "from HTTP");
  require(again->id() == event.id() && again->subject() == event.subject(),
          "the same attributes in HTTP");
  require(as_text(again->data()) == as_text(event.data()), "the same data in HTTP");
  require(again->extension_count() == event.extension_count(), "all extensions in HTTP");
  for (std::size_t i = 0; i < event.extension_count(); ++i) {
    require(again->extension_at(i).name == event.extension_at(i).name &&
                again->extension_at(i).value == event.extension_at(i).value,
            "the same extension in HTTP");
  }
}

inline void check_round_trips(const Event& event) {
  check_flatbuffer(event);
  check_json(event);
  check_proto(event);
  check_http(event);
}

}  // namespace virtufin::fuzz

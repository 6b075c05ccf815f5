#include "modules/gateway/publish_body.h"

#include <absl/strings/escaping.h>
#include <google/protobuf/util/json_util.h>
#include <simdjson.h>

#include <algorithm>
#include <optional>

#include "core/errors.h"
#include "core/event_codec.h"
#include "core/event_writer.h"
#include "core/log.h"
#include "core/uuid.h"
#include "io/cloudevents/v1/cloudevents.pb.h"

namespace virtufin::gateway {
namespace {

constexpr std::string_view kForms =
    "send a structured CloudEvent, ce- headers, {\"cloudevent\": …} or {\"data\": \"<base64>\"}";

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool starts_with_any_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), text.begin(),
                                                    [](char a, char b) { return a == lower(b); });
}

/// The media type in lower case, without parameters.
std::string media_type(const std::vector<std::pair<std::string, std::string>>& headers) {
  for (const auto& [name, value] : headers) {
    if (name.size() == 12 && starts_with_any_case(name, "content-type")) {
      std::string type = value.substr(0, value.find(';'));
      type.erase(std::remove_if(type.begin(), type.end(), [](char c) { return c == ' '; }),
                 type.end());
      std::transform(type.begin(), type.end(), type.begin(), lower);
      return type;
    }
  }
  return {};
}

/// The members of an object that tell the forms apart; values as slices of the body.
struct Members {
  std::optional<std::string_view> cloudevent;
  std::optional<std::string> data;  ///< a string, decoded
  bool specversion = false;         ///< of the JSON format
  bool spec_version = false;        ///< of the proto3 mapping
  std::string other;                ///< the first member that is none of these and not `topic`
};

absl::StatusOr<Members> read_members(std::string_view json) {
  using simdjson::ondemand::json_type;
  const auto bad = [](simdjson::error_code error) {
    return invalid_argument("the body is not a JSON object ({}); {}",
                            simdjson::error_message(error), kForms);
  };
  simdjson::ondemand::parser parser;
  const simdjson::padded_string padded(json);
  simdjson::ondemand::document document;
  simdjson::ondemand::object object;
  if (const auto error = parser.iterate(padded).get(document)) {
    return bad(error);
  }
  if (const auto error = document.get_object().get(object)) {
    return bad(error);
  }
  Members members;
  for (auto entry : object) {
    std::string_view key;
    simdjson::ondemand::value value;
    if (const auto error = entry.unescaped_key().get(key)) {
      return bad(error);
    }
    if (const auto error = entry.value().get(value)) {
      return bad(error);
    }
    if (key == "cloudevent") {
      json_type type;
      std::string_view raw;
      if (const auto error = value.type().get(type)) {
        return bad(error);
      }
      simdjson::ondemand::object inner;
      if (type != json_type::object || value.get_object().get(inner)) {
        return invalid_argument("cloudevent is not a JSON object; {}", kForms);
      }
      if (members.cloudevent) {
        return invalid_argument("cloudevent is given twice");
      }
      if (const auto error = inner.raw_json().get(raw)) {
        return bad(error);
      }
      members.cloudevent =
          json.substr(static_cast<std::size_t>(raw.data() - padded.data()), raw.size());
    } else if (key == "data") {
      json_type type;
      if (const auto error = value.type().get(type)) {
        return bad(error);
      }
      if (type == json_type::string) {
        std::string_view text;
        if (const auto error = value.get_string().get(text)) {
          return bad(error);
        }
        members.data = text;
      }
    } else if (key == "specversion") {
      members.specversion = true;
    } else if (key == "specVersion" || key == "spec_version") {
      members.spec_version = true;
    } else if (key != "topic" && members.other.empty()) {
      members.other = key;
    }
  }
  if (!document.current_location().error()) {
    return invalid_argument("the body goes on after its JSON object");
  }
  return members;
}

absl::StatusOr<EventPtr> event_from_mapping(std::string_view json) {
  io::cloudevents::v1::CloudEvent proto;
  const auto status = google::protobuf::util::JsonStringToMessage(
      google::protobuf::StringPiece(json.data(), json.size()), &proto);
  if (!status.ok()) {
    return invalid_argument("cloudevent: {}", status.ToString());
  }
  return event_from_proto(proto);
}

/// The value of `cloudevent`: the two mappings spell specversion differently, and it is required.
absl::StatusOr<EventPtr> event_from_member(std::string_view json) {
  const auto members = read_members(json);
  if (!members.ok()) {
    return with_context(members.status(), "cloudevent");
  }
  if (members->specversion) {
    return event_from_json(json);
  }
  if (members->spec_version) {
    return event_from_mapping(json);
  }
  return invalid_argument(
      "cloudevent has no specversion (structured JSON) and no specVersion (proto3 mapping)");
}

absl::StatusOr<EventPtr> event_from_old_form(std::string_view base64) {
  std::string data;
  if (!absl::Base64Unescape(to_absl(base64), &data)) {
    return invalid_argument("data '{}' is not base64; {}", printable(base64, 40), kForms);
  }
  const UuidText id = random_uuid();
  EventFields fields;
  fields.id = id.view();
  fields.type = "com.virtufin.api.message";
  fields.source = "urn:com.virtufin.api";
  fields.data = as_bytes(data);
  return make_event(fields);
}

}  // namespace

absl::StatusOr<EventPtr> event_from_publish_body(
    const std::vector<std::pair<std::string, std::string>>& headers, std::string_view body) {
  const std::string type = media_type(headers);
  // As CloudEvents' HTTP binding has it: the content type tells structured mode, and what is left
  // is binary mode if the event's attributes are in the headers.
  if (type == "application/cloudevents+json") {
    return event_from_json(body);
  }
  if (type.rfind("application/cloudevents", 0) == 0) {
    return invalid_argument("content type {} is not supported; send application/cloudevents+json",
                            printable(type));
  }
  const bool binary = std::any_of(headers.begin(), headers.end(), [](const auto& header) {
    return starts_with_any_case(header.first, "ce-");
  });
  if (binary) {
    std::vector<HttpHeader> views(headers.begin(), headers.end());
    return event_from_http(views, body);
  }

  const auto members = read_members(body);
  if (!members.ok()) {
    return members.status();
  }
  if (members->specversion) {
    return event_from_json(body);
  }
  if (!members->other.empty()) {
    return invalid_argument("'{}' is no member that is known here; {}", printable(members->other),
                            kForms);
  }
  if (members->cloudevent && !members->data) {
    return event_from_member(*members->cloudevent);
  }
  if (members->data && !members->cloudevent) {
    return event_from_old_form(*members->data);
  }
  return invalid_argument("the body holds no event; {}", kForms);
}

}  // namespace virtufin::gateway

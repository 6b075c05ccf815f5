#include <absl/strings/escaping.h>
#include <google/protobuf/any.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <io/cloudevents/v1/cloudevents.pb.h>

#include <algorithm>
#include <charconv>
#include <deque>

#include "core/errors.h"
#include "core/event_codec.h"
#include "core/event_writer.h"
#include "core/json_check.h"

namespace virtufin {
namespace {

namespace ce = io::cloudevents::v1;
using Value = ce::CloudEventAttributeValue;

// What a protobuf Timestamp may be: the years 1 to 9999.
constexpr std::int64_t kFirstSecond = -62'135'596'800;
constexpr std::int64_t kLastSecond = 253'402'300'799;
constexpr std::int32_t kLastNano = 999'999'999;

/// Texts that fields point to while an event is put together.
using Texts = std::deque<std::string>;

/// An attribute's value as text and kind.
absl::Status read_value(std::string_view name, const Value& value, Texts& texts, Extension& out) {
  switch (value.attr_case()) {
    case Value::kCeBoolean:
      out.kind = AttributeKind::kBoolean;
      out.value = value.ce_boolean() ? "true" : "false";
      return {};
    case Value::kCeInteger:
      out.kind = AttributeKind::kInteger;
      out.value = texts.emplace_back(std::to_string(value.ce_integer()));
      return {};
    case Value::kCeString: out.value = value.ce_string(); return {};
    case Value::kCeBytes:
      out.kind = AttributeKind::kBytes;
      out.value = texts.emplace_back(absl::Base64Escape(value.ce_bytes()));
      return {};
    case Value::kCeUri:
      out.kind = AttributeKind::kUri;
      out.value = value.ce_uri();
      return {};
    case Value::kCeUriRef:
      out.kind = AttributeKind::kUriReference;
      out.value = value.ce_uri_ref();
      return {};
    case Value::kCeTimestamp: {
      const std::int64_t seconds = value.ce_timestamp().seconds();
      const std::int32_t nanos = value.ce_timestamp().nanos();
      if (seconds < kFirstSecond || seconds > kLastSecond || nanos < 0 || nanos > kLastNano) {
        return invalid_argument(
            "'{}': a timestamp of {} s and {} ns is outside of the years 1 to "
            "9999",
            name, seconds, nanos);
      }
      out.kind = AttributeKind::kTimestamp;
      out.value =
          texts.emplace_back(format_unix_time({seconds, static_cast<std::uint32_t>(nanos)}));
      return {};
    }
    case Value::ATTR_NOT_SET: break;
  }
  return invalid_argument("'{}' has no value", name);
}

/// The text of an attribute that CloudEvents itself defines, `time` apart.
absl::Status read_text(std::string_view name, const Value& value, std::string_view& out) {
  switch (value.attr_case()) {
    case Value::kCeString: out = value.ce_string(); return {};
    case Value::kCeUri: out = value.ce_uri(); return {};
    case Value::kCeUriRef: out = value.ce_uri_ref(); return {};
    default: return invalid_argument("'{}' must be a string or a URI", name);
  }
}

absl::Status read_attribute(const std::string& name, const Value& value, Texts& texts,
                            EventFields& fields, std::vector<Extension>& extensions) {
  if (name == "datacontenttype") return read_text(name, value, fields.data_content_type);
  if (name == "dataschema") return read_text(name, value, fields.data_schema);
  if (name == "subject") return read_text(name, value, fields.subject);
  Extension extension;
  extension.name = name;
  VIRTUFIN_RETURN_IF_ERROR(read_value(name, value, texts, extension));
  if (name != "time") {
    extensions.push_back(extension);
    return {};
  }
  if (extension.kind != AttributeKind::kTimestamp && extension.kind != AttributeKind::kString) {
    return invalid_argument("'time' must be a timestamp or a string");
  }
  fields.time = extension.value;
  return {};
}

void read_data(const ce::CloudEvent& proto, Texts& texts, EventFields& fields) {
  switch (proto.data_case()) {
    case ce::CloudEvent::kBinaryData:
      fields.data = as_bytes(proto.binary_data());
      fields.data_kind = DataKind::kBinary;
      break;
    case ce::CloudEvent::kTextData: {
      const std::string_view type = fields.data_content_type;
      const bool json = (type.empty() || is_json_type(type)) && is_json(proto.text_data());
      fields.data = as_bytes(proto.text_data());
      fields.data_kind = json ? DataKind::kJson : DataKind::kText;
      break;
    }
    case ce::CloudEvent::kProtoData:
      fields.data = as_bytes(texts.emplace_back(proto.proto_data().SerializeAsString()));
      fields.data_kind = DataKind::kProto;
      break;
    case ce::CloudEvent::DATA_NOT_SET: break;
  }
}

bool write_timestamp(std::string_view text, google::protobuf::Timestamp& out) {
  const std::optional<UnixTime> time = parse_unix_time(text);
  if (!time || time->seconds < kFirstSecond || time->seconds > kLastSecond) return false;
  out.set_seconds(time->seconds);
  out.set_nanos(static_cast<std::int32_t>(time->nanos));
  return true;
}

/// Whether a timestamp says all that the text says: UTC, at most nine digits, no leap second.
bool is_plain_time(std::string_view text) {
  return text.size() <= kTimeWidth && text.ends_with('Z') && text[10] == 'T' &&
         text.substr(17, 2) != "60";
}

void write_value(const Extension& extension, Value& out) {
  const std::string text(extension.value);
  switch (extension.kind) {
    case AttributeKind::kString: out.set_ce_string(text); break;
    case AttributeKind::kBoolean: out.set_ce_boolean(extension.value == "true"); break;
    case AttributeKind::kInteger: {
      std::int32_t value = 0;  // checked when the event was made
      std::from_chars(text.data(), text.data() + text.size(), value);
      out.set_ce_integer(value);
      break;
    }
    case AttributeKind::kBytes:
      // Checked when the event was made.
      if (!absl::Base64Unescape(text, out.mutable_ce_bytes())) out.set_ce_string(text);
      break;
    case AttributeKind::kUri: out.set_ce_uri(text); break;
    case AttributeKind::kUriReference: out.set_ce_uri_ref(text); break;
    case AttributeKind::kTimestamp:
      // The year 0 is one in RFC 3339, not in protobuf.
      if (!write_timestamp(text, *out.mutable_ce_timestamp())) out.set_ce_string(text);
      break;
  }
}

void write_data(const Event& event, ce::CloudEvent& out) {
  const std::string_view data = as_text(event.data());
  switch (resolve_data_kind(event)) {
    case DataKind::kJson:
    case DataKind::kText: out.set_text_data(data.data(), data.size()); break;
    case DataKind::kProto:
      if (out.mutable_proto_data()->ParseFromArray(data.data(), static_cast<int>(data.size()))) {
        break;
      }
      [[fallthrough]];  // somebody's mistake: it is bytes, whatever it was said to be
    default: out.set_binary_data(data.data(), data.size());
  }
}

}  // namespace

absl::StatusOr<EventPtr> event_from_proto(const ce::CloudEvent& proto, DecodeOptions options) {
  EventFields fields;
  fields.id = proto.id();
  fields.source = proto.source();
  fields.spec_version = proto.spec_version();
  fields.type = proto.type();
  fields.config_names = options.config_names;
  Texts texts;
  std::vector<Extension> extensions;
  for (const auto& [name, value] : proto.attributes()) {
    VIRTUFIN_RETURN_IF_ERROR(read_attribute(name, value, texts, fields, extensions));
  }
  // The map's own order is another one in every process.
  std::ranges::sort(extensions, {}, &Extension::name);
  fields.extensions = extensions;
  read_data(proto, texts, fields);
  return make_event(fields);
}

void to_proto(const Event& event, ce::CloudEvent& out) {
  out.Clear();
  out.set_id(event.id().data(), event.id().size());
  out.set_source(event.source().data(), event.source().size());
  out.set_spec_version(event.spec_version().data(), event.spec_version().size());
  out.set_type(event.type().data(), event.type().size());
  auto& attributes = *out.mutable_attributes();
  if (!event.data_content_type().empty()) {
    attributes["datacontenttype"].set_ce_string(std::string(event.data_content_type()));
  }
  if (!event.data_schema().empty()) {
    attributes["dataschema"].set_ce_uri(std::string(event.data_schema()));
  }
  if (!event.subject().empty()) attributes["subject"].set_ce_string(std::string(event.subject()));
  if (!event.time().empty()) {
    Value& time = attributes["time"];
    if (!is_plain_time(event.time()) ||
        !write_timestamp(event.time(), *time.mutable_ce_timestamp())) {
      time.set_ce_string(std::string(event.time()));
    }
  }
  for (std::size_t i = 0; i < event.extension_count(); ++i) {
    const Extension extension = event.extension_at(i);
    write_value(extension, attributes[std::string(extension.name)]);
  }
  if (event.has_data()) write_data(event, out);
}

}  // namespace virtufin

#include "bus/dapr/envelope.h"

#include <absl/strings/escaping.h>
#include <fmt/format.h>
#include <google/protobuf/struct.pb.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <deque>
#include <limits>
#include <vector>

#include "core/errors.h"
#include "core/event_codec.h"
#include "core/event_writer.h"
#include "core/json_check.h"
#include "core/json_text.h"
#include "dapr/proto/runtime/v1/dapr.pb.h"

namespace virtufin::bus {
namespace {

using google::protobuf::Value;

/// Extensions that the sidecar sets, overwrites or acts upon.
constexpr std::array<std::string_view, 6> kTouched{"traceparent", "tracestate", "traceid",
                                                   "topic",       "pubsubname", "expiration"};
constexpr std::size_t kInstanceDigits = 16, kCounterDigits = 20;
constexpr std::size_t kOrderChars = kInstanceDigits + 1 + kCounterDigits;

bool is_touched(std::string_view name) {
  return std::find(kTouched.begin(), kTouched.end(), name) != kTouched.end();
}
bool is_ours(std::string_view name) {
  return name == kBusOrder || name == kBusMeta || name == kBusLate;
}

/// The one type whose data the sidecar hands on as JSON.
bool is_plain_json(std::string_view content_type) {
  constexpr std::string_view kJson = "application/json";
  if (content_type.size() < kJson.size()) return false;
  for (std::size_t i = 0; i < kJson.size(); ++i) {
    const char c = content_type[i];
    if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != kJson[i]) return false;
  }
  return content_type.size() == kJson.size() || content_type[kJson.size()] == ';';
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

/// Whether the sidecar, which reads numbers as 64-bit floating point, keeps all of them. An id or a
/// time in nanoseconds as a number has more digits than that holds.
bool numbers_survive(std::string_view json) {
  constexpr int kDigitsKept = 15;
  for (std::size_t i = 0; i < json.size();) {
    const char c = json[i];
    if (c == '"') {
      for (++i; i < json.size() && json[i] != '"'; ++i) {
        if (json[i] == '\\') ++i;
      }
      ++i;
    } else if (c >= '0' && c <= '9') {
      int digits = 0;
      for (; i < json.size(); ++i) {
        if (json[i] >= '0' && json[i] <= '9') {
          // Zeros in front do not count.
          if (digits > 0 || json[i] != '0') ++digits;
        } else if (json[i] == 'e' || json[i] == 'E') {
          return false;  // rare, and may be beyond what it can hold
        } else if (json[i] != '.') {
          break;
        }
      }
      if (digits > kDigitsKept) return false;
    } else {
      ++i;
    }
  }
  return true;
}

// ---- the way out ----

void append_name(std::string_view name, std::string& out) {
  out.push_back(',');
  append_json_string(out, name);
  out.push_back(':');
}

void append_attribute(std::string_view name, std::string_view value, std::string& out) {
  if (value.empty()) return;
  append_name(name, out);
  append_json_string(out, value);
}

/// Gathers `busmeta` as what it has to say comes up; empty if that is nothing.
class MetaWriter {
 public:
  void absent(std::string_view name) { add(absent_, std::string(), name); }
  void moved(const Extension& extension) {
    std::string value;
    append_json_string(value, extension.value);
    add(moved_, fmt::format(":[{},{}]", value, static_cast<int>(extension.kind)), extension.name);
  }
  void kind(const Extension& extension) {
    add(kinds_, fmt::format(":{}", static_cast<int>(extension.kind)), extension.name);
  }
  void data(DataKind kind) { data_ = fmt::format("{}", static_cast<int>(kind)); }
  void empty_data() { empty_ = true; }

  std::string finish() && {
    std::string out;
    const auto member = [&](std::string_view name, std::string_view open, std::string_view value,
                            std::string_view close) {
      if (value.empty()) return;
      out += out.empty() ? '{' : ',';
      out += fmt::format("\"{}\":{}{}{}", name, open, value, close);
    };
    member("absent", "[", absent_, "]");
    member("moved", "{", moved_, "}");
    member("kinds", "{", kinds_, "}");
    member("data", "", data_, "");
    member("empty", "", empty_ ? "true" : "", "");
    if (!out.empty()) out += '}';
    return out;
  }

 private:
  static void add(std::string& list, std::string_view rest, std::string_view name) {
    if (!list.empty()) list += ',';
    append_json_string(list, name);
    list += rest;
  }
  std::string absent_, moved_, kinds_, data_;
  bool empty_ = false;
};

void append_data(const Event& event, std::string& out, MetaWriter& meta) {
  const std::string_view type = event.data_content_type();
  const std::string_view data = as_text(event.data());
  const DataKind kind = resolve_data_kind(event);
  if (data.empty()) meta.empty_data();
  const std::string_view value = trim(data);
  // `null` is no data to the sidecar.
  const bool as_json = kind == DataKind::kJson && (type.empty() || is_plain_json(type)) &&
                       value != "null" && numbers_survive(value);
  if (as_json) {
    // Without a type the sidecar would drop it.
    if (type.empty()) {
      append_attribute("datacontenttype", "application/json", out);
      meta.absent("datacontenttype");
    }
    append_name("data", out);
    out.append(value);
  } else {
    append_name("data_base64", out);
    out.push_back('"');
    out.append(absl::Base64Escape(to_absl(data)));
    out.push_back('"');
  }
  // What decode_envelope() makes of it by itself.
  const bool read_as_json = as_json || (is_plain_json(type) && is_json(data));
  const DataKind usual = read_as_json ? DataKind::kJson : DataKind::kByContentType;
  if (event.data_kind() != usual && event.data_kind() != DataKind::kByContentType) {
    meta.data(event.data_kind());
  }
}

}  // namespace

std::string to_text(BusOrder order) {
  return fmt::format("{:016x}.{:020}", order.instance, order.counter);
}

std::optional<BusOrder> parse_bus_order(std::string_view text) {
  if (text.size() != kOrderChars || text[kInstanceDigits] != '.') return std::nullopt;
  BusOrder order;
  const char* const begin = text.data();
  const char* const dot = begin + kInstanceDigits;
  const char* const end = begin + kOrderChars;
  const auto instance = std::from_chars(begin, dot, order.instance, 16);
  const auto counter = std::from_chars(dot + 1, end, order.counter, 10);
  if (instance.ec != std::errc() || instance.ptr != dot) return std::nullopt;
  if (counter.ec != std::errc() || counter.ptr != end) return std::nullopt;
  return order;
}

std::string encode_envelope(const Event& event, BusOrder order) {
  std::string out;
  out.reserve(event.bytes().size() * 4 / 3 + 256);
  MetaWriter meta;
  out.append(R"({"specversion":)");
  append_json_string(out, event.spec_version());
  append_attribute("id", event.id(), out);
  append_attribute("source", event.source(), out);
  append_attribute("type", event.type(), out);
  append_attribute("datacontenttype", event.data_content_type(), out);
  append_attribute("dataschema", event.data_schema(), out);
  append_attribute("subject", event.subject(), out);
  append_attribute("time", event.time(), out);
  if (event.time().empty()) meta.absent("time");
  for (std::size_t i = 0; i < event.extension_count(); ++i) {
    const Extension extension = event.extension_at(i);
    if (is_ours(extension.name)) continue;
    if (is_touched(extension.name)) {
      meta.moved(extension);
      continue;
    }
    append_name(extension.name, out);
    // Checked when the event was made: such a value is JSON as it stands.
    if (extension.kind == AttributeKind::kBoolean || extension.kind == AttributeKind::kInteger) {
      out.append(extension.value);
    } else {
      append_json_string(out, extension.value);
      if (extension.kind != AttributeKind::kString) meta.kind(extension);
    }
  }
  if (event.has_data()) append_data(event, out, meta);
  append_attribute(kBusOrder, to_text(order), out);
  append_attribute(kBusMeta, std::move(meta).finish(), out);
  out.push_back('}');
  return out;
}

// ---- the way back ----

namespace {

namespace ondemand = simdjson::ondemand;

/// `busmeta`, read. What is wrong in it is as if it were not there: it comes from outside.
struct Meta {
  struct Moved {
    std::string name, value;
    AttributeKind kind;
  };
  bool time_absent = false, type_absent = false, empty_data = false;
  std::vector<Moved> moved;
  std::vector<std::pair<std::string, AttributeKind>> kinds;
  std::optional<DataKind> data;
};

std::optional<AttributeKind> attribute_kind(std::int64_t number) {
  if (number < 0 || number > static_cast<int>(AttributeKind::kTimestamp)) return std::nullopt;
  return static_cast<AttributeKind>(number);
}

/// False if the document is not of its shape.
bool read_meta(std::string_view text, Meta& meta) {
  if (!is_json(text)) return false;
  ondemand::parser parser;
  const simdjson::padded_string padded(text);
  ondemand::document document;
  ondemand::object object;
  if (parser.iterate(padded).get(document) || document.get_object().get(object)) return false;
  for (auto member : object) {
    std::string_view name;
    ondemand::value value;
    if (member.unescaped_key().get(name) || member.value().get(value)) return false;
    if (name == "absent") {
      ondemand::array list;
      if (value.get_array().get(list)) return false;
      for (auto one : list) {
        std::string_view absent;
        if (one.get_string().get(absent)) return false;
        meta.time_absent |= absent == "time";
        meta.type_absent |= absent == "datacontenttype";
      }
    } else if (name == "moved") {
      ondemand::object moved;
      if (value.get_object().get(moved)) return false;
      for (auto one : moved) {
        std::string_view key, content;
        ondemand::array pair;
        if (one.unescaped_key().get(key)) return false;
        // Copied at once: each string of simdjson's lives in its buffer, but a name may be used up.
        Meta::Moved entry{std::string(key), {}, AttributeKind::kString};
        if (one.value().get_array().get(pair)) return false;
        int index = 0;
        for (auto item : pair) {
          std::int64_t number = 0;
          if (index == 0) {
            if (item.get_string().get(content)) return false;
            entry.value = content;
          } else if (index == 1) {
            if (item.get_int64().get(number)) return false;
            const auto kind = attribute_kind(number);
            if (!kind) return false;
            entry.kind = *kind;
          } else {
            return false;
          }
          ++index;
        }
        if (index != 2 || !is_touched(entry.name)) return false;
        meta.moved.push_back(std::move(entry));
      }
    } else if (name == "kinds") {
      ondemand::object kinds;
      if (value.get_object().get(kinds)) return false;
      for (auto one : kinds) {
        std::string_view key;
        std::int64_t number = 0;
        if (one.unescaped_key().get(key)) return false;
        std::string copied(key);
        if (one.value().get_int64().get(number)) return false;
        const auto kind = attribute_kind(number);
        if (!kind) return false;
        meta.kinds.emplace_back(std::move(copied), *kind);
      }
    } else if (name == "data") {
      std::int64_t number = 0;
      if (value.get_int64().get(number) || number < 0 ||
          number > static_cast<int>(DataKind::kProto)) {
        return false;
      }
      meta.data = static_cast<DataKind>(number);
    } else if (name == "empty") {
      if (value.get_bool().get(meta.empty_data)) return false;
    }
  }
  return true;
}

/// An extension's value as the sidecar's Struct has it; what no CloudEvent may carry becomes text.
void append_as_json(const Value& value, int depth, std::string& out) {
  constexpr int kDepthMax = 32;
  switch (value.kind_case()) {
    case Value::kStringValue: append_json_string(out, value.string_value()); return;
    case Value::kBoolValue: out += value.bool_value() ? "true" : "false"; return;
    case Value::kNumberValue: out += fmt::format("{}", value.number_value()); return;
    case Value::kListValue:
      out += '[';
      for (int i = 0; i < value.list_value().values_size() && depth < kDepthMax; ++i) {
        if (i > 0) out += ',';
        append_as_json(value.list_value().values(i), depth + 1, out);
      }
      out += ']';
      return;
    case Value::kStructValue: {
      out += '{';
      bool first = true;
      if (depth < kDepthMax) {
        for (const auto& [name, member] : value.struct_value().fields()) {
          if (!std::exchange(first, false)) out += ',';
          append_json_string(out, name);
          out += ':';
          append_as_json(member, depth + 1, out);
        }
      }
      out += '}';
      return;
    }
    case Value::kNullValue:
    case Value::KIND_NOT_SET: out += "null"; return;
  }
}

bool is_32_bit(double number) {
  return std::trunc(number) == number && number >= std::numeric_limits<std::int32_t>::min() &&
         number <= std::numeric_limits<std::int32_t>::max();
}

/// False for null, which is absence.
bool read_value(const Value& value, std::deque<std::string>& storage, Extension& extension) {
  switch (value.kind_case()) {
    case Value::kStringValue: extension.value = value.string_value(); return true;
    case Value::kBoolValue:
      extension.kind = AttributeKind::kBoolean;
      extension.value = value.bool_value() ? "true" : "false";
      return true;
    case Value::kNumberValue:
      if (is_32_bit(value.number_value())) {
        extension.kind = AttributeKind::kInteger;
        extension.value = storage.emplace_back(
            fmt::format("{}", static_cast<std::int32_t>(value.number_value())));
        return true;
      }
      [[fallthrough]];
    case Value::kListValue:
    case Value::kStructValue:
      append_as_json(value, 0, storage.emplace_back());
      extension.value = storage.back();
      return true;
    case Value::kNullValue:
    case Value::KIND_NOT_SET: break;
  }
  return false;
}

}  // namespace

absl::StatusOr<Arrived> decode_envelope(::dapr::proto::runtime::v1::TopicEventRequest& message) {
  Arrived arrived;
  arrived.topic = message.topic();
  const auto& fields_in = message.extensions().fields();
  Meta meta;
  if (const auto found = fields_in.find(std::string(kBusMeta)); found != fields_in.end()) {
    if (!read_meta(found->second.string_value(), meta)) meta = {};
  }

  EventFields fields;
  fields.id = message.id();
  fields.source = message.source();
  fields.type = message.type();
  fields.spec_version = message.spec_version();
  if (!meta.type_absent) fields.data_content_type = message.data_content_type();
  fields.config_names = true;  // other apps' names, too

  std::deque<std::string> storage;
  std::vector<Extension> extensions;
  for (const auto& [name, value] : fields_in) {
    if (name == kBusOrder) {
      arrived.order = parse_bus_order(value.string_value());
    } else if (name == "topic") {
      if (value.kind_case() == Value::kStringValue) arrived.topic = value.string_value();
    } else if (name == "time") {
      if (!meta.time_absent) fields.time = value.string_value();
    } else if (name == "subject") {
      fields.subject = value.string_value();
    } else if (name == "dataschema") {
      fields.data_schema = value.string_value();
    } else if (!is_ours(name) && !is_touched(name)) {
      Extension extension{name, {}, AttributeKind::kString};
      if (!read_value(value, storage, extension)) continue;
      if (extension.kind == AttributeKind::kString) {
        for (const auto& [kept, kind] : meta.kinds) {
          if (kept == name) extension.kind = kind;
        }
      }
      extensions.push_back(extension);
    }
  }
  for (const auto& moved : meta.moved) extensions.push_back({moved.name, moved.value, moved.kind});
  // The sidecar's map has no order; the same event always looks the same.
  std::sort(extensions.begin(), extensions.end(),
            [](const Extension& a, const Extension& b) { return a.name < b.name; });
  fields.extensions = extensions;

  if (!message.data().empty() || meta.empty_data) {
    fields.data = as_bytes(message.data());
    const bool json = is_plain_json(message.data_content_type()) && is_json(message.data());
    fields.data_kind = meta.data.value_or(json ? DataKind::kJson : DataKind::kByContentType);
  }
  auto event = make_event(fields);
  if (!event.ok()) return event.status();
  arrived.event = *std::move(event);
  return arrived;
}

absl::StatusOr<EventPtr> mark_late(const Event& event) {
  std::vector<Extension> extensions;
  EventFields fields = fields_of(event, extensions);
  extensions.push_back({kBusLate, "true", AttributeKind::kBoolean});
  fields.extensions = extensions;
  fields.config_names = true;
  return make_event(fields);
}

}  // namespace virtufin::bus

#include <absl/strings/escaping.h>
#include <simdjson.h>

#include <optional>

#include "core/errors.h"
#include "core/event_codec.h"
#include "core/event_writer.h"
#include "core/json_check.h"
#include "core/json_text.h"

namespace virtufin {
namespace {

namespace ondemand = simdjson::ondemand;

// ---- reading ----

/// What simdjson needs to read a text; kept by each thread for texts of the usual size.
struct JsonReader {
  static constexpr std::size_t kKeptBytes = std::size_t{256} << 10;

  ondemand::parser parser;
  std::string padded;
};

absl::Status wrong(std::string_view name, std::string_view wanted, std::string_view found) {
  constexpr std::size_t kShown = 64;
  return invalid_argument("'{}' must be {}, not {}", name.substr(0, kShown), wanted,
                          found.substr(0, kShown));
}

/// Gathers the members of an event's object as they come.
class Members {
 public:
  absl::Status add(std::string_view name, ondemand::value value);
  absl::StatusOr<EventPtr> event(DecodeOptions options);

 private:
  absl::Status add_data(std::string_view raw, bool is_string, ondemand::value& value);
  absl::Status add_base64(std::string_view raw, bool is_string, ondemand::value& value);
  absl::Status add_extension(std::string_view name, std::string_view raw, ondemand::json_type type,
                             ondemand::value& value);
  /// Where the attribute of this name goes; null if it is an extension.
  std::optional<std::string_view>* attribute(std::string_view name);

  std::optional<std::string_view> id_, source_, type_, spec_version_, content_type_, schema_,
      subject_, time_;
  std::optional<std::string_view> data_, data_text_;  ///< as written; unescaped if it is a string
  std::optional<std::string> base64_;                 ///< decoded
  std::vector<Extension> extensions_;
};

std::optional<std::string_view>* Members::attribute(std::string_view name) {
  if (name == "id") return &id_;
  if (name == "source") return &source_;
  if (name == "type") return &type_;
  if (name == "specversion") return &spec_version_;
  if (name == "datacontenttype") return &content_type_;
  if (name == "dataschema") return &schema_;
  if (name == "subject") return &subject_;
  if (name == "time") return &time_;
  return nullptr;
}

absl::Status twice(std::string_view name) {
  return invalid_argument("'{}' is given twice", name.substr(0, kMaxExtensionName));
}

absl::Status Members::add(std::string_view name, ondemand::value value) {
  ondemand::json_type type;
  if (value.type().get(type) != simdjson::SUCCESS) return wrong(name, "JSON", "what it is");
  const bool is_string = type == ondemand::json_type::string;
  // A value can be read once only: as it is written if that is what we keep.
  std::string_view raw;
  if (!is_string && simdjson::to_json_string(value).get(raw) != simdjson::SUCCESS) {
    return wrong(name, "JSON", "what it is");
  }
  if (name == "data") return add_data(raw, is_string, value);
  if (type == ondemand::json_type::null) return {};
  if (name == "data_base64") return add_base64(raw, is_string, value);
  std::optional<std::string_view>* target = attribute(name);
  if (target == nullptr) return add_extension(name, raw, type, value);
  if (*target) return twice(name);
  if (!is_string) return wrong(name, "a string", raw);
  if (value.get_string().get(target->emplace()) != simdjson::SUCCESS) {
    return wrong(name, "a string of Unicode characters", "half of a surrogate pair");
  }
  return {};
}

absl::Status Members::add_data(std::string_view raw, bool is_string, ondemand::value& value) {
  if (data_) return twice("data");
  if (is_string) {
    // The token is the string with its quotes, and with the white space behind it.
    raw = value.raw_json_token();
    raw = raw.substr(0, raw.find_last_of('"') + 1);
    std::string_view text;
    // A string that cannot be unescaped is still JSON as it is written.
    if (value.get_string().get(text) == simdjson::SUCCESS) data_text_ = text;
  }
  data_ = raw;
  return {};
}

absl::Status Members::add_base64(std::string_view raw, bool is_string, ondemand::value& value) {
  if (base64_) return twice("data_base64");
  if (!is_string) return wrong("data_base64", "a string", raw);
  std::string_view text;
  if (value.get_string().get(text) != simdjson::SUCCESS ||
      !absl::Base64Unescape(to_absl(text), &base64_.emplace())) {
    return wrong("data_base64", "base64", "something else");
  }
  return {};
}

absl::Status Members::add_extension(std::string_view name, std::string_view raw,
                                    ondemand::json_type type, ondemand::value& value) {
  Extension& extension = extensions_.emplace_back();
  extension.name = name;
  switch (type) {
    case ondemand::json_type::string:
      if (value.get_string().get(extension.value) == simdjson::SUCCESS) return {};
      return wrong(name, "a string of Unicode characters", "half of a surrogate pair");
    case ondemand::json_type::boolean:
      extension.kind = AttributeKind::kBoolean;
      extension.value = raw;
      return {};
    case ondemand::json_type::number:
      extension.kind = AttributeKind::kInteger;
      extension.value = raw == "-0" ? "0" : raw;
      return {};  // whether it is one of 32 bits, make_event sees
    default: return wrong(name, "a string, a boolean or an integer", raw);
  }
}

absl::StatusOr<EventPtr> Members::event(DecodeOptions options) {
  EventFields fields;
  fields.id = id_.value_or("");
  fields.source = source_.value_or("");
  fields.type = type_.value_or("");
  fields.spec_version = spec_version_.value_or("");
  fields.data_content_type = content_type_.value_or("");
  fields.data_schema = schema_.value_or("");
  fields.subject = subject_.value_or("");
  fields.time = time_.value_or("");
  fields.extensions = extensions_;
  fields.config_names = options.config_names;
  if (base64_) {
    if (data_) return invalid_argument("'data' and 'data_base64' are both given; one is allowed");
    fields.data = as_bytes(*base64_);
    fields.data_kind = DataKind::kBinary;
  } else if (data_) {
    // A string under a type that is not JSON's is that text; all else is JSON as it is written.
    const bool text =
        data_text_ && !fields.data_content_type.empty() && !is_json_type(fields.data_content_type);
    fields.data = as_bytes(text ? *data_text_ : *data_);
    fields.data_kind = text ? DataKind::kText : DataKind::kJson;
  }
  return make_event(fields);
}

absl::StatusOr<EventPtr> read(std::string_view json, DecodeOptions options, JsonReader& reader) {
  // All of it is checked first: simdjson looks on demand only, and data is taken as it is written.
  if (!is_json(json, kMaxJsonDepth + 1)) {
    return invalid_argument("{} bytes that are not JSON in UTF-8 of at most {} levels", json.size(),
                            kMaxJsonDepth + 1);
  }
  reader.padded.reserve(json.size() + simdjson::SIMDJSON_PADDING);
  reader.padded.assign(json);
  ondemand::document document;
  ondemand::object object;
  if (reader.parser.iterate(simdjson::padded_string_view(reader.padded)).get(document) !=
          simdjson::SUCCESS ||
      document.get_object().get(object) != simdjson::SUCCESS) {
    return invalid_argument("a structured CloudEvent is a JSON object");
  }
  Members members;
  for (auto found : object) {
    ondemand::field field;
    std::string_view name;
    if (std::move(found).get(field) != simdjson::SUCCESS ||
        field.unescaped_key().get(name) != simdjson::SUCCESS) {
      return invalid_argument("a member's name is not made of Unicode characters");
    }
    VIRTUFIN_RETURN_IF_ERROR(members.add(name, field.value()));
  }
  return members.event(options);
}

// ---- writing ----

/// `"name":`, behind a comma.
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

/// A JSON value without the white space around it.
std::string_view trim(std::string_view json) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto first = json.find_first_not_of(kSpace);
  return json.substr(first, json.find_last_not_of(kSpace) - first + 1);
}

/// JSON without the line breaks that would end a server-sent event.
void append_on_one_line(std::string_view json, std::string& out) {
  if (json.find_first_of("\r\n") == std::string_view::npos) {
    out.append(json);
    return;
  }
  const std::size_t before = out.size();
  // minify() writes whole blocks: room for one more.
  out.resize(before + json.size() + simdjson::SIMDJSON_PADDING);
  std::size_t size = 0;
  if (simdjson::minify(json.data(), json.size(), out.data() + before, size) != simdjson::SUCCESS) {
    size = 0;  // cannot be: the text has been checked
  }
  out.resize(before + size);
}

void append_data(const Event& event, std::string& out) {
  const std::string_view data = as_text(event.data());
  const std::string_view type = event.data_content_type();
  switch (resolve_data_kind(event)) {
    case DataKind::kJson: {
      append_name("data", out);
      // Under another type a string stands for its text: then the text is the JSON as written.
      const std::string_view value = trim(data);
      if (value.front() == '"' && !type.empty() && !is_json_type(type)) {
        append_json_string(out, data);
      } else {
        append_on_one_line(value, out);
      }
      break;
    }
    case DataKind::kText:
      append_name("data", out);
      append_json_string(out, data);
      break;
    default:
      append_name("data_base64", out);
      out.push_back('"');
      out.append(absl::Base64Escape(to_absl(data)));
      out.push_back('"');
  }
}

}  // namespace

absl::StatusOr<EventPtr> event_from_json(std::string_view json, DecodeOptions options) {
  if (json.size() > kMaxEventBytes) {
    return invalid_argument("a structured CloudEvent of {} bytes; at most {} are allowed",
                            json.size(), kMaxEventBytes);
  }
  if (json.size() <= JsonReader::kKeptBytes) {
    thread_local JsonReader reader;
    return read(json, options, reader);
  }
  JsonReader reader;
  return read(json, options, reader);
}

void append_json(const Event& event, std::string& out) {
  out.append(R"({"specversion":)");
  append_json_string(out, event.spec_version());
  append_attribute("id", event.id(), out);
  append_attribute("source", event.source(), out);
  append_attribute("type", event.type(), out);
  append_attribute("datacontenttype", event.data_content_type(), out);
  append_attribute("dataschema", event.data_schema(), out);
  append_attribute("subject", event.subject(), out);
  append_attribute("time", event.time(), out);
  for (std::size_t i = 0; i < event.extension_count(); ++i) {
    const Extension extension = event.extension_at(i);
    append_name(extension.name, out);
    // Checked when the event was made: such a value is JSON as it stands.
    if (extension.kind == AttributeKind::kBoolean || extension.kind == AttributeKind::kInteger) {
      out.append(extension.value);
    } else {
      append_json_string(out, extension.value);
    }
  }
  if (event.has_data()) append_data(event, out);
  out.push_back('}');
}

std::string to_json(const Event& event) {
  std::string out;
  out.reserve(event.bytes().size() + 256);
  append_json(event, out);
  return out;
}

}  // namespace virtufin

#include <deque>

#include "core/errors.h"
#include "core/event_codec.h"
#include "core/event_writer.h"

/// HTTP binary mode. Source of the rules: CloudEvents HTTP protocol binding 1.0, section 3.1.3.2.
namespace virtufin {
namespace {

constexpr std::string_view kPrefix = "ce-";
constexpr std::string_view kContentType = "content-type";

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string encode(std::string_view text) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '"' && c != '%') {
      out.push_back(c);
    } else {
      out.append({'%', kDigits[byte / 16], kDigits[byte % 16]});
    }
  }
  return out;
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// What is in a quoted string: the binding wants senders to leave quotes out, and receivers to
/// understand them.
std::string unquoted(std::string_view text) {
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') return std::string(text);
  std::string out;
  const std::string_view inner = text.substr(1, text.size() - 2);
  for (std::size_t i = 0; i < inner.size(); ++i) {
    if (inner[i] == '\\' && i + 1 < inner.size()) ++i;
    out.push_back(inner[i]);
  }
  return out;
}

absl::StatusOr<std::string> decode(std::string_view name, std::string_view value) {
  const std::string text = unquoted(value);
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? hex(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return invalid_argument(
          "'{}': a % without two hexadecimal digits behind it at byte {}; write "
          "a per cent sign as %25",
          name, i);
    }
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

/// Whether a header can have this name and keep it: a token (RFC 9110) without upper case.
bool is_header_name(std::string_view name) {
  for (const char c : name) {
    const bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (!alphanumeric && std::string_view("!#$%&'*+-.^_`|~").find(c) == std::string_view::npos) {
      return false;
    }
  }
  return true;
}

/// The attribute of this name in `fields`; null if it is an extension.
std::string_view* attribute(std::string_view name, EventFields& fields) {
  if (name == "id") return &fields.id;
  if (name == "source") return &fields.source;
  if (name == "type") return &fields.type;
  if (name == "specversion") return &fields.spec_version;
  if (name == "dataschema") return &fields.data_schema;
  if (name == "subject") return &fields.subject;
  if (name == "time") return &fields.time;
  return nullptr;
}

}  // namespace

absl::StatusOr<EventPtr> event_from_http(const std::vector<HttpHeader>& headers,
                                         std::string_view body, DecodeOptions options) {
  std::deque<std::string> texts;  // what the fields point to; a deque's elements stay in place
  std::vector<Extension> extensions;
  EventFields fields;
  fields.spec_version = {};
  fields.config_names = options.config_names;
  for (const auto& [header, value] : headers) {
    const std::string& name = texts.emplace_back(lower(header));
    std::string_view* target = nullptr;
    if (name == kContentType) {
      target = &fields.data_content_type;
      texts.emplace_back(trim(value));
    } else if (name.starts_with(kPrefix)) {
      const std::string_view key = std::string_view(name).substr(kPrefix.size());
      absl::StatusOr<std::string> decoded = decode(key, trim(value));
      if (!decoded.ok()) return decoded.status();
      texts.push_back(std::move(*decoded));
      target = attribute(key, fields);
      if (target == nullptr) {
        extensions.push_back({key, texts.back()});
        continue;
      }
    } else {
      continue;
    }
    if (!target->empty()) return invalid_argument("header '{}' is given twice", name);
    *target = texts.back();
  }
  fields.extensions = extensions;
  if (!body.empty() || !fields.data_content_type.empty()) fields.data = as_bytes(body);
  return make_event(fields);
}

absl::StatusOr<HttpEvent> to_http(const Event& event) {
  HttpEvent out;
  const auto add = [&out](std::string_view name, std::string_view value) {
    out.headers.emplace_back(std::string(kPrefix).append(name), encode(value));
  };
  if (!event.data_content_type().empty()) {
    out.headers.emplace_back(kContentType, event.data_content_type());
  }
  add("specversion", event.spec_version());
  add("id", event.id());
  add("source", event.source());
  add("type", event.type());
  if (!event.data_schema().empty()) add("dataschema", event.data_schema());
  if (!event.subject().empty()) add("subject", event.subject());
  if (!event.time().empty()) add("time", event.time());
  for (std::size_t i = 0; i < event.extension_count(); ++i) {
    const Extension extension = event.extension_at(i);
    if (!is_header_name(extension.name)) {
      return invalid_argument(
          "extension '{}' cannot be the name of an HTTP header; use structured "
          "JSON for this event",
          extension.name);
    }
    add(extension.name, extension.value);
  }
  out.body = as_text(event.data());
  return out;
}

}  // namespace virtufin

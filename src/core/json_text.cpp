#include "core/json_text.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <iterator>

namespace virtufin {
namespace {

void append_escaped(std::string& out, std::string_view text) {
  std::size_t plain = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text, plain, i - plain);
    plain = i + 1;
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default: fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
    }
  }
  out.append(text, plain);
}

/// Length of the character at the front, 0 if it is broken.
std::size_t character(std::string_view text) {
  const std::size_t longest = std::min<std::size_t>(4, text.size());
  for (std::size_t n = 1; n <= longest; ++n) {
    if (simdjson::validate_utf8(text.data(), n)) return n;
  }
  return 0;
}

/// Stands in JSON as it is. Nearly all text here does, and most of it is too short for simdjson to
/// be worth the call.
bool is_plain(std::string_view text) {
  bool plain = true;
  for (const char each : text) {
    const auto c = static_cast<unsigned char>(each);
    plain &= c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
  }
  return plain;
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  if (is_plain(text)) {
    out.append(text);
  } else if (simdjson::validate_utf8(text.data(), text.size())) {
    append_escaped(out, text);
  } else {
    while (!text.empty()) {
      const std::size_t length = character(text);
      append_escaped(out, length == 0 ? std::string_view("\xef\xbf\xbd") : text.substr(0, length));
      text.remove_prefix(std::max<std::size_t>(1, length));
    }
  }
  out.push_back('"');
}

void JsonObject::name(std::string_view name) {
  if (out_.size() > 1) out_.push_back(',');
  append_json_string(out_, name);
  out_.push_back(':');
}

JsonObject& JsonObject::text(std::string_view member, std::string_view value) {
  name(member);
  append_json_string(out_, value);
  return *this;
}

JsonObject& JsonObject::number(std::string_view member, std::uint64_t value) {
  name(member);
  fmt::format_to(std::back_inserter(out_), "{}", value);
  return *this;
}

JsonObject& JsonObject::boolean(std::string_view member, bool value) {
  name(member);
  out_.append(value ? "true" : "false");
  return *this;
}

JsonObject& JsonObject::raw(std::string_view member, std::string_view json) {
  name(member);
  out_.append(json);
  return *this;
}

std::string JsonObject::finish() && {
  out_.push_back('}');
  return std::move(out_);
}

}  // namespace virtufin

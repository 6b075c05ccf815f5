#include <simdjson.h>

#include <algorithm>

#include "core/event_codec.h"
#include "core/json_check.h"

namespace virtufin {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equal_but_case(std::string_view text, std::string_view lower_case) {
  return std::ranges::equal(text, lower_case, {}, lower);
}

/// `type/subtype` without parameters and white space.
std::string_view media_type(std::string_view content_type) {
  content_type = content_type.substr(0, content_type.find(';'));
  const auto first = content_type.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return content_type.substr(first, content_type.find_last_not_of(" \t") - first + 1);
}

bool is_text_type(std::string_view content_type) {
  return equal_but_case(media_type(content_type).substr(0, 5), "text/");
}

bool is_utf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

}  // namespace

bool is_json_type(std::string_view content_type) {
  const std::string_view type = media_type(content_type);
  const auto slash = type.find('/');
  if (slash == std::string_view::npos) return false;
  const std::string_view subtype = type.substr(slash + 1);
  constexpr std::string_view kSuffix = "+json";
  return equal_but_case(subtype, "json") ||
         (subtype.size() > kSuffix.size() &&
          equal_but_case(subtype.substr(subtype.size() - kSuffix.size()), kSuffix));
}

DataKind resolve_data_kind(const Event& event) {
  const std::string_view data = as_text(event.data());
  const std::string_view type = event.data_content_type();
  DataKind kind = event.data_kind();
  if (kind == DataKind::kByContentType) {
    if (type.empty() || is_json_type(type)) {
      kind = DataKind::kJson;
    } else {
      kind = is_text_type(type) ? DataKind::kText : DataKind::kBinary;
    }
  }
  if (kind == DataKind::kJson && !is_json(data)) return DataKind::kBinary;
  if (kind == DataKind::kText && !is_utf8(data)) return DataKind::kBinary;
  return kind;
}

}  // namespace virtufin

#pragma once

#include <cstdint>

#include <string>
#include <string_view>

namespace virtufin::wsm {

/// Appends `text` as a JSON string, quotes included. It must be UTF-8; outside bytes go through
/// printable() first.
void append_json_string(std::string& out, std::string_view text);

/// Builds one flat JSON object, member by member.
class JsonObject {
 public:
  JsonObject& text(std::string_view name, std::string_view value);
  JsonObject& number(std::string_view name, std::uint64_t value);
  JsonObject& boolean(std::string_view name, bool value);
  /// `json` is a value already.
  JsonObject& raw(std::string_view name, std::string_view json);
  std::string finish() &&;

 private:
  void name(std::string_view name);
  std::string out_ = "{";
};

}  // namespace virtufin::wsm

#pragma once

#include <string>
#include <string_view>

namespace virtufin::workmanager {

/// Appends `text` as a JSON string, quotes included. Bytes from 0x80 on go through as they are.
void append_json_string(std::string& out, std::string_view text);

/// Builds one flat JSON object, member by member.
class JsonObject {
 public:
  JsonObject() : out_("{") {}
  JsonObject& string(std::string_view name, std::string_view value);
  /// `json` is JSON already.
  JsonObject& raw(std::string_view name, std::string_view json);
  std::string finish() &&;

 private:
  void name(std::string_view name);
  std::string out_;
};

/// `["a","b"]`
template <class Strings>
std::string json_array(const Strings& strings) {
  std::string out = "[";
  for (const auto& one : strings) {
    if (out.size() > 1) out += ',';
    append_json_string(out, one);
  }
  return out + ']';
}

}  // namespace virtufin::workmanager

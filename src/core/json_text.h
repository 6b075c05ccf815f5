#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

/// Writing JSON where the shape is known; reading it is simdjson's. Threads: any.
namespace virtufin {

/// Appends `text` as a JSON string with its quotes. What is not UTF-8 becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text);

/// Builds one flat JSON object, member by member.
class JsonObject {
 public:
  JsonObject() {
    out_.reserve(kRoom);
    out_ = "{";
  }
  JsonObject& text(std::string_view name, std::string_view value);
  JsonObject& number(std::string_view name, std::uint64_t value);
  JsonObject& boolean(std::string_view name, bool value);
  /// `json` is a value already.
  JsonObject& raw(std::string_view name, std::string_view json);
  std::string finish() &&;

 private:
  void name(std::string_view name);
  static constexpr std::size_t kRoom = 256;  // most need no more
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

}  // namespace virtufin

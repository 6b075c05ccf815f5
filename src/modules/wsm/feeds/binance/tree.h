#pragma once

#include <simdjson.h>

#include <cstdint>
#include <string_view>

#include "modules/wsm/feeds/binance/dense.h"
#include "modules/wsm/feeds/levels.h"

namespace virtufin::wsm::binance {

/// The same face as Dense over a value of simdjson: any JSON. Private to the codec.
class Tree {
 public:
  explicit Tree(simdjson::ondemand::value value) : value_(value) {}

  bool is(std::string_view text) { return unquoted() == text; }

  bool number(std::uint64_t& out) { return value_.get_uint64().get(out) == simdjson::SUCCESS; }

  bool decimal(std::string_view& out) {
    out = decimal_of_token(value_.raw_json_token());
    return !out.empty();
  }

  bool boolean(bool& out) { return value_.get_bool().get(out) == simdjson::SUCCESS; }

  bool side(std::string_view& text, Levels& levels) {
    simdjson::ondemand::array array;
    return value_.get_array().get(array) == simdjson::SUCCESS &&
           array.raw_json().get(text) == simdjson::SUCCESS && read_levels(text, levels);
  }

  bool skip() { return true; }

  template <class Visit>
  bool members(Visit&& visit) {
    simdjson::ondemand::object object;
    if (value_.get_object().get(object) != simdjson::SUCCESS) return false;
    for (auto entry : object) {
      simdjson::ondemand::field field;
      if (std::move(entry).get(field) != simdjson::SUCCESS) return false;
      const char* const raw = field.key().raw();
      const bool is_short = raw[0] != '"' && (raw[1] == '"' || raw[2] == '"');
      Tree value(field.value());
      if (!visit(is_short ? key(raw) : 0, value)) return false;
    }
    return true;
  }

  /// The text of a string as it stands, without its quotes; empty if it is no string.
  std::string_view unquoted() {
    std::string_view token = value_.raw_json_token();
    while (token.size() > 2 && token.back() != '"') token.remove_suffix(1);  // white space
    return token.size() > 2 && token.front() == '"' ? token.substr(1, token.size() - 2)
                                                    : std::string_view{};
  }

 private:
  simdjson::ondemand::value value_;
};

}  // namespace virtufin::wsm::binance

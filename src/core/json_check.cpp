#include "core/json_check.h"

#include <simdjson.h>

#include <algorithm>
#include <bitset>
#include <cctype>

namespace virtufin {
namespace {

/// One pass over a text that is known to be UTF-8. Every step returns whether it went well.
class Check {
 public:
  Check(std::string_view text, std::size_t max_depth)
      : at_(text.data()), end_(text.data() + text.size()), max_depth_(max_depth) {}

  bool document() {
    std::bitset<kMaxJsonDepth + 1> in_object;  // by level: are we in an object or in an array
    std::size_t depth = 0;
    while (true) {
      // A value begins here.
      skip_space();
      if (at_ == end_) return false;
      if (*at_ == '{' || *at_ == '[') {
        const bool object = *at_++ == '{';
        skip_space();
        const bool empty = at_ != end_ && *at_ == (object ? '}' : ']');
        if (!empty) {
          if (depth == max_depth_) return false;
          in_object[depth++] = object;
          if (object && !key()) return false;
          continue;
        }
        ++at_;
        if (depth == max_depth_) return false;
      } else if (!scalar()) {
        return false;
      }
      // A value ended: close what ends with it, until another begins.
      bool another = false;
      while (!another) {
        skip_space();
        if (depth == 0) return at_ == end_;
        if (at_ == end_) return false;
        const bool object = in_object[depth - 1];
        const char c = *at_++;
        if (c == ',') {
          if (object && !key()) return false;
          another = true;
        } else if (c == (object ? '}' : ']')) {
          --depth;
        } else {
          return false;
        }
      }
    }
  }

 private:
  void skip_space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }
  bool take(char c) {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  bool key() {
    skip_space();
    if (!string()) return false;
    skip_space();
    return take(':');
  }
  bool scalar() {
    switch (*at_) {
      case '"': return string();
      case 't': return word("true");
      case 'f': return word("false");
      case 'n': return word("null");
      default: return number();
    }
  }
  bool word(std::string_view word) {
    if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(word)) {
      return false;
    }
    at_ += word.size();
    return true;
  }
  bool string() {
    if (!take('"')) return false;
    while (at_ != end_) {
      const char c = *at_++;
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c == '\\' && !escape()) return false;
    }
    return false;
  }
  bool escape() {
    if (at_ == end_) return false;
    const char c = *at_++;
    if (c != 'u') return std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos;
    for (int i = 0; i < 4; ++i, ++at_) {
      if (at_ == end_ || std::isxdigit(static_cast<unsigned char>(*at_)) == 0) return false;
    }
    return true;
  }
  bool digits() {
    const char* first = at_;
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9') ++at_;
    return at_ != first;
  }
  bool number() {
    take('-');
    // A leading zero stands alone.
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      return digits();
    }
    return true;
  }

  const char* at_;
  const char* end_;
  std::size_t max_depth_;
};

}  // namespace

bool is_json(std::string_view text, std::size_t max_depth) {
  return !text.empty() && simdjson::validate_utf8(text.data(), text.size()) &&
         Check(text, std::min(max_depth, kMaxJsonDepth + 1)).document();
}

}  // namespace virtufin

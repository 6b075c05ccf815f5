#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "modules/wsm/feeds/levels.h"

namespace virtufin::wsm::binance {

/// The venue's names of members are one or two letters: as a number, a switch tells them apart.
/// Longer ones, which nobody reads, are 0.
constexpr unsigned key(const char* name) {
  const auto first = static_cast<unsigned char>(name[0]);
  const auto second = static_cast<unsigned char>(name[1]);
  return second == '\0' || second == '"' ? first : first << 8 | second;
}

/// A cursor over JSON as the venue writes it: no white space, no escapes, numbers plain. What it
/// accepts is JSON; what it does not may still be, and is then read by simdjson (tree.h), at some
/// twice the cost. Each method moves behind what it read, or says false and stays useless.
///
/// Needs kReadPadding readable bytes behind the text.
class Dense {
 public:
  explicit Dense(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  bool at_end() const { return at_ == end_; }

  template <std::size_t N>
  bool take(const char (&text)[N]) {
    static_assert(N - 1 <= kReadPadding);
    if (std::memcmp(at_, text, N - 1) != 0) return false;
    at_ += N - 1;
    return true;
  }

  /// A string without escapes, control characters and what is not ASCII.
  bool string(std::string_view& out) {
    if (*at_ != '"') return false;
    const char* const begin = ++at_;
    for (; at_ < end_ && *at_ != '"'; ++at_) {
      const auto c = static_cast<unsigned char>(*at_);
      if (c < 0x20 || c >= 0x80 || c == '\\') return false;
    }
    out = {begin, static_cast<std::size_t>(at_ - begin)};
    return at_++ < end_;
  }

  bool is(std::string_view text) {
    if (*at_ != '"' || static_cast<std::size_t>(end_ - at_) < text.size() + 2 ||
        std::memcmp(at_ + 1, text.data(), text.size()) != 0 || at_[text.size() + 1] != '"') {
      return false;
    }
    at_ += text.size() + 2;
    return true;
  }

  bool number(std::uint64_t& out) {
    const char* const behind = read_unsigned(at_, out);
    if (behind == nullptr) return false;
    at_ = behind;
    return true;
  }

  bool decimal(std::string_view& out) {
    if (*at_ != '"') return false;
    const std::size_t length = decimal_length(++at_);
    out = {at_, length};
    at_ += length + 1;
    return length > 0;
  }

  bool boolean(bool& out) {
    out = *at_ == 't';
    return out ? take("true") : take("false");
  }

  bool side(std::string_view& text, Levels& levels) {
    const char* const behind = read_dense_levels(at_, end_, levels);
    if (behind == nullptr) return false;
    text = {at_, static_cast<std::size_t>(behind - at_)};
    at_ = behind;
    return true;
  }

  /// A value that nobody reads: a string, a plain number, true, false, null.
  bool skip() {
    std::string_view text;
    std::uint64_t number_value = 0;
    switch (*at_) {
      case '"': return string(text);
      case 't': return take("true");
      case 'f': return take("false");
      case 'n': return take("null");
      default: return number(number_value);
    }
  }

  /// `visit(key, cursor)` for each member, which reads the value or skips it.
  template <class Visit>
  bool members(Visit&& visit) {
    if (*at_++ != '{') return false;
    do {
      if (*at_++ != '"') return false;
      unsigned name = 0;
      if (at_[0] != '"' && at_[0] != '\\' && at_[1] == '"') {
        name = key(at_);
        at_ += 2;
      } else if (at_[0] != '"' && at_[0] != '\\' && at_[1] != '\\' && at_[2] == '"') {
        name = key(at_);
        at_ += 3;
      } else {
        std::string_view other;
        --at_;
        if (!string(other)) return false;
      }
      if (*at_++ != ':' || at_ >= end_ || !visit(name, *this)) return false;
    } while (*at_++ == ',' && at_ < end_);
    return at_[-1] == '}' && at_ <= end_;
  }

 private:
  const char* at_;
  const char* const end_;
};

}  // namespace virtufin::wsm::binance

#include "modules/wsm/feeds/levels.h"

namespace virtufin::wsm {
namespace {

/// Digits with at most one dot between them, within the bounds.
bool shape_ok(const char* text, std::size_t length) {
  std::size_t dot = length;
  for (std::size_t i = 0; i < length; ++i) {
    const char c = text[i];
    if (c == '.') {
      if (dot != length) return false;
      dot = i;
    } else if (c < '0' || c > '9') {
      return false;
    }
  }
  if (dot == 0 || dot > kMaxIntegerDigits) return false;
  if (dot == length) return true;
  const std::size_t fraction = length - dot - 1;
  return fraction > 0 && fraction <= kMaxFractionDigits;
}

/// The shape that venues write, without a space: no look for one between any two characters.
bool read_dense(const char* at, const char* end, std::vector<LevelText>& out) {
  const auto take = [&](const char* text, std::size_t size) {
    if (std::memcmp(at, text, size) != 0) return false;
    at += size;
    return true;
  };
  const auto decimal = [&](std::string_view& text) {
    const std::size_t length = decimal_length(at);
    text = {at, length};
    at += length;
    return length > 0;
  };
  if (!take("[", 1)) return false;
  if (take("]", 1)) return at == end;
  while (true) {
    LevelText level;
    if (!take("[\"", 2) || !decimal(level.price) || !take("\",\"", 3) || !decimal(level.quantity) ||
        !take("\"]", 2) || at >= end) {
      return false;
    }
    out.push_back(level);
    if (*at++ == ',') continue;
    return at[-1] == ']' && at == end;
  }
}

bool read_spaced(const char* at, const char* end, std::vector<LevelText>& out) {
  const auto skip_space = [&] {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) ++at;
  };
  const auto take = [&](char c) {
    skip_space();
    if (at >= end || *at != c) return false;
    ++at;
    return true;
  };
  const auto decimal = [&](std::string_view& text) {
    if (!take('"')) return false;
    const std::size_t length = decimal_length(at);
    if (length == 0 || at + length >= end) return false;
    text = {at, length};
    at += length + 1;
    return true;
  };
  const auto nothing_left = [&] {
    skip_space();
    return at == end;
  };
  if (!take('[')) return false;
  if (take(']')) return nothing_left();
  do {
    LevelText level;
    if (!take('[') || !decimal(level.price) || !take(',') || !decimal(level.quantity) ||
        !take(']')) {
      return false;
    }
    out.push_back(level);
  } while (take(','));
  return take(']') && nothing_left();
}

}  // namespace

std::size_t detail::long_decimal_length(const char* text) {
  std::size_t length = 0;
  while (length <= kMaxDecimalWidth && text[length] != '"') ++length;
  return length > 0 && length <= kMaxDecimalWidth && shape_ok(text, length) ? length : 0;
}

bool read_levels(std::string_view array, std::vector<LevelText>& out) {
  const char* const end = array.data() + array.size();
  const std::size_t before = out.size();
  if (read_dense(array.data(), end, out)) return true;
  out.resize(before);
  return read_spaced(array.data(), end, out);
}

}  // namespace virtufin::wsm

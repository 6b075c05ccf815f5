#include "modules/wsm/feeds/levels.h"

#include <algorithm>

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

bool read_spaced(const char* at, const char* end, Levels& out) {
  out.clear();
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
    *out.reserve(1) = level;
    out.commit(1);
  } while (take(','));
  return take(']') && nothing_left();
}

}  // namespace

std::size_t detail::long_decimal_length(const char* text) {
  std::size_t length = 0;
  while (length <= kMaxDecimalWidth && text[length] != '"') ++length;
  return length > 0 && length <= kMaxDecimalWidth && shape_ok(text, length) ? length : 0;
}

void Levels::grow(std::size_t capacity) {
  capacity = std::max(capacity, 2 * capacity_);
  auto larger = std::make_unique<LevelText[]>(capacity);
  std::copy(begin(), end(), larger.get());
  levels_ = std::move(larger);
  capacity_ = capacity;
}

const char* read_dense_levels(const char* at, const char* end, Levels& out) {
  constexpr std::ptrdiff_t kShortestLevel = 10;  // ["1","1"] and its comma
  out.clear();
  if (*at++ != '[') return nullptr;
  if (*at == ']') return at + 1;
  LevelText* const first = out.reserve(static_cast<std::size_t>((end - at) / kShortestLevel + 1));
  LevelText* level = first;
  while (end - at >= kShortestLevel - 1) {
    if (at[0] != '[' || at[1] != '"') return nullptr;
    const std::size_t price = decimal_length(at += 2);
    level->price = {at, price};
    at += price;
    if (price == 0 || at[0] != '"' || at[1] != ',' || at[2] != '"') return nullptr;
    const std::size_t quantity = decimal_length(at += 3);
    level->quantity = {at, quantity};
    at += quantity;
    if (quantity == 0 || at[0] != '"' || at[1] != ']') return nullptr;
    ++level;
    at += 3;
    if (at[-1] == ',') continue;
    if (at[-1] != ']' || at > end) return nullptr;
    out.commit(static_cast<std::size_t>(level - first));
    return at;
  }
  return nullptr;
}

bool read_levels(std::string_view array, Levels& out) {
  const char* const end = array.data() + array.size();
  return read_dense_levels(array.data(), end, out) == end || read_spaced(array.data(), end, out);
}

}  // namespace virtufin::wsm

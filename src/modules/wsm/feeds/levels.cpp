#include "modules/wsm/feeds/levels.h"

#include <bit>
#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace virtufin::wsm {
namespace {

/// The shape is right and the parts are within the bounds; `dots` has one bit a dot.
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

std::size_t decimal_length_scalar(const char* text) {
  std::size_t length = 0;
  while (length <= kMaxDecimalWidth && text[length] != '"') ++length;
  return length > 0 && length <= kMaxDecimalWidth && shape_ok(text, length) ? length : 0;
}

const char* skip_space(const char* at, const char* end) {
  while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) ++at;
  return at;
}

}  // namespace

std::size_t decimal_length(const char* text) {
#if defined(__SSE2__)
  // Nearly every decimal is shorter than 16: one load says where it ends and what is in it.
  const __m128i chars = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text));
  const auto mask = [](__m128i lanes) {
    return static_cast<std::uint32_t>(_mm_movemask_epi8(lanes));
  };
  const std::uint32_t quotes = mask(_mm_cmpeq_epi8(chars, _mm_set1_epi8('"')));
  if (quotes == 0) return decimal_length_scalar(text);
  const auto length = static_cast<std::size_t>(std::countr_zero(quotes));
  const std::uint32_t inside = (1U << length) - 1;
  const std::uint32_t dots = mask(_mm_cmpeq_epi8(chars, _mm_set1_epi8('.'))) & inside;
  // Digits are the only bytes that stay under 10 when '0' is taken off.
  const __m128i less = _mm_sub_epi8(chars, _mm_set1_epi8('0'));
  const std::uint32_t digits =
      mask(_mm_cmpeq_epi8(_mm_min_epu8(less, _mm_set1_epi8(9)), less)) & inside;
  if ((digits | dots) != inside || (dots & (dots - 1)) != 0 || length == 0) return 0;
  const std::uint32_t ends = 1U | (1U << (length - 1));
  return (dots & ends) == 0 ? length : 0;
#else
  return decimal_length_scalar(text);
#endif
}

std::string_view decimal_of_token(std::string_view token) {
  if (token.size() < 3 || token[0] != '"') return {};
  const std::size_t length = decimal_length(token.data() + 1);
  return length + 2 <= token.size() ? token.substr(1, length) : std::string_view{};
}

bool read_levels(std::string_view array, std::vector<LevelText>& out) {
  const char* at = array.data();
  const char* const end = at + array.size();
  const auto take = [&](char c) {
    at = skip_space(at, end);
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
  if (!take('[')) return false;
  if (take(']')) return skip_space(at, end) == end;
  do {
    LevelText level;
    if (!take('[') || !decimal(level.price) || !take(',') || !decimal(level.quantity) ||
        !take(']')) {
      return false;
    }
    out.push_back(level);
  } while (take(','));
  return take(']') && skip_space(at, end) == end;
}

}  // namespace virtufin::wsm

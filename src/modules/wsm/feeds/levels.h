#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/// Decimals and price levels as venues write them, read in place.
namespace virtufin::wsm {

/// What the readers below may read (not use) behind the text that they are given. Buffers padded
/// for simdjson have it.
inline constexpr std::size_t kReadPadding = 64;

/// Bounds of a decimal: what lies within is exact in an order book's key (see order_book.h).
inline constexpr std::size_t kMaxDecimalWidth = 23;
inline constexpr std::size_t kMaxIntegerDigits = 20;
inline constexpr std::size_t kMaxFractionDigits = 18;

/// One level of a side, the decimals as the venue wrote them; views into the frame.
struct LevelText {
  std::string_view price, quantity;
};

/// Length of the unsigned decimal (`0.35130000`, `2`) that begins at `text` and ends before a
/// quote; 0 if there is none. Needs kReadPadding readable bytes behind the text.
inline std::size_t decimal_length(const char* text);

/// The decimal of a JSON token, `"0.3513"`; empty if it is not one. Needs the padding.
inline std::string_view decimal_of_token(std::string_view token);

/// The unsigned integer that begins at `text`, and where it ends; null if there is none, if it has
/// more than 19 digits, or a leading zero, which JSON forbids. Needs the padding.
inline const char* read_unsigned(const char* text, std::uint64_t& number);

/// The levels of one side. Keeps its memory from frame to frame.
class Levels {
 public:
  void clear() { size_ = 0; }
  std::size_t size() const { return size_; }
  const LevelText* begin() const { return levels_.get(); }
  const LevelText* end() const { return levels_.get() + size_; }

  /// Room for `more` levels behind the last; commit() says how many were written there.
  LevelText* reserve(std::size_t more) {
    if (size_ + more > capacity_) grow(size_ + more);
    return levels_.get() + size_;
  }
  void commit(std::size_t written) { size_ += written; }

 private:
  void grow(std::size_t capacity);

  std::unique_ptr<LevelText[]> levels_;
  std::size_t size_ = 0, capacity_ = 0;
};

/// Reads the JSON array `[["<price>","<quantity>"],…]`, written without a space, that begins at
/// `at`: replaces `out`, and says where the array ends. Null if it is not exactly of this shape
/// before `end`. Needs the padding.
const char* read_dense_levels(const char* at, const char* end, Levels& out);

/// The same of an array that is given whole, with or without white space. Its text may be passed on
/// as JSON if this is true.
bool read_levels(std::string_view array, Levels& out);

/// `0`, `0.00000000`: the level is gone.
inline bool is_zero(std::string_view decimal) {
  return decimal.find_first_not_of("0.") == std::string_view::npos;
}

namespace detail {

/// For decimals of any width that is allowed.
std::size_t long_decimal_length(const char* text);

}  // namespace detail

inline std::size_t decimal_length(const char* text) {
#if defined(__SSE2__)
  // Nearly every decimal is shorter than 16: one load says where it ends and what is in it.
  const __m128i chars = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text));
  const auto mask = [](__m128i lanes) {
    return static_cast<std::uint32_t>(_mm_movemask_epi8(lanes));
  };
  const std::uint32_t quotes = mask(_mm_cmpeq_epi8(chars, _mm_set1_epi8('"')));
  if (quotes == 0) return detail::long_decimal_length(text);
  const std::uint32_t inside = (quotes & (~quotes + 1)) - 1;  // below the first quote
  const std::uint32_t dots = mask(_mm_cmpeq_epi8(chars, _mm_set1_epi8('.'))) & inside;
  // Digits are the only bytes that stay under 10 when '0' is taken off.
  const __m128i less = _mm_sub_epi8(chars, _mm_set1_epi8('0'));
  const std::uint32_t digits =
      mask(_mm_cmpeq_epi8(_mm_min_epu8(less, _mm_set1_epi8(9)), less)) & inside;
  const std::uint32_t ends = 1U | (inside ^ (inside >> 1));
  const bool good =
      inside != 0 && (digits | dots) == inside && (dots & (dots - 1)) == 0 && (dots & ends) == 0;
  return good ? static_cast<std::size_t>(std::countr_zero(quotes)) : 0;
#else
  return detail::long_decimal_length(text);
#endif
}

inline std::string_view decimal_of_token(std::string_view token) {
  if (token.size() < 3 || token[0] != '"') return {};
  const std::size_t length = decimal_length(token.data() + 1);
  return length + 2 <= token.size() ? token.substr(1, length) : std::string_view{};
}

inline const char* read_unsigned(const char* text, std::uint64_t& number) {
  constexpr std::size_t kMaxDigits = 19;  // so many never overflow 64 bits
  const auto digit_at = [&](std::size_t at) {
    return static_cast<unsigned>(static_cast<unsigned char>(text[at])) - unsigned{'0'};
  };
  std::uint64_t value = 0;
  std::size_t at = 0;
  if constexpr (std::endian::native == std::endian::little) {
    // Eight digits in three multiplications, as venues' ids and times have at least so many.
    std::uint64_t word;
    std::memcpy(&word, text, sizeof(word));
    word -= 0x3030303030303030;
    if (((word | (word + 0x7676767676767676)) & 0x8080808080808080) == 0) {
      word = word * 10 + (word >> 8);
      value = (((word & 0x000000ff000000ff) * 0x000f424000000064) +
               (((word >> 16) & 0x000000ff000000ff) * 0x0000271000000001)) >>
              32;
      at = 8;
    }
  }
  for (; at <= kMaxDigits && digit_at(at) <= 9; ++at) value = value * 10 + digit_at(at);
  const bool leading_zero = text[0] == '0' && at > 1;
  if (at == 0 || at > kMaxDigits || leading_zero) return nullptr;
  number = value;
  return text + at;
}

}  // namespace virtufin::wsm

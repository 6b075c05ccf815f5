#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

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
std::size_t decimal_length(const char* text);

/// The decimal of a JSON token, `"0.3513"`; empty if it is not one. Needs the padding.
std::string_view decimal_of_token(std::string_view token);

/// Appends the levels of a JSON array `[["<price>","<quantity>"],…]` to `out`. True only if the
/// whole array has exactly this shape, so that its text may be passed on as JSON. Needs the
/// padding.
bool read_levels(std::string_view array, std::vector<LevelText>& out);

/// `0`, `0.00000000`: the level is gone.
inline bool is_zero(std::string_view decimal) {
  return decimal.find_first_not_of("0.") == std::string_view::npos;
}

}  // namespace virtufin::wsm

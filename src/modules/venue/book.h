#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The venue's own order book. Prices and quantities keep the text that the venue wrote; prices are
/// compared by value. Threads: one at a time.
namespace virtufin::venue {

/// A price or quantity, exactly: digits, optionally a point and up to 18 more.
struct Decimal {
  std::uint64_t whole = 0;
  std::uint64_t fraction = 0;  ///< in units of 1e-18

  static std::optional<Decimal> parse(std::string_view text);
  bool zero() const { return whole == 0 && fraction == 0; }
  friend auto operator<=>(const Decimal&, const Decimal&) = default;
};

/// One `["price","quantity"]`, decoded.
struct Level {
  Decimal price;
  std::string price_text, quantity_text;
  bool removed = false;  ///< the quantity is zero

  /// Nothing if either is no decimal number.
  static std::optional<Level> parse(std::string_view price, std::string_view quantity);
  friend bool operator==(const Level&, const Level&) = default;
};

/// What a depth frame or a snapshot says.
struct DepthChange {
  std::vector<Level> bids, asks;
};

/// The levels of one symbol.
class Book {
 public:
  /// A level is replaced, or removed if its quantity is zero.
  void apply(const DepthChange& change);

  /// Best first; at most `limit` a side.
  DepthChange levels(std::size_t limit) const;

  /// What applied to this book makes it `target`.
  DepthChange difference_to(const Book& target) const;

  /// A bid at or above an ask.
  bool crossed() const;

  std::size_t bid_count() const { return bids_.size(); }
  std::size_t ask_count() const { return asks_.size(); }
  friend bool operator==(const Book&, const Book&) = default;

 private:
  using Side = std::map<Decimal, Level>;
  Side bids_, asks_;
};

/// Appends `"<bids_key>":[["p","q"],…],"<asks_key>":[…]`, as Binance writes it.
void append_levels(std::string_view bids_key, std::string_view asks_key, const DepthChange& levels,
                   std::string& out);

}  // namespace virtufin::venue

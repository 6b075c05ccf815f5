#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "modules/wsm/feeds/levels.h"

namespace virtufin::wsm {

enum class Side : std::uint8_t { kBid, kAsk };

/// One symbol's order book with exact prices. A price's key is an integer, the decimal times 10^18;
/// what is shown is the venue's own text.
///
/// Each side is one sorted vector with its best level at the end, where most changes are. A side
/// that outgrows `max_levels` loses its levels farthest from the best.
///
/// Threads: one.
class OrderBook {
 public:
  /// Order of prices on a side: the better the greater.
  __extension__ using Key = unsigned __int128;

  /// A level with its own copy of the venue's text; one cache line.
  class Level {
   public:
    /// `text` as read_levels() gives it: within the bounds of levels.h.
    Level(Side side, const LevelText& text);

    std::string_view price() const { return {price_, price_width_}; }
    std::string_view quantity() const { return {quantity_, quantity_width_}; }
    Key key() const { return key_; }

   private:
    Key key_;
    char price_[kMaxDecimalWidth];
    std::uint8_t price_width_;
    char quantity_[kMaxDecimalWidth];
    std::uint8_t quantity_width_;
  };

  explicit OrderBook(std::size_t max_levels) : max_levels_(max_levels) {}

  /// Sets the quantity at a price; a quantity of zero takes the level away.
  void apply(Side side, const Level& level);
  void apply(Side side, const LevelText& text) { apply(side, Level(side, text)); }
  void clear();

  std::size_t depth(Side side) const { return levels(side).size(); }
  /// Null if the side is empty.
  const Level* best(Side side) const {
    return levels(side).empty() ? nullptr : &levels(side).back();
  }
  /// Appends `[["<price>","<quantity>"],…]`, best first.
  void append_json(Side side, std::string& out) const;

 private:
  std::vector<Level>& levels(Side side) { return side == Side::kBid ? bids_ : asks_; }
  const std::vector<Level>& levels(Side side) const { return side == Side::kBid ? bids_ : asks_; }

  std::size_t max_levels_;
  std::vector<Level> bids_, asks_;
};

}  // namespace virtufin::wsm

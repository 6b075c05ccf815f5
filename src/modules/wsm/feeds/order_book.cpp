#include "modules/wsm/feeds/order_book.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace virtufin::wsm {
namespace {

constexpr auto kPowersOfTen = [] {
  std::array<std::uint64_t, kMaxFractionDigits + 1> powers{};
  powers[0] = 1;
  for (std::size_t i = 1; i < powers.size(); ++i) powers[i] = powers[i - 1] * 10;
  return powers;
}();

/// The decimal times 10^18. Bounds: 20 digits before the dot and 18 behind it stay under 2^128.
OrderBook::Key scaled(std::string_view decimal) {
  OrderBook::Key wide = 0;
  std::uint64_t digits = 0;
  std::size_t fraction = 0;
  bool behind_dot = false;
  std::size_t count = 0;
  for (const char c : decimal) {
    if (c == '.') {
      behind_dot = true;
      continue;
    }
    if (++count == 20) wide = digits;  // 19 digits fit 64 bits
    if (count < 20) {
      digits = digits * 10 + static_cast<std::uint64_t>(c - '0');
    } else {
      wide = wide * 10 + static_cast<std::uint64_t>(c - '0');
    }
    fraction += behind_dot ? 1 : 0;
  }
  return (count < 20 ? OrderBook::Key{digits} : wide) * kPowersOfTen[kMaxFractionDigits - fraction];
}

}  // namespace

OrderBook::Level::Level(Side side, const LevelText& text)
    : key_(scaled(text.price)),
      price_width_(static_cast<std::uint8_t>(text.price.size())),
      quantity_width_(static_cast<std::uint8_t>(text.quantity.size())) {
  // The lowest ask is the best: complemented, both sides grow towards their best.
  if (side == Side::kAsk) key_ = ~key_;
  std::memcpy(price_, text.price.data(), text.price.size());
  std::memcpy(quantity_, text.quantity.data(), text.quantity.size());
}

void OrderBook::apply(Side side, const Level& level) {
  std::vector<Level>& all = levels(side);
  const bool gone = is_zero(level.quantity());
  const auto at =
      std::lower_bound(all.begin(), all.end(), level.key(),
                       [](const Level& candidate, Key key) { return candidate.key() < key; });
  if (at != all.end() && at->key() == level.key()) {
    if (gone) {
      all.erase(at);
    } else {
      *at = level;
    }
    return;
  }
  if (gone) return;  // venues remove levels that we were never shown
  all.insert(at, level);
  // A sixteenth at once: the front of a vector is the dear end.
  if (all.size() > max_levels_) {
    const std::size_t excess = all.size() - max_levels_ + max_levels_ / 16;
    all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(excess, all.size())));
  }
}

void OrderBook::clear() {
  bids_.clear();
  asks_.clear();
}

void OrderBook::append_json(Side side, std::string& out) const {
  const std::vector<Level>& all = levels(side);
  out.push_back('[');
  for (auto level = all.rbegin(); level != all.rend(); ++level) {
    if (level != all.rbegin()) out.push_back(',');
    out.append("[\"").append(level->price()).append("\",\"");
    out.append(level->quantity()).append("\"]");
  }
  out.push_back(']');
}

}  // namespace virtufin::wsm

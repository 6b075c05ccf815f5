#include "modules/venue/book.h"

#include <charconv>

namespace virtufin::venue {
namespace {

constexpr std::size_t kFractionDigits = 18;

void apply_side(const std::vector<Level>& changes, std::map<Decimal, Level>& side) {
  for (const Level& level : changes) {
    if (level.removed) {
      side.erase(level.price);
    } else {
      side.insert_or_assign(level.price, level);
    }
  }
}

/// Zero with as many digits as the venue writes: `0.00000000`, `0`.
Level removal_of(const Level& level) {
  Level removal = level;
  removal.removed = true;
  for (char& c : removal.quantity_text) {
    if (c != '.') c = '0';
  }
  const std::size_t point = removal.quantity_text.find('.');
  const std::size_t whole = point == std::string::npos ? removal.quantity_text.size() : point;
  removal.quantity_text.erase(0, whole - 1);
  return removal;
}

std::vector<Level> side_difference(const std::map<Decimal, Level>& from,
                                   const std::map<Decimal, Level>& to) {
  std::vector<Level> changes;
  for (const auto& [price, level] : from) {
    if (!to.contains(price)) changes.push_back(removal_of(level));
  }
  for (const auto& [price, level] : to) {
    const auto old = from.find(price);
    if (old == from.end() || old->second.quantity_text != level.quantity_text) {
      changes.push_back(level);
    }
  }
  return changes;
}

void append_side(std::string_view key, const std::vector<Level>& levels, std::string& out) {
  out.append("\"").append(key).append("\":[");
  for (std::size_t i = 0; i < levels.size(); ++i) {
    out.append(i == 0 ? "[\"" : ",[\"")
        .append(levels[i].price_text)
        .append("\",\"")
        .append(levels[i].quantity_text)
        .append("\"]");
  }
  out.push_back(']');
}

}  // namespace

std::optional<Decimal> Decimal::parse(std::string_view text) {
  const std::size_t point = text.find('.');
  const std::string_view whole = text.substr(0, point);
  Decimal value;
  // from_chars takes no sign for unsigned types, and the end must be the end of the digits.
  const auto parsed = std::from_chars(whole.data(), whole.data() + whole.size(), value.whole);
  if (parsed.ec != std::errc() || parsed.ptr != whole.data() + whole.size()) return {};
  if (point == std::string_view::npos) return value;
  const std::string_view fraction = text.substr(point + 1);
  if (fraction.empty() || fraction.size() > kFractionDigits) return {};
  for (std::size_t i = 0; i < kFractionDigits; ++i) {
    if (i < fraction.size() && (fraction[i] < '0' || fraction[i] > '9')) return {};
    const auto digit = static_cast<std::uint64_t>(i < fraction.size() ? fraction[i] - '0' : 0);
    value.fraction = value.fraction * 10 + digit;
  }
  return value;
}

std::optional<Level> Level::parse(std::string_view price, std::string_view quantity) {
  const auto price_value = Decimal::parse(price);
  const auto quantity_value = Decimal::parse(quantity);
  if (!price_value || !quantity_value) return {};
  return Level{*price_value, std::string(price), std::string(quantity), quantity_value->zero()};
}

void Book::apply(const DepthChange& change) {
  apply_side(change.bids, bids_);
  apply_side(change.asks, asks_);
}

DepthChange Book::levels(std::size_t limit) const {
  DepthChange out;
  for (auto it = bids_.rbegin(); it != bids_.rend() && out.bids.size() < limit; ++it) {
    out.bids.push_back(it->second);
  }
  for (auto it = asks_.begin(); it != asks_.end() && out.asks.size() < limit; ++it) {
    out.asks.push_back(it->second);
  }
  return out;
}

DepthChange Book::difference_to(const Book& target) const {
  return {side_difference(bids_, target.bids_), side_difference(asks_, target.asks_)};
}

bool Book::crossed() const {
  return !bids_.empty() && !asks_.empty() && bids_.rbegin()->first >= asks_.begin()->first;
}

void append_levels(std::string_view bids_key, std::string_view asks_key, const DepthChange& levels,
                   std::string& out) {
  append_side(bids_key, levels.bids, out);
  out.push_back(',');
  append_side(asks_key, levels.asks, out);
}

}  // namespace virtufin::venue

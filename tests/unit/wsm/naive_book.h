#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace virtufin::wsm::test {

/// An order book as one would write it in an afternoon, sharing nothing with ours: prices as padded
/// texts in a map.
class NaiveBook {
 public:
  void set(bool bid, std::string_view price, std::string_view quantity) {
    auto& side = bid ? bids_ : asks_;
    if (quantity.find_first_not_of("0.") == std::string_view::npos) {
      side.erase(padded(price));
    } else {
      side[padded(price)] = {std::string(price), std::string(quantity)};
    }
  }

  /// Best first, as JSON.
  std::string json(bool bid) const {
    std::string out;
    const auto add = [&](const auto& level) {
      out += (out.empty() ? "[[\"" : ",[\"") + level.second.first + "\",\"" + level.second.second +
             "\"]";
    };
    if (bid) {
      for (auto level = bids_.rbegin(); level != bids_.rend(); ++level) add(*level);
    } else {
      for (const auto& level : asks_) add(level);
    }
    return out.empty() ? "[]" : out + "]";
  }

 private:
  static std::string padded(std::string_view price) {
    const std::size_t dot = std::min(price.find('.'), price.size());
    std::string whole(price.substr(0, dot));
    std::string part(dot < price.size() ? price.substr(dot + 1) : std::string_view());
    whole.insert(0, 30 - whole.size(), '0');
    part.resize(30, '0');
    return whole + part;
  }

  std::map<std::string, std::pair<std::string, std::string>> bids_, asks_;
};

}  // namespace virtufin::wsm::test

#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

/// Reads the payloads of `orderbook.snapshot` and `orderbook.updated` (contract/envelope.md).
///
/// A scanner for these two shapes rather than a JSON library: it runs for every frame of a feed,
/// where it costs a few nanoseconds a level. It takes any order of members, white space and members
/// that it does not know; what is no such JSON is refused.
namespace imbalance {

/// A decimal string: its value, and how many digits stood behind the point, so that it can be
/// written again exactly as the venue wrote it.
struct Decimal {
  double value = 0;
  std::uint8_t scale = 0;
};

struct LevelChange {
  Decimal price;
  double qty = 0;
};

struct Payload {
  std::vector<LevelChange> bids, asks;
  std::uint64_t first_update_id = 0;  ///< 0 in snapshots
  std::uint64_t last_update_id = 0;

  void clear() {
    bids.clear();
    asks.clear();
    first_update_id = last_update_id = 0;
  }
};

class Scanner {
 public:
  explicit Scanner(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  /// False for what is not such a payload; `out` then holds no meaning.
  bool read(Payload& out) {
    if (!take('{')) return false;
    if (take('}')) return true;
    do {
      std::string_view name;
      if (!string(name) || !take(':')) return false;
      bool ok;
      if (name == "bids_delta" || name == "bids") {
        ok = levels(out.bids);
      } else if (name == "asks_delta" || name == "asks") {
        ok = levels(out.asks);
      } else if (name == "first_update_id") {
        ok = integer(out.first_update_id);
      } else if (name == "last_update_id") {
        ok = integer(out.last_update_id);
      } else {
        ok = skip_value();
      }
      if (!ok) return false;
    } while (take(','));
    return take('}');
  }

 private:
  void space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }
  bool take(char wanted) {
    if (at_ != end_ && *at_ == wanted) {
      ++at_;
      return true;
    }
    space();
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }

  bool string(std::string_view& out) {
    if (!take('"')) return false;
    const char* first = at_;
    while (at_ != end_ && *at_ != '"') at_ += *at_ == '\\' && at_ + 1 != end_ ? 2 : 1;
    if (at_ == end_) return false;
    out = {first, static_cast<std::size_t>(at_ - first)};
    ++at_;
    return true;
  }

  bool integer(std::uint64_t& out) {
    space();
    const auto [end, error] = std::from_chars(at_, end_, out);
    at_ = end;
    return error == std::errc{};
  }

  bool levels(std::vector<LevelChange>& out) {
    if (!take('[')) return false;
    if (take(']')) return true;
    do {
      LevelChange& level = out.emplace_back();
      Decimal qty;
      if (!take('[') || !decimal(level.price) || !take(',') || !decimal(qty) || !take(']')) {
        return false;
      }
      level.qty = qty.value;
    } while (take(','));
    return take(']');
  }

  /// `"0.35130000"`. Up to 15 digits the quotient of two exact doubles is the nearest one, so that
  /// equal prices compare equal however many zeros they end in.
  bool decimal(Decimal& out) {
    if (!take('"')) return false;
    static constexpr double kPower[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                        1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const char* first = at_;
    std::uint64_t digits = 0;
    const char* point = nullptr;
    for (; at_ != end_; ++at_) {
      const unsigned digit = static_cast<unsigned char>(*at_) - '0';
      if (digit <= 9) {
        digits = digits * 10 + digit;
      } else if (*at_ == '.' && point == nullptr) {
        point = at_;
      } else {
        break;
      }
    }
    if (at_ == end_ || *at_ != '"' || at_ == first) return false;
    const auto length = static_cast<std::size_t>(at_ - first) - (point != nullptr ? 1 : 0);
    const auto scale = point != nullptr ? static_cast<std::size_t>(at_ - point) - 1 : 0;
    if (length == 0 || scale > 255) return false;
    out.scale = static_cast<std::uint8_t>(scale);
    if (length <= 15 || (length <= 19 && digits < (1ULL << 53) && scale <= 15)) {
      out.value = static_cast<double>(digits) / kPower[scale];
    } else if (std::from_chars(first, at_, out.value).ec != std::errc{}) {
      return false;
    }
    ++at_;
    return true;
  }

  /// Any other value: a string, or text up to the `,` or `}` that ends it at this depth.
  bool skip_value() {
    space();
    int depth = 0;
    std::string_view ignored;
    while (at_ != end_) {
      switch (*at_) {
        case '"':
          if (!string(ignored)) return false;
          continue;
        case '[':
        case '{': ++depth; break;
        case ']':
        case '}':
          if (depth == 0) return true;
          --depth;
          break;
        case ',':
          if (depth == 0) return true;
          break;
        default: break;
      }
      ++at_;
    }
    return false;
  }

  const char* at_;
  const char* end_;
};

}  // namespace imbalance

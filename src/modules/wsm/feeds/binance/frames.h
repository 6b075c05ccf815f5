#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/time.h"
#include "modules/wsm/feeds/levels.h"

/// The venue's frames as plain values: one pass over the members in whatever order they come. Each
/// reader is true only if every member that it needs was there and was what it must be.
/// Private to the codec. Views point into the frame, which needs kReadPadding behind it.
namespace virtufin::wsm::binance {

struct DepthFrame {
  TimePoint time;
  std::uint64_t first = 0, last = 0, previous = 0;
  std::string_view bids, asks;  ///< the arrays as they stand
  std::vector<LevelText> bid_levels, ask_levels;
};

struct TradeFrame {
  TimePoint time, trade_time;
  std::uint64_t number = 0;
  std::string_view price, quantity;
  bool buyer_is_maker = false;
};

struct TickerFrame {
  std::uint64_t number = 0;
  std::string_view bid, bid_quantity, ask, ask_quantity;
  std::optional<TimePoint> time;  ///< spot gives none
};

struct CandleFrame {
  TimePoint time, close_time;
  std::string_view open, high, low, close, volume;
  bool closed = false;
};

struct SnapshotBody {
  std::uint64_t last_update_id = 0;
  std::vector<LevelText> bids, asks;
};

using Object = simdjson::ondemand::object;

/// `symbol` is what the frame must be about. `has_previous`: futures.
bool read_depth(Object& data, std::string_view symbol, bool has_previous, DepthFrame& frame);
/// `number_key` is `a` for aggregated trades, `t` for single ones.
bool read_trade(Object& data, std::string_view symbol, char number_key, TradeFrame& frame);
bool read_ticker(Object& data, std::string_view symbol, bool has_time, TickerFrame& frame);
bool read_candle(Object& data, std::string_view symbol, CandleFrame& frame);
bool read_snapshot(Object& root, SnapshotBody& body);

/// The text of a string token, without its quotes; empty if it is no string.
inline std::string_view unquoted(std::string_view token) {
  while (token.size() > 2 && token.back() != '"') token.remove_suffix(1);  // white space behind it
  return token.size() > 2 && token.front() == '"' ? token.substr(1, token.size() - 2)
                                                  : std::string_view{};
}

}  // namespace virtufin::wsm::binance

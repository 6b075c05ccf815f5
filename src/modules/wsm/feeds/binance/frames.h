#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/time.h"
#include "modules/wsm/feeds/binance/dense.h"
#include "modules/wsm/feeds/levels.h"

/// The venue's frames as plain values: one pass over the members in whatever order they come. Each
/// reader is true only if every member that it needs was there and was what it must be. `Source` is
/// Dense or Tree. Private to the codec; views point into the frame.
namespace virtufin::wsm::binance {

struct DepthFrame {
  TimePoint time;
  std::uint64_t first = 0, last = 0, previous = 0;
  std::string_view bids, asks;  ///< the arrays as they stand
  Levels bid_levels, ask_levels;
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

/// Which of the needed members were there.
class Seen {
 public:
  bool operator()(unsigned bit) {
    bits_ |= 1U << bit;
    return true;
  }
  bool all(unsigned count) const { return bits_ == (1U << count) - 1; }

 private:
  unsigned bits_ = 0;
};

template <class Source>
bool read_time(Source& value, TimePoint& out) {
  // In the year 2262: nanoseconds in 64 bits reach no further.
  constexpr auto kLast = std::chrono::floor<std::chrono::milliseconds>(TimePoint::max());
  std::uint64_t ms = 0;
  if (!value.number(ms)) return false;
  if (ms > static_cast<std::uint64_t>(kLast.time_since_epoch().count())) return false;
  out = TimePoint(std::chrono::milliseconds(ms));
  return true;
}

/// `symbol` is what the frame must be about. `has_previous`: futures.
template <class Source>
bool read_depth(Source& data, std::string_view symbol, bool has_previous, DepthFrame& frame) {
  Seen seen;
  if (!has_previous) seen(6);
  const bool read = data.members([&](unsigned name, Source& value) {
    switch (name) {
      case key("E"): return read_time(value, frame.time) && seen(0);
      case key("s"): return value.is(symbol) && seen(1);
      case key("U"): return value.number(frame.first) && seen(2);
      case key("u"): return value.number(frame.last) && seen(3);
      case key("b"): return value.side(frame.bids, frame.bid_levels) && seen(4);
      case key("a"): return value.side(frame.asks, frame.ask_levels) && seen(5);
      case key("pu"): return value.number(frame.previous) && seen(6);
      default: return value.skip();
    }
  });
  return read && seen.all(7) && frame.first <= frame.last;
}

/// `number_key` is `a` for aggregated trades, `t` for single ones.
template <class Source>
bool read_trade(Source& data, std::string_view symbol, char number_key, TradeFrame& frame) {
  Seen seen;
  const bool read = data.members([&](unsigned name, Source& value) {
    switch (name) {
      case key("E"): return read_time(value, frame.time) && seen(0);
      case key("s"): return value.is(symbol) && seen(1);
      case key("p"): return value.decimal(frame.price) && seen(2);
      case key("q"): return value.decimal(frame.quantity) && seen(3);
      case key("T"): return read_time(value, frame.trade_time) && seen(4);
      case key("m"): return value.boolean(frame.buyer_is_maker) && seen(5);
      default:
        if (name != static_cast<unsigned char>(number_key)) return value.skip();
        return value.number(frame.number) && seen(6);
    }
  });
  return read && seen.all(7);
}

template <class Source>
bool read_ticker(Source& data, std::string_view symbol, bool has_time, TickerFrame& frame) {
  Seen seen;
  frame.time.reset();
  if (!has_time) seen(6);
  const bool read = data.members([&](unsigned name, Source& value) {
    switch (name) {
      case key("u"): return value.number(frame.number) && seen(0);
      case key("s"): return value.is(symbol) && seen(1);
      case key("b"): return value.decimal(frame.bid) && seen(2);
      case key("B"): return value.decimal(frame.bid_quantity) && seen(3);
      case key("a"): return value.decimal(frame.ask) && seen(4);
      case key("A"): return value.decimal(frame.ask_quantity) && seen(5);
      case key("E"): return read_time(value, frame.time.emplace()) && seen(6);
      default: return value.skip();
    }
  });
  return read && seen.all(7);
}

template <class Source>
bool read_candle_body(Source& body, CandleFrame& frame) {
  Seen seen;
  const bool read = body.members([&](unsigned name, Source& value) {
    switch (name) {
      case key("T"): return read_time(value, frame.close_time) && seen(0);
      case key("o"): return value.decimal(frame.open) && seen(1);
      case key("h"): return value.decimal(frame.high) && seen(2);
      case key("l"): return value.decimal(frame.low) && seen(3);
      case key("c"): return value.decimal(frame.close) && seen(4);
      case key("v"): return value.decimal(frame.volume) && seen(5);
      case key("x"): return value.boolean(frame.closed) && seen(6);
      default: return value.skip();
    }
  });
  return read && seen.all(7);
}

template <class Source>
bool read_candle(Source& data, std::string_view symbol, CandleFrame& frame) {
  Seen seen;
  const bool read = data.members([&](unsigned name, Source& value) {
    switch (name) {
      case key("E"): return read_time(value, frame.time) && seen(0);
      case key("s"): return value.is(symbol) && seen(1);
      case key("k"): return read_candle_body(value, frame) && seen(2);
      default: return value.skip();
    }
  });
  return read && seen.all(3);
}

}  // namespace virtufin::wsm::binance

#include "modules/venue/synthetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <utility>

#include "core/log.h"

namespace virtufin::venue {
namespace {

// Prices are in ticks of 0.01, quantities in lots of 0.001.
constexpr int kTickDigits = 2, kLotDigits = 3;
constexpr std::int64_t kMaxLots = 10'000;
constexpr std::int64_t kFirstUpdateId = 1'000'000, kFirstTradeId = 500'000,
                       kFirstAggregateId = 300'000;
/// The walk turns round here: every level keeps a positive price.
constexpr std::int64_t kLowestTicks = 1'000;
constexpr std::int64_t kMinuteMs = 60'000;

// Parts of 100 of the frames; the rest are klines.
constexpr std::uint64_t kDepthShare = 50, kBookTickerShare = 25, kTradeShare = 20;

enum Stream : std::size_t { kDepth, kBookTicker, kTrade, kKline, kStreamsPerSymbol };

/// `value` in units of 10^-digits, written with `width` digits after the point.
std::string decimal(std::int64_t value, int digits, int width) {
  std::int64_t unit = 1;
  for (int i = 0; i < digits; ++i) unit *= 10;
  return fmt::format("{}.{:0{}}{:0<{}}", value / unit, value % unit, digits, "", width - digits);
}

}  // namespace

/// One symbol's book, ids and current candle.
struct SyntheticMarket::Symbol {
  std::string name;
  std::size_t first_stream = 0;
  std::int64_t best_bid = 0;            ///< ticks; the best ask is one above
  std::deque<std::int64_t> bids, asks;  ///< lots, best first, one tick apart
  std::int64_t update_id = kFirstUpdateId, last_depth_id = kFirstUpdateId;
  std::int64_t trade_id = kFirstTradeId, aggregate_id = kFirstAggregateId;
  std::int64_t last_kline_ms = 0;
  bool begun = false;

  struct Candle {
    std::int64_t minute = 0, open = 0, close = 0, high = 0, low = 0;
    std::int64_t lots = 0, taker_lots = 0, quote = 0, taker_quote = 0;  ///< quote: tick × lot
    std::int64_t first_trade = -1, last_trade = -1, trades = 0;
  } candle;

  void begin_candle(std::int64_t minute) {
    candle = {};
    candle.minute = minute;
    candle.open = candle.close = candle.high = candle.low = best_bid;
  }
  void trade(std::int64_t price, std::int64_t lots, bool taker_buys, std::int64_t trades) {
    if (candle.trades == 0) {
      candle.open = candle.high = candle.low = price;
      candle.first_trade = trade_id + 1;
    }
    candle.close = price;
    candle.high = std::max(candle.high, price);
    candle.low = std::min(candle.low, price);
    candle.lots += lots;
    candle.quote += price * lots;
    if (taker_buys) {
      candle.taker_lots += lots;
      candle.taker_quote += price * lots;
    }
    trade_id += trades;
    candle.last_trade = trade_id;
    candle.trades += trades;
  }
};

namespace {

/// How this dialect writes its numbers: spot always with eight digits after the point.
struct Writer {
  Dialect dialect;

  std::string price(std::int64_t ticks) const {
    return decimal(ticks, kTickDigits, dialect == Dialect::kSpot ? 8 : kTickDigits);
  }
  std::string quantity(std::int64_t lots) const {
    return decimal(lots, kLotDigits, dialect == Dialect::kSpot ? 8 : kLotDigits);
  }
  std::string quote(std::int64_t value) const {
    return decimal(value, kTickDigits + kLotDigits,
                   dialect == Dialect::kSpot ? 8 : kTickDigits + kLotDigits);
  }
  Level level(std::int64_t ticks, std::int64_t lots) const {
    return {{}, price(ticks), quantity(lots), lots == 0};
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<SyntheticMarket>> SyntheticMarket::create(Dialect dialect,
                                                                         SyntheticOptions options) {
  if (options.symbols.empty()) {
    return invalid_argument("the synthetic market has no symbol; set venue.symbols");
  }
  if (options.rate <= 0) {
    return invalid_argument("venue.synthetic_rate is {}; it must be positive", options.rate);
  }
  for (const std::string& symbol : options.symbols) {
    const bool good = !symbol.empty() && std::all_of(symbol.begin(), symbol.end(), [](char c) {
      return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    });
    if (!good) {
      return invalid_argument("venue.symbols: '{}' is no symbol of capital letters and digits",
                              printable(symbol));
    }
  }
  std::unique_ptr<SyntheticMarket> market(new SyntheticMarket(dialect, std::move(options)));
  if (market->indices_.size() != market->options_.symbols.size()) {
    return invalid_argument("venue.symbols names a symbol twice");
  }
  return market;
}

SyntheticMarket::SyntheticMarket(Dialect dialect, SyntheticOptions options)
    : dialect_(dialect), options_(std::move(options)), random_state_(options_.seed) {
  for (const std::string& name : options_.symbols) {
    Symbol symbol;
    symbol.name = name;
    symbol.first_stream = streams_.size();
    symbol.best_bid = 100 * kLowestTicks + static_cast<std::int64_t>(random(1'000'000));
    for (int i = 0; i < kLevels; ++i) {
      symbol.bids.push_back(1 + static_cast<std::int64_t>(random(kMaxLots)));
      symbol.asks.push_back(1 + static_cast<std::int64_t>(random(kMaxLots)));
    }
    std::string lower = name;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (const std::string_view channel : {"depth@100ms", "bookTicker", "aggTrade", "kline_1m"}) {
      streams_.push_back(fmt::format("{}@{}", lower, channel));
    }
    indices_.emplace(name, symbols_.size());
    symbols_.push_back(std::move(symbol));
  }
}

SyntheticMarket::~SyntheticMarket() = default;

/// SplitMix64: the same on every machine, unlike the standard library's distributions.
std::uint64_t SyntheticMarket::random(std::uint64_t below) {
  random_state_ += 0x9E3779B97F4A7C15ULL;
  std::uint64_t z = random_state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return (z ^ (z >> 31)) % below;
}

std::optional<std::chrono::nanoseconds> SyntheticMarket::next_due() const {
  constexpr std::uint64_t kSecondNs = 1'000'000'000;
  const auto rate = static_cast<std::uint64_t>(options_.rate);
  return std::chrono::seconds(frames_ / rate) +
         std::chrono::nanoseconds(frames_ % rate * kSecondNs / rate);
}

std::int64_t SyntheticMarket::market_ms() const {
  const TimePoint time = kSyntheticBegin + *next_due();
  return std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

WrittenFrame SyntheticMarket::write_next(TimePoint now, std::string& out) {
  const std::int64_t time_ms = market_ms();
  const std::int64_t now_ms =
      std::chrono::floor<std::chrono::milliseconds>(now.time_since_epoch()).count();
  moved_ms_ = options_.keep_times ? 0 : now_ms - time_ms;

  Symbol& symbol = symbols_[frames_ % symbols_.size()];
  const std::int64_t minute = time_ms / kMinuteMs;
  if (!symbol.begun) symbol.begin_candle(minute);
  const std::uint64_t choice = random(100);
  std::size_t stream = kKline;
  if (!symbol.begun || choice < kDepthShare) {
    stream = kDepth;
  } else if (choice < kDepthShare + kBookTickerShare) {
    stream = kBookTicker;
  } else if (choice < kDepthShare + kBookTickerShare + kTradeShare) {
    stream = kTrade;
  }
  // A minute that is over is closed before anything else happens.
  if (symbol.candle.minute != minute) stream = kKline;
  symbol.begun = true;

  const std::size_t begin = out.size();
  const std::size_t index = symbol.first_stream + stream;
  out.append(R"({"stream":")").append(streams_[index]).append(R"(","data":)");
  const std::size_t front = out.size() - begin;
  switch (stream) {
    case kDepth: write_depth(symbol, out); break;
    case kBookTicker: write_book_ticker(symbol, out); break;
    case kTrade: write_trade(symbol, out); break;
    default: write_kline(symbol, out); break;
  }
  out.push_back('}');
  ++frames_;
  return {index, front, 1};
}

void SyntheticMarket::move_price(Symbol& symbol, bool up, DepthChange& change) {
  const Writer writer{dialect_};
  auto& gaining = up ? symbol.bids : symbol.asks;
  auto& losing = up ? symbol.asks : symbol.bids;
  auto& gaining_change = up ? change.bids : change.asks;
  auto& losing_change = up ? change.asks : change.bids;
  const std::int64_t step = up ? 1 : -1;
  const std::int64_t lost = up ? symbol.best_bid + 1 : symbol.best_bid;  // now on the other side
  const auto lots = [this] { return 1 + static_cast<std::int64_t>(random(kMaxLots)); };

  losing.pop_front();
  losing.push_back(lots());
  gaining.push_front(lots());
  gaining.pop_back();
  losing_change.push_back(writer.level(lost, 0));
  losing_change.push_back(writer.level(lost + step * kLevels, losing.back()));
  gaining_change.push_back(writer.level(lost, gaining.front()));
  gaining_change.push_back(writer.level(lost - step * kLevels, 0));
  symbol.best_bid += step;
}

void SyntheticMarket::write_depth(Symbol& symbol, std::string& out) {
  const Writer writer{dialect_};
  DepthChange change;
  const std::uint64_t choice = random(4);
  if (choice < 2) {
    move_price(symbol, choice == 0 || symbol.best_bid < kLowestTicks, change);
  } else {
    // One to three levels get another quantity, those near the top more often.
    for (std::uint64_t i = 1 + random(3); i > 0; --i) {
      const bool bid = random(2) == 0;
      const std::size_t depth = random(1 + random(kLevels));
      const auto lots = 1 + static_cast<std::int64_t>(random(kMaxLots));
      (bid ? symbol.bids : symbol.asks)[depth] = lots;
      const auto distance = static_cast<std::int64_t>(depth);
      const std::int64_t price = bid ? symbol.best_bid - distance : symbol.best_bid + 1 + distance;
      (bid ? change.bids : change.asks).push_back(writer.level(price, lots));
    }
  }
  const std::int64_t previous = symbol.last_depth_id;
  symbol.update_id += 1 + static_cast<std::int64_t>(random(3));
  symbol.last_depth_id = symbol.update_id;
  const std::int64_t time = market_ms() + moved_ms_;
  const auto to = std::back_inserter(out);
  fmt::format_to(to, R"({{"e":"depthUpdate","E":{},)", time);
  if (dialect_ == Dialect::kFutures) fmt::format_to(to, R"("T":{},)", time);
  fmt::format_to(to, R"("s":"{}","U":{},"u":{},)", symbol.name, previous + 1, symbol.last_depth_id);
  if (dialect_ == Dialect::kFutures) fmt::format_to(to, R"("pu":{},)", previous);
  append_levels("b", "a", change, out);
  out.push_back('}');
}

void SyntheticMarket::write_book_ticker(Symbol& symbol, std::string& out) {
  const Writer writer{dialect_};
  const bool futures = dialect_ == Dialect::kFutures;
  const auto to = std::back_inserter(out);
  // An id of its own, which the next depth frame's range includes.
  fmt::format_to(to, R"({{{}"u":{},"s":"{}","b":"{}","B":"{}","a":"{}","A":"{}")",
                 futures ? R"("e":"bookTicker",)" : "", ++symbol.update_id, symbol.name,
                 writer.price(symbol.best_bid), writer.quantity(symbol.bids.front()),
                 writer.price(symbol.best_bid + 1), writer.quantity(symbol.asks.front()));
  const std::int64_t time = market_ms() + moved_ms_;
  if (futures) fmt::format_to(to, R"(,"T":{},"E":{})", time, time);
  out.push_back('}');
}

void SyntheticMarket::write_trade(Symbol& symbol, std::string& out) {
  const Writer writer{dialect_};
  const bool taker_buys = random(2) == 0;
  const std::int64_t price = taker_buys ? symbol.best_bid + 1 : symbol.best_bid;
  const auto lots = 1 + static_cast<std::int64_t>(random(kMaxLots));
  const auto trades = 1 + static_cast<std::int64_t>(random(3));
  const std::int64_t first = symbol.trade_id + 1;
  symbol.trade(price, lots, taker_buys, trades);
  const std::int64_t time = market_ms() + moved_ms_;
  const auto to = std::back_inserter(out);
  fmt::format_to(to, R"({{"e":"aggTrade","E":{},)", time);
  if (dialect_ == Dialect::kSpot) {
    fmt::format_to(to, R"("s":"{}","a":{},)", symbol.name, ++symbol.aggregate_id);
  } else {
    fmt::format_to(to, R"("a":{},"s":"{}",)", ++symbol.aggregate_id, symbol.name);
  }
  fmt::format_to(to, R"("p":"{}","q":"{}","f":{},"l":{},"T":{},"m":{}{}}})", writer.price(price),
                 writer.quantity(lots), first, symbol.trade_id, time, !taker_buys,
                 dialect_ == Dialect::kSpot ? R"(,"M":true)" : "");
}

void SyntheticMarket::write_kline(Symbol& symbol, std::string& out) {
  const Writer writer{dialect_};
  const Symbol::Candle& candle = symbol.candle;
  const std::int64_t minute = market_ms() / kMinuteMs;
  const bool closed = candle.minute != minute;
  const std::int64_t opens = candle.minute * kMinuteMs + moved_ms_;
  // A kline has no id of its own: its `E` is what tells it from the others.
  symbol.last_kline_ms = std::max(market_ms() + moved_ms_, symbol.last_kline_ms + 1);
  fmt::format_to(
      std::back_inserter(out),
      R"({{"e":"kline","E":{},"s":"{}","k":{{"t":{},"T":{},"s":"{}","i":"1m","f":{},"L":{},)"
      R"("o":"{}","c":"{}","h":"{}","l":"{}","v":"{}","n":{},"x":{},"q":"{}","V":"{}","Q":"{}","B":"0"}}}})",
      symbol.last_kline_ms, symbol.name, opens, opens + kMinuteMs - 1, symbol.name,
      candle.first_trade, candle.last_trade, writer.price(candle.open), writer.price(candle.close),
      writer.price(candle.high), writer.price(candle.low), writer.quantity(candle.lots),
      candle.trades, closed, writer.quote(candle.quote), writer.quantity(candle.taker_lots),
      writer.quote(candle.taker_quote));
  if (closed) symbol.begin_candle(minute);
}

absl::StatusOr<std::string> SyntheticMarket::depth(std::string_view symbol_name, std::size_t limit,
                                                   TimePoint now) const {
  const auto at = indices_.find(symbol_name);
  if (at == indices_.end()) return not_found("no symbol '{}'", printable(symbol_name));
  const Symbol& symbol = symbols_[at->second];
  const Writer writer{dialect_};
  DepthChange levels;
  for (std::size_t i = 0; i < std::min<std::size_t>(limit, kLevels); ++i) {
    const auto distance = static_cast<std::int64_t>(i);
    levels.bids.push_back(writer.level(symbol.best_bid - distance, symbol.bids[i]));
    levels.asks.push_back(writer.level(symbol.best_bid + 1 + distance, symbol.asks[i]));
  }
  std::string body = fmt::format(R"({{"lastUpdateId":{},)", symbol.last_depth_id);
  if (dialect_ == Dialect::kFutures) {
    const std::int64_t time =
        options_.keep_times
            ? market_ms()
            : std::chrono::floor<std::chrono::milliseconds>(now.time_since_epoch()).count();
    body += fmt::format(R"("E":{},"T":{},)", time, time);
  }
  append_levels("bids", "asks", levels, body);
  body += "}";
  return body;
}

}  // namespace virtufin::venue

#include "modules/wsm/feeds/binance/codec.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "core/errors.h"
#include "core/log.h"
#include "core/uuid.h"
#include "modules/wsm/feeds/market_shape.h"
#include "modules/wsm/feeds/sequence_window.h"

namespace virtufin::wsm::binance {
namespace {

namespace ondemand = simdjson::ondemand;

static_assert(kReadPadding >= simdjson::SIMDJSON_PADDING);

constexpr std::uint64_t kMaxTimeMs = 253'402'300'799'999;  // the end of year 9999

constexpr std::string_view venue_name(Market market) {
  return market == Market::kSpot ? "binance" : "binance-futures";
}

/// The text of a string token, without its quotes; empty if it is no plain string.
std::string_view unquoted(std::string_view token) {
  const std::size_t last = token.find_last_of('"');
  return token.size() >= 2 && token[0] == '"' && last > 0 ? token.substr(1, last - 1)
                                                          : std::string_view{};
}

std::string_view text_field(ondemand::object& object, std::string_view key) {
  ondemand::value value;
  if (object[key].get(value) != simdjson::SUCCESS) return {};
  return unquoted(value.raw_json_token());
}

bool number_field(ondemand::object& object, std::string_view key, std::uint64_t& out) {
  return object[key].get_uint64().get(out) == simdjson::SUCCESS;
}

bool time_field(ondemand::object& object, std::string_view key, TimePoint& out) {
  std::uint64_t ms = 0;
  if (!number_field(object, key, ms) || ms > kMaxTimeMs) return false;
  out = TimePoint(std::chrono::milliseconds(ms));
  return true;
}

bool decimal_field(ondemand::object& object, std::string_view key, std::string_view& out) {
  ondemand::value value;
  if (object[key].get(value) != simdjson::SUCCESS) return false;
  out = decimal_of_token(value.raw_json_token());
  return !out.empty();
}

bool levels_field(ondemand::object& object, std::string_view key, std::string_view& text,
                  std::vector<LevelText>& levels) {
  ondemand::array array;
  if (object[key].get_array().get(array) != simdjson::SUCCESS) return false;
  if (array.raw_json().get(text) != simdjson::SUCCESS) return false;
  return read_levels(text, levels);
}

/// Writes a payload from pieces; the caller has made room.
class Payload {
 public:
  explicit Payload(char* out) : begin_(out), at_(out) {}
  Payload& operator<<(std::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
    return *this;
  }
  Payload& operator<<(std::uint64_t number) {
    at_ = std::to_chars(at_, at_ + 20, number).ptr;
    return *this;
  }
  Payload& operator<<(TimePoint time) {
    format_time(time, at_);
    at_ += kTimeWidth;
    return *this;
  }
  std::size_t size() const { return static_cast<std::size_t>(at_ - begin_); }

 private:
  char* begin_;
  char* at_;
};

/// Names, punctuation, numbers and times of any payload here, beside the venue's own slices.
constexpr std::size_t kPayloadOverhead = 256;

class BinanceCodec final : public FeedCodec {
 public:
  BinanceCodec(Market market, const FeedRequest& request, std::vector<Stream> streams)
      : market_(market),
        rest_url_(request.rest_url),
        append_symbol_(request.append_symbol),
        target_(combined_target(streams)) {
    if (rest_url_.empty()) {
      rest_url_ = market == Market::kSpot ? "https://api.binance.com" : "https://fapi.binance.com";
    }
    while (rest_url_.ends_with('/')) rest_url_.pop_back();
    streams_.reserve(streams.size());
    for (Stream& stream : streams) {
      const std::size_t symbol = symbol_index(stream.symbol);
      if (stream.channel == Channel::kDepth) {
        book_of_symbol_.resize(symbols_.size(), 0);
        book_of_symbol_[symbol] = books_.size();
        books_.push_back(symbol);
      }
      streams_.emplace_back(venue_name(market), std::move(stream), symbol, request.dedup_window);
    }
    for (State& state : streams_) by_name_.emplace(state.stream.name, &state);
  }

  std::string_view venue() const override { return venue_name(market_); }
  std::string target() const override { return target_; }
  std::vector<std::string> subscribe_messages() const override { return {}; }
  std::span<const std::string> symbols() const override { return symbols_; }
  std::span<const std::size_t> books() const override { return books_; }
  SequenceRule sequence_rule() const override {
    return market_ == Market::kSpot ? SequenceRule::kConsecutive : SequenceRule::kChained;
  }

  absl::Status publish_on(bus::Bus& bus, std::string_view head) override {
    auto address = MarketAddress::parse(head);
    VIRTUFIN_RETURN_IF_ERROR(address.status());
    const MarketShapes shapes{bus, *address, std::string(venue()), append_symbol_};
    for (State& state : streams_) {
      auto shape = shape_of(shapes, state.stream);
      VIRTUFIN_RETURN_IF_ERROR(shape.status());
      state.out = *std::move(shape);
    }
    return absl::OkStatus();
  }

  void reconnected() override {
    for (State& state : streams_) state.check_continuity = state.last_number > 0;
  }

  std::string snapshot_url(std::size_t book) const override {
    return fmt::format("{}{}?symbol={}&limit=1000", rest_url_,
                       market_ == Market::kSpot ? "/api/v3/depth" : "/fapi/v1/depth",
                       symbols_[books_[book]]);
  }

  absl::StatusOr<BookSnapshot> read_snapshot(std::string_view body) override {
    BookSnapshot snapshot;
    ondemand::document document;
    ondemand::object root;
    std::string_view text;
    if (iterate(body, document) && document.get_object().get(root) == simdjson::SUCCESS &&
        number_field(root, "lastUpdateId", snapshot.last_update_id) &&
        levels_field(root, "bids", text, snapshot.bids) &&
        levels_field(root, "asks", text, snapshot.asks)) {
      return snapshot;
    }
    return unavailable("{}: the depth snapshot is not one: {}", venue(), printable(body));
  }

  Decoded decode(const Frame& frame) override {
    ondemand::document document;
    ondemand::object root;
    if (!iterate(frame.bytes, document) || document.get_object().get(root) != simdjson::SUCCESS) {
      return undecodable("not a JSON object");
    }
    const std::string_view name = text_field(root, "stream");
    if (name.empty()) return control(root);
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return undecodable("a stream that was not asked for");
    State& state = *found->second;
    if (!state.out) return undecodable("the feed has no topics yet");
    ondemand::object data;
    if (root["data"].get_object().get(data) != simdjson::SUCCESS) {
      return undecodable("'data' is missing or not an object");
    }
    switch (state.stream.channel) {
      case Channel::kDepth: return depth(state, data, frame.received);
      case Channel::kAggTrade: return trade(state, data, "a", frame.received);
      case Channel::kTrade: return trade(state, data, "t", frame.received);
      case Channel::kBookTicker: return book_ticker(state, data, frame.received);
      case Channel::kKline: return kline(state, data, frame.received);
    }
    return undecodable("a channel that is not known");
  }

 private:
  /// What is kept for one stream.
  struct State {
    State(std::string_view venue, Stream asked, std::size_t symbol_index, std::size_t window)
        : stream(std::move(asked)),
          symbol(symbol_index),
          ids({venue, stream.suffix, stream.symbol}),
          seen(window) {}

    Stream stream;
    std::size_t symbol;
    UuidHasher ids;
    SequenceWindow seen;
    std::optional<MarketShape> out;  ///< none before publish_on()
    std::uint64_t last_number = 0;   ///< of trades
    bool check_continuity = false;   ///< the next trade is the first after a reconnect
  };

  std::size_t symbol_index(const std::string& symbol) {
    const auto found = std::find(symbols_.begin(), symbols_.end(), symbol);
    if (found != symbols_.end()) return static_cast<std::size_t>(found - symbols_.begin());
    symbols_.push_back(symbol);
    return symbols_.size() - 1;
  }

  static absl::StatusOr<MarketShape> shape_of(const MarketShapes& shapes, const Stream& stream) {
    switch (stream.channel) {
      case Channel::kDepth:
        return shapes.make("orderbook.update", "orderbook.updated", stream.symbol);
      case Channel::kBookTicker:
        return shapes.make("ticker.update", "ticker.updated", stream.symbol);
      case Channel::kKline:
        return shapes.make("ohlcv.candle." + stream.interval, "ohlcv.candle", stream.symbol);
      case Channel::kAggTrade:
      case Channel::kTrade: break;
    }
    return shapes.make("trade.tape", "trade.tape", stream.symbol);
  }

  bool iterate(std::string_view bytes, ondemand::document& document) {
    return parser_.iterate(bytes.data(), bytes.size(), bytes.size() + simdjson::SIMDJSON_PADDING)
               .get(document) == simdjson::SUCCESS;
  }

  static Decoded undecodable(std::string_view problem) {
    Decoded decoded;
    decoded.problem = problem;
    return decoded;
  }

  static Decoded duplicate() {
    Decoded decoded;
    decoded.kind = FrameKind::kDuplicate;
    return decoded;
  }

  /// What has no stream: an acknowledgement, a refusal with the venue's words, a JSON ping.
  Decoded control(ondemand::object& root) {
    Decoded decoded;
    ondemand::value value;
    for (const std::string_view key : {"error", "code"}) {
      if (root[key].get(value) == simdjson::SUCCESS) {
        decoded.kind = FrameKind::kControl;
        decoded.problem = "the venue refused a request";
        return decoded;
      }
    }
    for (const std::string_view key : {"result", "ping", "pong", "id"}) {
      if (root[key].get(value) == simdjson::SUCCESS) {
        decoded.kind = FrameKind::kControl;
        return decoded;
      }
    }
    return undecodable("neither market data nor an answer");
  }

  bool is_of(const State& state, ondemand::object& data) const {
    return text_field(data, "s") == state.stream.symbol;
  }

  template <class Write>
  Decoded market(State& state, std::uint64_t number, TimePoint event_time, TimePoint received,
                 std::size_t capacity, Write&& write) {
    Decoded decoded;
    decoded.kind = FrameKind::kMarket;
    decoded.symbol = state.symbol;
    decoded.topic = &state.out->topic;
    decoded.event =
        state.out->shape.make(state.ids(number), event_time, received, capacity, [&](char* out) {
          Payload payload(out);
          write(payload);
          return payload.size();
        });
    return decoded;
  }

  Decoded depth(State& state, ondemand::object& data, TimePoint received) {
    DepthChange change;
    TimePoint time;
    std::string_view bids, asks;
    bids_.clear();
    asks_.clear();
    if (!time_field(data, "E", time) || !is_of(state, data) ||
        !number_field(data, "U", change.first) || !number_field(data, "u", change.last) ||
        (market_ == Market::kFutures && !number_field(data, "pu", change.previous)) ||
        !levels_field(data, "b", bids, bids_) || !levels_field(data, "a", asks, asks_) ||
        change.first > change.last) {
      return undecodable("not a depth update");
    }
    if (!state.seen.insert(change.last)) return duplicate();
    Decoded decoded = market(state, change.last, time, received,
                             bids.size() + asks.size() + kPayloadOverhead, [&](Payload& out) {
                               out << R"({"bids_delta":)" << bids << R"(,"asks_delta":)" << asks
                                   << R"(,"first_update_id":)" << change.first
                                   << R"(,"last_update_id":)" << change.last << "}";
                             });
    decoded.venue_time = time;
    change.book = book_of_symbol_[state.symbol];
    change.bids = bids_;
    change.asks = asks_;
    decoded.depth = change;
    return decoded;
  }

  Decoded trade(State& state, ondemand::object& data, std::string_view number_key,
                TimePoint received) {
    TimePoint time, trade_time;
    std::uint64_t number = 0;
    std::string_view price, quantity;
    bool buyer_is_maker = false;
    if (!time_field(data, "E", time) || !is_of(state, data) ||
        !number_field(data, number_key, number) || !decimal_field(data, "p", price) ||
        !decimal_field(data, "q", quantity) || !time_field(data, "T", trade_time) ||
        data["m"].get_bool().get(buyer_is_maker) != simdjson::SUCCESS) {
      return undecodable("not a trade");
    }
    if (!state.seen.insert(number)) return duplicate();
    Decoded decoded = market(state, number, time, received,
                             price.size() + quantity.size() + kPayloadOverhead, [&](Payload& out) {
                               out << R"({"trade_id":")" << number << R"(","price":")" << price
                                   << R"(","qty":")" << quantity << R"(","side":")"
                                   << (buyer_is_maker ? "sell" : "buy") << R"(","trade_time":")"
                                   << trade_time << R"("})";
                             });
    decoded.venue_time = time;
    if (state.check_continuity && number != state.last_number + 1) {
      decoded.gap = Gap{state.last_number + 1, number, "trades missed while not connected"};
    }
    state.check_continuity = false;
    state.last_number = number;
    return decoded;
  }

  Decoded book_ticker(State& state, ondemand::object& data, TimePoint received) {
    std::uint64_t number = 0;
    std::string_view bid, bid_quantity, ask, ask_quantity;
    if (!number_field(data, "u", number) || !is_of(state, data) || !decimal_field(data, "b", bid) ||
        !decimal_field(data, "B", bid_quantity) || !decimal_field(data, "a", ask) ||
        !decimal_field(data, "A", ask_quantity)) {
      return undecodable("not a book ticker");
    }
    // Spot gives no time: then the event's is that of receipt.
    std::optional<TimePoint> venue_time;
    if (market_ == Market::kFutures) {
      TimePoint time;
      if (!time_field(data, "E", time)) return undecodable("a book ticker without a time");
      venue_time = time;
    }
    if (!state.seen.insert(number)) return duplicate();
    const std::size_t capacity =
        bid.size() + bid_quantity.size() + ask.size() + ask_quantity.size() + kPayloadOverhead;
    Decoded decoded =
        market(state, number, venue_time.value_or(received), received, capacity, [&](Payload& out) {
          out << R"({"bid":")" << bid << R"(","bid_qty":")" << bid_quantity << R"(","ask":")" << ask
              << R"(","ask_qty":")" << ask_quantity << R"("})";
        });
    decoded.venue_time = venue_time;
    return decoded;
  }

  Decoded kline(State& state, ondemand::object& data, TimePoint received) {
    TimePoint time, close_time;
    std::string_view open, high, low, close, volume;
    bool closed = false;
    ondemand::object candle;
    if (!time_field(data, "E", time) || !is_of(state, data) ||
        data["k"].get_object().get(candle) != simdjson::SUCCESS ||
        !time_field(candle, "T", close_time) || !decimal_field(candle, "o", open) ||
        !decimal_field(candle, "c", close) || !decimal_field(candle, "h", high) ||
        !decimal_field(candle, "l", low) || !decimal_field(candle, "v", volume) ||
        candle["x"].get_bool().get(closed) != simdjson::SUCCESS) {
      return undecodable("not a candle");
    }
    const auto number = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count());
    if (!state.seen.insert(number)) return duplicate();
    const std::size_t capacity = state.stream.interval.size() + open.size() + high.size() +
                                 low.size() + close.size() + volume.size() + kPayloadOverhead;
    Decoded decoded = market(state, number, time, received, capacity, [&](Payload& out) {
      out << R"({"interval":")" << state.stream.interval << R"(","open":")" << open
          << R"(","high":")" << high << R"(","low":")" << low << R"(","close":")" << close
          << R"(","volume":")" << volume << R"(","candle_close_time":")" << close_time
          << R"(","closed":)" << std::string_view(closed ? "true" : "false") << "}";
    });
    decoded.venue_time = time;
    return decoded;
  }

  const Market market_;
  std::string rest_url_;
  const bool append_symbol_;
  const std::string target_;
  std::vector<std::string> symbols_;
  std::vector<std::size_t> books_;           ///< symbol of each book
  std::vector<std::size_t> book_of_symbol_;  ///< book of each symbol that has one
  std::vector<State> streams_;
  std::unordered_map<std::string_view, State*> by_name_;
  ondemand::parser parser_;
  std::vector<LevelText> bids_, asks_;  ///< of the frame in hand
};

}  // namespace

absl::StatusOr<std::unique_ptr<FeedCodec>> make_codec(Market market, const FeedRequest& request,
                                                      std::string_view url_streams) {
  auto streams = url_streams.empty() ? streams_of(request) : parse_streams(url_streams);
  VIRTUFIN_RETURN_IF_ERROR(streams.status());
  return std::make_unique<BinanceCodec>(market, request, *std::move(streams));
}

}  // namespace virtufin::wsm::binance

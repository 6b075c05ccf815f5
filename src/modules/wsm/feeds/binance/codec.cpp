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
#include "modules/wsm/feeds/binance/dense.h"
#include "modules/wsm/feeds/binance/frames.h"
#include "modules/wsm/feeds/binance/tree.h"
#include "modules/wsm/feeds/market_shape.h"
#include "modules/wsm/feeds/sequence_window.h"

namespace virtufin::wsm::binance {
namespace {

namespace ondemand = simdjson::ondemand;

static_assert(kReadPadding >= simdjson::SIMDJSON_PADDING);

constexpr std::string_view venue_name(Market market) {
  return market == Market::kSpot ? "binance" : "binance-futures";
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

/// Names, punctuation, numbers and times of any payload here, beside the venue's own slices. The
/// greatest is a candle's: 105 characters and a time.
constexpr std::size_t kPayloadOverhead = 144;

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
    ondemand::value value;
    std::string_view text;
    if (iterate(body, document) && document["lastUpdateId"].get(value) == simdjson::SUCCESS &&
        Tree(value).number(snapshot.last_update_id) &&
        document["bids"].get(value) == simdjson::SUCCESS && Tree(value).side(text, snapshot.bids) &&
        document["asks"].get(value) == simdjson::SUCCESS && Tree(value).side(text, snapshot.asks)) {
      return snapshot;
    }
    return unavailable("{}: the depth snapshot is not one: {}", venue(), printable(body));
  }

  Decoded decode(const Frame& frame) override {
    // As the venue writes it, nearly always.
    Dense dense(frame.bytes);
    std::string_view name;
    if (dense.take(R"({"stream":)") && dense.string(name) && dense.take(R"(,"data":)")) {
      if (State* state = find(name);
          state != nullptr && read(*state, dense) && dense.take("}") && dense.at_end()) {
        return build(*state, frame.received);
      }
    }
    return decode_any(frame);
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

  /// Null if nobody asked for it.
  State* find(std::string_view name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }

  /// Any JSON, and the words for what is wrong with it.
  Decoded decode_any(const Frame& frame) {
    ondemand::document document;
    ondemand::object root;
    if (!iterate(frame.bytes, document) || document.get_object().get(root) != simdjson::SUCCESS) {
      return undecodable("not a JSON object");
    }
    ondemand::value stream, data;
    if (const auto error = root["stream"].get(stream)) {
      return error == simdjson::NO_SUCH_FIELD ? control(root) : undecodable("not a JSON object");
    }
    State* const state = find(Tree(stream).unquoted());
    if (state == nullptr) return undecodable("a stream that was not asked for");
    if (root["data"].get(data) != simdjson::SUCCESS) return undecodable("'data' is missing");
    Tree tree(data);
    if (!read(*state, tree)) return undecodable("not what its channel carries");
    return build(*state, frame.received);
  }

  /// The frame's data into the struct of its channel.
  template <class Source>
  bool read(const State& state, Source& data) {
    const bool futures = market_ == Market::kFutures;
    switch (state.stream.channel) {
      case Channel::kDepth: return read_depth(data, state.stream.symbol, futures, depth_);
      case Channel::kAggTrade: return read_trade(data, state.stream.symbol, 'a', trade_);
      case Channel::kTrade: return read_trade(data, state.stream.symbol, 't', trade_);
      case Channel::kBookTicker: return read_ticker(data, state.stream.symbol, futures, ticker_);
      case Channel::kKline: return read_candle(data, state.stream.symbol, candle_);
    }
    return false;
  }

  /// The event of what read() has read.
  Decoded build(State& state, TimePoint received) {
    if (!state.out) return undecodable("the feed has no topics yet");
    switch (state.stream.channel) {
      case Channel::kDepth: return depth(state, received);
      case Channel::kAggTrade:
      case Channel::kTrade: return trade(state, received);
      case Channel::kBookTicker: return book_ticker(state, received);
      case Channel::kKline: break;
    }
    return kline(state, received);
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
    const auto answers = [&](std::initializer_list<std::string_view> keys) {
      for (const std::string_view key : keys) {
        const auto error = root[key].get(value);
        if (error == simdjson::NO_SUCH_FIELD) continue;
        // After any other error simdjson has let go of the document: it must not be asked again.
        return error;
      }
      return simdjson::NO_SUCH_FIELD;
    };
    auto found = answers({"error", "code"});
    if (found == simdjson::SUCCESS) {
      decoded.problem = "the venue refused a request";
    } else if (found == simdjson::NO_SUCH_FIELD) {
      found = answers({"result", "ping", "pong", "id"});
    }
    if (found == simdjson::NO_SUCH_FIELD) return undecodable("neither market data nor an answer");
    if (found != simdjson::SUCCESS) return undecodable("not a JSON object");
    decoded.kind = FrameKind::kControl;
    return decoded;
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

  Decoded depth(State& state, TimePoint received) {
    const DepthFrame& frame = depth_;
    if (!state.seen.insert(frame.last)) return duplicate();
    Decoded decoded =
        market(state, frame.last, frame.time, received,
               frame.bids.size() + frame.asks.size() + kPayloadOverhead, [&](Payload& out) {
                 out << R"({"bids_delta":)" << frame.bids << R"(,"asks_delta":)" << frame.asks
                     << R"(,"first_update_id":)" << frame.first << R"(,"last_update_id":)"
                     << frame.last << "}";
               });
    decoded.venue_time = frame.time;
    decoded.depth = DepthChange{book_of_symbol_[state.symbol],
                                frame.first,
                                frame.last,
                                frame.previous,
                                frame.bid_levels,
                                frame.ask_levels};
    return decoded;
  }

  Decoded trade(State& state, TimePoint received) {
    const TradeFrame& frame = trade_;
    if (!state.seen.insert(frame.number)) return duplicate();
    Decoded decoded =
        market(state, frame.number, frame.time, received,
               frame.price.size() + frame.quantity.size() + kPayloadOverhead, [&](Payload& out) {
                 out << R"({"trade_id":")" << frame.number << R"(","price":")" << frame.price
                     << R"(","qty":")" << frame.quantity << R"(","side":")"
                     << std::string_view(frame.buyer_is_maker ? "sell" : "buy")
                     << R"(","trade_time":")" << frame.trade_time << R"("})";
               });
    decoded.venue_time = frame.time;
    if (state.check_continuity && frame.number != state.last_number + 1) {
      decoded.gap = Gap{state.last_number + 1, frame.number, "trades missed while not connected"};
    }
    state.check_continuity = false;
    state.last_number = frame.number;
    return decoded;
  }

  Decoded book_ticker(State& state, TimePoint received) {
    const TickerFrame& frame = ticker_;
    if (!state.seen.insert(frame.number)) return duplicate();
    // Where the venue gives no time, the event's is that of receipt.
    Decoded decoded = market(state, frame.number, frame.time.value_or(received), received,
                             frame.bid.size() + frame.bid_quantity.size() + frame.ask.size() +
                                 frame.ask_quantity.size() + kPayloadOverhead,
                             [&](Payload& out) {
                               out << R"({"bid":")" << frame.bid << R"(","bid_qty":")"
                                   << frame.bid_quantity << R"(","ask":")" << frame.ask
                                   << R"(","ask_qty":")" << frame.ask_quantity << R"("})";
                             });
    decoded.venue_time = frame.time;
    return decoded;
  }

  Decoded kline(State& state, TimePoint received) {
    const CandleFrame& frame = candle_;
    const auto number = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(frame.time.time_since_epoch())
            .count());
    if (!state.seen.insert(number)) return duplicate();
    const std::string& interval = state.stream.interval;
    Decoded decoded =
        market(state, number, frame.time, received,
               interval.size() + frame.open.size() + frame.high.size() + frame.low.size() +
                   frame.close.size() + frame.volume.size() + kPayloadOverhead,
               [&](Payload& out) {
                 out << R"({"interval":")" << interval << R"(","open":")" << frame.open
                     << R"(","high":")" << frame.high << R"(","low":")" << frame.low
                     << R"(","close":")" << frame.close << R"(","volume":")" << frame.volume
                     << R"(","candle_close_time":")" << frame.close_time << R"(","closed":)"
                     << std::string_view(frame.closed ? "true" : "false") << "}";
               });
    decoded.venue_time = frame.time;
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
  // The frame in hand, by channel; kept for their memory.
  DepthFrame depth_;
  TradeFrame trade_;
  TickerFrame ticker_;
  CandleFrame candle_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FeedCodec>> make_codec(Market market, const FeedRequest& request,
                                                      std::string_view url_streams) {
  auto streams = url_streams.empty() ? streams_of(request) : parse_streams(url_streams);
  VIRTUFIN_RETURN_IF_ERROR(streams.status());
  return std::make_unique<BinanceCodec>(market, request, *std::move(streams));
}

}  // namespace virtufin::wsm::binance

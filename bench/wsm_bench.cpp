// From a frame of Binance to the market event, beside simdjson reading the same fields of the same
// bytes. The frames are the venue's own shapes; the sequence number moves in place from one call to
// the next, in floor and value alike, so that nothing is a duplicate.
#include <benchmark/benchmark.h>
#include <simdjson.h>

#include <memory>
#include <string>
#include <string_view>

#include "core/errors.h"
#include "modules/wsm/feeds/book_keeper.h"
#include "modules/wsm/feeds/registry.h"

namespace virtufin::wsm {
namespace {

namespace ondemand = simdjson::ondemand;

/// Topics without subscribers: decoding only names them.
class NoBus final : public bus::Bus {
 public:
  bus::TopicPtr topic(std::string_view name) override {
    struct Named final : bus::Topic {
      explicit Named(std::string text) : Topic(std::move(text)) {}
    };
    return std::make_shared<Named>(std::string(name));
  }
  void publish(const bus::TopicPtr&, EventPtr, bus::PublishDone done) override {
    if (done) done(absl::OkStatus());
  }
  absl::StatusOr<std::unique_ptr<bus::Subscription>> subscribe(std::vector<std::string>,
                                                               bus::SubscribeOptions,
                                                               bus::Handler) override {
    return unimplemented("no subscribers here");
  }
};

/// A frame whose sequence number can be counted up in place.
class MovingFrame {
 public:
  /// `marker` stands right before the number.
  MovingFrame(std::string_view text, std::string_view marker)
      : text_(text), end_(text_.find(marker) + marker.size()) {
    while (text_[end_] >= '0' && text_[end_] <= '9') ++end_;
    size_ = text_.size();
    text_.resize(size_ + simdjson::SIMDJSON_PADDING);
  }
  std::string_view next() {
    for (std::size_t at = end_ - 1; ++text_[at] > '9'; --at) text_[at] = '0';
    return std::string_view(text_).substr(0, size_);
  }

 private:
  std::string text_;
  std::size_t end_, size_ = 0;
};

constexpr std::string_view kVenue = "binance-futures";
constexpr std::string_view kStreams =
    "streams=sushiusdt@depth@100ms/sushiusdt@aggTrade/sushiusdt@bookTicker";

// Recorded; the depth frame has the recording's mean number of levels.
constexpr std::string_view kDepth =
    R"({"stream":"sushiusdt@depth@100ms","data":{"e":"depthUpdate","E":1626992741140,"T":1626992741123,"s":"SUSHIUSDT","U":600859601193,"u":600859602861,"pu":600859600917,"b":[["7.5980","1433"],["7.6000","3995"],["7.6030","648"],["7.6050","1234"],["7.6100","7"]],"a":[["7.6170","534"],["7.6180","1632"],["7.6300","3145"]]}})";
constexpr std::string_view kTrade =
    R"({"stream":"sushiusdt@aggTrade","data":{"e":"aggTrade","E":1626992741575,"a":16599292,"s":"SUSHIUSDT","p":"7.6110","q":"10","f":23961322,"l":23961322,"T":1626992741421,"m":false}})";
constexpr std::string_view kTicker =
    R"({"stream":"sushiusdt@bookTicker","data":{"e":"bookTicker","u":600859600576,"s":"SUSHIUSDT","b":"7.6110","B":"2","a":"7.6120","A":"297","T":1626992741012,"E":1626992741017}})";

void decode(benchmark::State& state, std::string_view text, std::string_view marker) {
  NoBus bus;
  FeedRequest request;
  request.venue = kVenue;
  auto codec = make_codec(request, kStreams);
  if (!codec.ok() || !(*codec)->publish_on(bus, "act").ok()) {
    return state.SkipWithError("no codec");
  }
  MovingFrame frame(text, marker);
  const TimePoint received{std::chrono::nanoseconds(1'626'992'741'500'000'000)};
  for (auto _ : state) {
    const Decoded decoded = (*codec)->decode({frame.next(), received});
    if (decoded.kind != FrameKind::kMarket) return state.SkipWithError("not decoded");
    benchmark::DoNotOptimize(decoded.event.get());
  }
}

/// Reads what `read` asks of the frame's data, and nothing else.
template <class Read>
void parse(benchmark::State& state, std::string_view text, std::string_view marker, Read read) {
  MovingFrame frame(text, marker);
  ondemand::parser parser;
  for (auto _ : state) {
    const std::string_view bytes = frame.next();
    ondemand::document document;
    ondemand::object root, data;
    ondemand::value stream;
    std::uint64_t sum = 0;
    if (parser.iterate(bytes.data(), bytes.size(), bytes.size() + simdjson::SIMDJSON_PADDING)
                .get(document) != simdjson::SUCCESS ||
        document.get_object().get(root) != simdjson::SUCCESS ||
        root["stream"].get(stream) != simdjson::SUCCESS) {
      return state.SkipWithError("not parsed");
    }
    sum += stream.raw_json_token().size();
    if (root["data"].get_object().get(data) != simdjson::SUCCESS || !read(data, sum)) {
      return state.SkipWithError("not parsed");
    }
    benchmark::DoNotOptimize(sum);
  }
}

bool number(ondemand::object& data, std::string_view key, std::uint64_t& sum) {
  std::uint64_t value = 0;
  if (data[key].get_uint64().get(value) != simdjson::SUCCESS) return false;
  sum += value;
  return true;
}

bool token(ondemand::object& data, std::string_view key, std::uint64_t& sum) {
  ondemand::value value;
  if (data[key].get(value) != simdjson::SUCCESS) return false;
  sum += value.raw_json_token().size();
  return true;
}

bool array(ondemand::object& data, std::string_view key, std::uint64_t& sum) {
  ondemand::array value;
  std::string_view text;
  if (data[key].get_array().get(value) != simdjson::SUCCESS ||
      value.raw_json().get(text) != simdjson::SUCCESS) {
    return false;
  }
  sum += text.size();
  return true;
}

bool boolean(ondemand::object& data, std::string_view key, std::uint64_t& sum) {
  bool value = false;
  if (data[key].get_bool().get(value) != simdjson::SUCCESS) return false;
  sum += value ? 1 : 0;
  return true;
}

void depth_floor(benchmark::State& state) {
  parse(state, kDepth, R"("u":)", [](ondemand::object& data, std::uint64_t& sum) {
    return number(data, "E", sum) && token(data, "s", sum) && number(data, "U", sum) &&
           number(data, "u", sum) && number(data, "pu", sum) && array(data, "b", sum) &&
           array(data, "a", sum);
  });
}
void depth_value(benchmark::State& state) { decode(state, kDepth, R"("u":)"); }

void trade_floor(benchmark::State& state) {
  parse(state, kTrade, R"("a":)", [](ondemand::object& data, std::uint64_t& sum) {
    return number(data, "E", sum) && number(data, "a", sum) && token(data, "s", sum) &&
           token(data, "p", sum) && token(data, "q", sum) && number(data, "T", sum) &&
           boolean(data, "m", sum);
  });
}
void trade_value(benchmark::State& state) { decode(state, kTrade, R"("a":)"); }

void ticker_floor(benchmark::State& state) {
  parse(state, kTicker, R"("u":)", [](ondemand::object& data, std::uint64_t& sum) {
    return number(data, "u", sum) && token(data, "s", sum) && token(data, "b", sum) &&
           token(data, "B", sum) && token(data, "a", sum) && token(data, "A", sum) &&
           number(data, "E", sum);
  });
}
void ticker_value(benchmark::State& state) { decode(state, kTicker, R"("u":)"); }

/// After publishing: the depth frame's levels into a book of 1,000 a side.
void book_update(benchmark::State& state) {
  OrderBook book(20'000);
  for (int i = 0; i < 1000; ++i) {
    const std::string bid = fmt::format("{:.4f}", 7.6110 - i * 0.001);
    const std::string ask = fmt::format("{:.4f}", 7.6120 + i * 0.001);
    book.apply(Side::kBid, LevelText{bid, "5"});
    book.apply(Side::kAsk, LevelText{ask, "5"});
  }
  const LevelText bids[] = {
      {"7.5980", "1433"}, {"7.6000", "3995"}, {"7.6030", "0"}, {"7.6030", "1234"}, {"7.6100", "7"}};
  const LevelText asks[] = {{"7.6170", "534"}, {"7.6180", "1632"}, {"7.6300", "3145"}};
  for (auto _ : state) {
    for (const LevelText& level : bids) book.apply(Side::kBid, level);
    for (const LevelText& level : asks) book.apply(Side::kAsk, level);
    benchmark::DoNotOptimize(book.best(Side::kBid));
  }
}

BENCHMARK(depth_floor)->Name("decode_depth/floor");
BENCHMARK(depth_value)->Name("decode_depth/value");
BENCHMARK(trade_floor)->Name("decode_trade/floor");
BENCHMARK(trade_value)->Name("decode_trade/value");
BENCHMARK(ticker_floor)->Name("decode_ticker/floor");
BENCHMARK(ticker_value)->Name("decode_ticker/value");
BENCHMARK(book_update)->Name("book_update_8_levels");

}  // namespace
}  // namespace virtufin::wsm

BENCHMARK_MAIN();

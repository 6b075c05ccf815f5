#include "modules/venue/synthetic.h"

#include <catch2/catch.hpp>
#include <map>

#include "modules/venue/book.h"
#include "modules/venue/frame.h"

namespace virtufin::venue {
namespace {

constexpr TimePoint kNow{std::chrono::milliseconds(1'800'000'000'123)};

std::unique_ptr<SyntheticMarket> make(Dialect dialect, std::uint64_t seed, bool keep_times = true) {
  SyntheticOptions options;
  options.symbols = {"BTCUSDT", "ETHUSDT"};
  options.seed = seed;
  options.rate = 100;
  options.keep_times = keep_times;
  auto market = SyntheticMarket::create(dialect, options);
  REQUIRE(market.ok());
  return *std::move(market);
}

std::string next(SyntheticMarket& market) {
  std::string text;
  market.write_next(kNow, text);
  return text;
}

TEST_CASE("the same seed plays the same, another one something else") {
  const auto first = make(Dialect::kSpot, 7), second = make(Dialect::kSpot, 7),
             other = make(Dialect::kSpot, 8);
  bool differs = false;
  for (int i = 0; i < 5000; ++i) {
    const std::string text = next(*first);
    REQUIRE(text == next(*second));
    differs = differs || text != next(*other);
  }
  CHECK(differs);
}

TEST_CASE("frames are Binance's, in sequence, and the book is never crossed") {
  const auto dialect = GENERATE(Dialect::kSpot, Dialect::kFutures);
  const auto market = make(dialect, 3);
  const bool futures = dialect == Dialect::kFutures;
  std::map<std::string, Book> books;
  std::map<std::string, std::int64_t> last_depth, last_update, last_aggregate, last_trade;
  std::map<Channel, int> channels;
  for (const std::string symbol : {"BTCUSDT", "ETHUSDT"}) {
    const auto body = market->depth(symbol, 1000, kNow);
    REQUIRE(body.ok());
    const auto snapshot = parse_snapshot("https://x/?symbol=" + symbol, *body);
    REQUIRE(snapshot.ok());
    CHECK(snapshot->levels.bids.size() == SyntheticMarket::kLevels);
    books[symbol].apply(snapshot->levels);
    last_depth[symbol] = last_update[symbol] = snapshot->last_update_id;
  }
  int closed = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    const WrittenFrame written = market->write_next(kNow, text);
    const auto frame = PreparedFrame::parse(text);
    INFO(text);
    REQUIRE(frame.ok());
    REQUIRE(market->streams()[written.stream] == frame->stream());
    REQUIRE(written.data_front == frame->data_front());
    REQUIRE(written.data_back == frame->data_back());
    const std::string& symbol = frame->symbol();
    ++channels[frame->channel()];
    std::map<SlotKind, std::vector<std::int64_t>> ids;
    for (const Slot& slot : frame->slots()) ids[slot.kind].push_back(slot.value);
    switch (frame->channel()) {
      case Channel::kDepth: {
        const auto& depth = frame->depth();
        REQUIRE(depth.first == last_depth[symbol] + 1);
        REQUIRE(depth.last >= last_update[symbol]);
        if (futures) REQUIRE(depth.previous == last_depth[symbol]);
        last_depth[symbol] = last_update[symbol] = depth.last;
        books[symbol].apply(depth.change);
        REQUIRE_FALSE(books[symbol].crossed());
        REQUIRE(books[symbol].bid_count() == SyntheticMarket::kLevels);
        break;
      }
      case Channel::kBookTicker: {
        const std::int64_t id = ids[SlotKind::kUpdateId].at(0);
        REQUIRE(id > last_update[symbol]);
        last_update[symbol] = id;
        const DepthChange top = books[symbol].levels(1);
        REQUIRE_THAT(text, Catch::Contains("\"b\":\"" + top.bids[0].price_text + "\""));
        REQUIRE_THAT(text, Catch::Contains("\"A\":\"" + top.asks[0].quantity_text + "\""));
        REQUIRE((ids[SlotKind::kTimeMs].size() == (futures ? 2 : 0)));
        break;
      }
      case Channel::kAggregateTrade: {
        if (last_aggregate.contains(symbol)) {
          REQUIRE(ids[SlotKind::kAggregateId].at(0) == last_aggregate[symbol] + 1);
          REQUIRE(ids[SlotKind::kTradeId].at(0) == last_trade[symbol] + 1);
        }
        last_aggregate[symbol] = ids[SlotKind::kAggregateId].at(0);
        last_trade[symbol] = ids[SlotKind::kTradeId].at(1);
        break;
      }
      case Channel::kKline: closed += text.find("\"x\":true") != std::string::npos; break;
      default: FAIL("a channel that the market does not have");
    }
  }
  CHECK(channels.size() == 4);
  // 20,000 frames at 100 a second: 200 s, so three minutes end for each of two symbols.
  CHECK(closed == 6);
  for (const auto& [symbol, book] : books) {
    const auto body = market->depth(symbol, 5000, kNow);
    REQUIRE(body.ok());
    const auto snapshot = parse_snapshot("https://x/?symbol=" + symbol, *body);
    REQUIRE(snapshot.ok());
    Book own;
    own.apply(snapshot->levels);
    CHECK(own == book);
    CHECK(snapshot->last_update_id == last_depth[symbol]);
  }
}

TEST_CASE("times are those of the market, or moved to the moment of sending") {
  const auto kept = make(Dialect::kFutures, 1), moved = make(Dialect::kFutures, 1, false);
  for (int i = 0; i < 100; ++i) {
    CHECK(kept->next_due() == std::chrono::milliseconds(10 * i));
    const std::string text = next(*kept);
    INFO(text);
    CHECK_THAT(text, Catch::Contains("\"E\":" + std::to_string(1'704'067'200'000 + 10 * i)));
    std::string sent;
    moved->write_next(kNow + std::chrono::milliseconds(i), sent);
    CHECK_THAT(sent, Catch::Contains("\"E\":" + std::to_string(1'800'000'000'123 + i)));
  }
}

TEST_CASE("synthetic klines are told apart by their time too") {
  const auto market = make(Dialect::kSpot, 5, false);
  std::map<std::string, std::int64_t> last;
  int klines = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto frame = PreparedFrame::parse(next(*market));  // all in one moment
    REQUIRE(frame.ok());
    if (frame->channel() != Channel::kKline) continue;
    ++klines;
    CHECK(frame->event_time_ms() > last[frame->stream()]);
    last[frame->stream()] = frame->event_time_ms();
  }
  CHECK(klines > 50);
}

TEST_CASE("symbols that cannot be are refused") {
  const auto refused = [](std::vector<std::string> symbols) {
    SyntheticOptions options;
    options.symbols = std::move(symbols);
    return SyntheticMarket::create(Dialect::kSpot, options).status().code() ==
           absl::StatusCode::kInvalidArgument;
  };
  CHECK(refused({}));
  CHECK(refused({"btcusdt"}));
  CHECK(refused({"A\"B"}));
  CHECK(refused({"A", "A"}));
}

}  // namespace
}  // namespace virtufin::venue

// A feed without sockets: what is published in which order, gaps and resynchronisation, and whole
// recordings against an independent computation.
#include <simdjson.h>
#include <catch2/catch.hpp>

#include <map>

#include "core/errors.h"
#include "fakes.h"
#include "modules/wsm/feeds/market_feed.h"
#include "modules/wsm/feeds/registry.h"
#include "naive_book.h"
#include "padded.h"
#include "recordings.h"

namespace virtufin::wsm::test {
namespace {

/// A feed that keeps what leaves it.
struct Feed final : MarketFeed::Output {
  Feed(const std::string& venue, const std::string& streams,
       std::chrono::milliseconds interval = std::chrono::hours(1)) {
    FeedRequest request;
    request.venue = venue;
    auto codec = make_codec(request, "streams=" + streams);
    REQUIRE(codec.ok());
    MarketFeed::Settings settings;
    settings.connection_id = "c1";
    settings.snapshot_interval = interval;
    feed = std::make_unique<MarketFeed>(*std::move(codec), bus, clock, *this, settings);
    REQUIRE(feed->publish_on("act").ok());
    feed->connected();
  }

  void publish_frame_event(const bus::TopicPtr& topic, EventPtr event) override {
    out.push_back({topic->name(), std::move(event)});
    ++frame_events;
  }
  void publish_other_event(const bus::TopicPtr& topic, EventPtr event) override {
    out.push_back({topic->name(), std::move(event)});
  }
  void fetch_snapshot(std::size_t book, std::string url, int attempt) override {
    fetches.push_back({book, std::move(url), attempt});
  }
  void cache_book(std::string key, std::string json) override { cache[key] = std::move(json); }

  FrameKind frame(const std::string& text) {
    const Padded padded(text);
    return feed->on_frame({padded.view(), clock.now()}).kind;
  }
  FrameKind depth(std::uint64_t first, std::uint64_t last, const std::string& bids = "[]") {
    return frame(fmt::format(
        R"({{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":1000,"s":"BTCUSDT","U":{},"u":{},"b":{},"a":[]}}}})",
        first, last, bids));
  }
  FrameKind trade(std::uint64_t id) {
    return frame(fmt::format(
        R"({{"stream":"btcusdt@aggTrade","data":{{"E":1000,"s":"BTCUSDT","a":{},"p":"1","q":"2","T":999,"m":true}}}})",
        id));
  }
  void snapshot(std::uint64_t id) {
    feed->on_snapshot(
        0, fmt::format(R"({{"lastUpdateId":{},"bids":[["10.0","1"]],"asks":[["11.0","2"]]}})", id));
  }
  std::vector<std::string> topics() const {
    std::vector<std::string> names;
    for (const Published& published : out) {
      names.push_back(published.topic.substr(std::string("act.exchange.binance.").size()));
    }
    return names;
  }

  struct Fetch {
    std::size_t book;
    std::string url;
    int attempt;
  };
  FakeBus bus;
  HistoricalClock clock{TimePoint(std::chrono::seconds(1'700'000'000))};
  std::vector<Published> out;
  std::size_t frame_events = 0;
  std::vector<Fetch> fetches;
  std::map<std::string, std::string> cache;
  std::unique_ptr<MarketFeed> feed;
};

using Names = std::vector<std::string>;

TEST_CASE("updates go out at once, the snapshot when it is the book after all of them") {
  Feed feed("binance", "btcusdt@depth@100ms");
  CHECK(feed.depth(10, 12, R"([["9.5","3"]])") == FrameKind::kMarket);
  REQUIRE(feed.fetches.size() == 1);
  CHECK(feed.fetches[0].url == "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000");
  feed.depth(13, 14);
  CHECK(feed.fetches.size() == 1);  // one at a time
  CHECK(feed.topics() == Names{"orderbook.update", "orderbook.update"});

  feed.snapshot(11);
  CHECK(feed.topics() == Names{"orderbook.update", "orderbook.update", "orderbook.snapshot"});
  const Published& snapshot = feed.out.back();
  CHECK(
      snapshot.payload() ==
      R"({"bids":[["10.0","1"],["9.5","3"]],"asks":[["11.0","2"]],"last_update_id":14,"snapshot_at":"2023-11-14T22:13:20.000000000Z"})");
  CHECK(snapshot.event->type() == "com.virtufin.exchange.binance.orderbook.snapshot");
  CHECK(snapshot.event->subject() == "currency_pair/BTCUSDT");
  CHECK(feed.cache.at("act.exchange.binance.orderbook.BTCUSDT") ==
        R"({"bids":[["10.0","1"],["9.5","3"]],"asks":[["11.0","2"]],"last_update_id":14})");
}

TEST_CASE("a snapshot that is ahead is published when the updates have reached it") {
  Feed feed("binance", "btcusdt@depth@100ms");
  feed.depth(10, 12);
  feed.snapshot(14);
  CHECK(feed.topics() == Names{"orderbook.update"});
  feed.depth(13, 14);
  CHECK(feed.topics() == Names{"orderbook.update", "orderbook.update", "orderbook.snapshot"});
  CHECK_THAT(feed.out.back().payload(), Catch::Contains(R"("last_update_id":14)"));
}

TEST_CASE("a gap is an event before the update that shows it, then a new book") {
  Feed feed("binance", "btcusdt@depth@100ms");
  feed.depth(10, 12);
  feed.snapshot(12);
  feed.out.clear();
  feed.depth(20, 21);
  CHECK(feed.topics() == Names{"feed.gap", "orderbook.update"});
  CHECK(feed.out[0].payload() ==
        R"({"connection_id":"c1","expected":13,"received":20,"reason":"update ids were skipped"})");
  CHECK(feed.out[0].event->type() == "com.virtufin.exchange.binance.feed.gap");
  REQUIRE(feed.fetches.size() == 2);
  CHECK(feed.fetches[1].attempt == 0);
  feed.snapshot(15);  // older than the gap's other side: asked for again, later
  REQUIRE(feed.fetches.size() == 3);
  CHECK(feed.fetches[2].attempt == 1);
  feed.snapshot(21);
  CHECK(feed.topics() == Names{"feed.gap", "orderbook.update", "orderbook.snapshot"});
  CHECK_THAT(feed.out.back().payload(), Catch::Contains(R"("last_update_id":21)"));
}

TEST_CASE("a fetch that failed or brought nonsense is tried again") {
  Feed feed("binance", "btcusdt@depth@100ms");
  feed.depth(10, 12);
  feed.feed->on_snapshot(0, unavailable("HTTP 500"));
  feed.feed->on_snapshot(0, std::string("<html>"));
  feed.feed->on_snapshot(0, std::string(R"({"lastUpdateId":12,"bids":[["x","1"]],"asks":[]})"));
  REQUIRE(feed.fetches.size() == 4);
  CHECK(feed.fetches[3].attempt == 3);
  feed.snapshot(12);
  CHECK(feed.topics().back() == "orderbook.snapshot");
}

TEST_CASE("books are published at the interval, if they changed") {
  Feed feed("binance", "btcusdt@depth@100ms", std::chrono::milliseconds(100));
  const auto start = std::chrono::steady_clock::now();
  feed.depth(10, 12);
  feed.snapshot(12);
  feed.out.clear();
  feed.feed->tick(start);
  CHECK(feed.out.empty());  // published when it was joined, and the same since
  feed.depth(13, 13);
  feed.feed->tick(start + std::chrono::milliseconds(50));
  CHECK(feed.topics() == Names{"orderbook.update"});
  feed.feed->tick(start + std::chrono::milliseconds(100));
  CHECK(feed.topics() == Names{"orderbook.update", "orderbook.snapshot"});
}

TEST_CASE("after a reconnect duplicates are dropped, and the first book is a snapshot") {
  Feed feed("binance", "btcusdt@depth@100ms/btcusdt@aggTrade");
  feed.depth(10, 12);
  feed.snapshot(12);
  feed.trade(5);
  feed.out.clear();
  feed.feed->connected();
  CHECK(feed.depth(10, 12) == FrameKind::kDuplicate);
  CHECK(feed.trade(5) == FrameKind::kDuplicate);
  feed.depth(13, 14);  // nothing was missed
  CHECK(feed.topics() == Names{"orderbook.update", "orderbook.snapshot"});
  feed.out.clear();
  feed.trade(9);
  CHECK(feed.topics() == Names{"feed.gap", "trade.tape"});
  CHECK_THAT(feed.out[0].payload(), Catch::Contains(R"("expected":6,"received":9)"));
  feed.trade(12);  // told of reconnects only
  CHECK(feed.topics().size() == 3);
}

TEST_CASE("publishing that stopped tells what was missed when it starts again") {
  Feed feed("binance", "btcusdt@depth@100ms");
  feed.depth(10, 12);
  feed.feed->stop_publishing();
  feed.out.clear();
  feed.snapshot(12);
  CHECK(feed.out.empty());
  REQUIRE(feed.feed->publish_on("hyp.x").ok());
  feed.depth(20, 21);
  REQUIRE(feed.out.size() == 2);
  CHECK(feed.out[0].topic == "hyp.x.exchange.binance.feed.gap");
  CHECK(feed.out[1].topic == "hyp.x.exchange.binance.orderbook.update");
  feed.snapshot(21);
  CHECK(feed.cache.count("hyp.x.exchange.binance.orderbook.BTCUSDT") == 1);
}

/// The final book of a symbol, from the raw file alone: the venue's procedure as one would do it by
/// hand, with everything at hand at once.
NaiveBook by_hand(const std::vector<RecordedFrame>& frames, const std::string& body,
                  const std::string& symbol, bool futures, std::uint64_t& last) {
  simdjson::dom::parser parser;
  NaiveBook book;
  const simdjson::dom::element snapshot = parser.parse(body);
  for (const auto level : snapshot["bids"]) book.set(true, level.at(0), level.at(1));
  for (const auto level : snapshot["asks"]) book.set(false, level.at(0), level.at(1));
  const std::uint64_t id = snapshot["lastUpdateId"];
  last = id;
  simdjson::dom::parser frame_parser;
  for (const RecordedFrame& frame : frames) {
    const simdjson::dom::element data = frame_parser.parse(frame.text)["data"];
    std::string_view event;
    if (data["e"].get(event) != simdjson::SUCCESS || event != "depthUpdate" ||
        std::string_view(data["s"]) != symbol) {
      continue;
    }
    const std::uint64_t u = data["u"];
    if (futures ? u < id : u <= id) continue;
    for (const auto level : data["b"]) book.set(true, level.at(0), level.at(1));
    for (const auto level : data["a"]) book.set(false, level.at(0), level.at(1));
    last = u;
  }
  return book;
}

void play(const std::filesystem::path& folder, const std::string& venue, const std::string& name) {
  const auto frames = read_frames(folder / (name + ".ws.1.0"));
  Feed feed(venue, recorded_streams(folder / (name + ".ws.1.0")));
  std::size_t asked = 0;
  const auto answer = [&](std::size_t later) {
    for (; asked + later < feed.fetches.size(); ++asked) {
      const std::string url = feed.fetches[asked].url;
      const std::string query = url.substr(url.find('?'));
      feed.feed->on_snapshot(feed.fetches[asked].book,
                             read_body(folder / (name + ".http.0.0"), query));
    }
  };
  for (const RecordedFrame& frame : frames) {
    INFO(frame.text);
    REQUIRE(feed.frame(frame.text) == FrameKind::kMarket);
    // Recorded answers may be newer than the first frames; once they have come they join.
    if (&frame != &frames.front()) answer(0);
  }
  CHECK(feed.frame_events == frames.size());
  for (const Published& published : feed.out) CHECK_FALSE(published.topic.ends_with("feed.gap"));

  const auto symbols = feed.feed->codec().symbols();
  const auto books = feed.feed->codec().books();
  CHECK(books.size() == 4);
  for (std::size_t i = 0; i < books.size(); ++i) {
    const std::string& symbol = symbols[books[i]];
    INFO(symbol);
    std::uint64_t last = 0;
    const NaiveBook expected =
        by_hand(frames, read_body(folder / (name + ".http.0.0"), "symbol=" + symbol + "&"), symbol,
                venue == "binance-futures", last);
    const BookKeeper& keeper = feed.feed->book(i);
    std::string bids, asks;
    keeper.book().append_json(Side::kBid, bids);
    keeper.book().append_json(Side::kAsk, asks);
    CHECK(bids == expected.json(true));
    CHECK(asks == expected.json(false));
    CHECK(keeper.last_update_id() == last);
    CHECK(keeper.book().depth(Side::kBid) > 100);
  }
}

TEST_CASE("whole recordings: one event a frame, no gap, and the final books") {
  const auto folder = recordings();
  if (!folder) {
    WARN("skipped: no recordings; set VIRTUFIN_RECORDINGS");
    return;
  }
  play(*folder, "binance", "BINANCE");
  play(*folder, "binance-futures", "BINANCE_FUTURES");
}

}  // namespace
}  // namespace virtufin::wsm::test

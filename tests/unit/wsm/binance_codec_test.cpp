// Frames of the venue, as recorded, turned into events: by values, by count, and what must not
// decode.
#include <fmt/format.h>
#include <simdjson.h>
#include <catch2/catch.hpp>

#include <map>
#include <random>
#include <set>

#include "core/errors.h"
#include "fakes.h"
#include "modules/wsm/feeds/registry.h"
#include "padded.h"
#include "recordings.h"

namespace virtufin::wsm::test {
namespace {

constexpr TimePoint kReceived{std::chrono::nanoseconds(1'633'998'512'063'356'900)};

std::unique_ptr<FeedCodec> codec_for(FakeBus& bus, const std::string& venue,
                                     const std::string& streams, const std::string& head = "act",
                                     bool append_symbol = false) {
  FeedRequest request;
  request.venue = venue;
  request.append_symbol = append_symbol;
  auto codec = make_codec(request, "streams=" + streams);
  REQUIRE(codec.ok());
  REQUIRE((*codec)->publish_on(bus, head).ok());
  return *std::move(codec);
}

Decoded decode(FeedCodec& codec, const std::string& text) {
  // The event has bytes of its own: the frame may die here. (A depth change's levels die with it.)
  const Padded frame(text);
  return codec.decode({frame.view(), kReceived});
}

std::string payload(const Decoded& decoded) {
  REQUIRE(decoded.kind == FrameKind::kMarket);
  return std::string(as_text(decoded.event->data()));
}

const std::string kDepth =
    R"({"stream":"nknusdt@depth@100ms","data":{"e":"depthUpdate","E":1633998512068,"s":"NKNUSDT","U":499869750,"u":499869752,"b":[["0.35130000","6195.00000000"],["0.34750000","0.00000000"]],"a":[]}})";

TEST_CASE("a spot depth frame becomes an order book update with all it must carry") {
  FakeBus bus;
  const auto codec = codec_for(bus, "binance", "nknusdt@depth@100ms");
  const Decoded decoded = decode(*codec, kDepth);
  CHECK(
      payload(decoded) ==
      R"({"bids_delta":[["0.35130000","6195.00000000"],["0.34750000","0.00000000"]],"asks_delta":[],"first_update_id":499869750,"last_update_id":499869752})");
  const Event& event = *decoded.event;
  CHECK((*decoded.topic)->name() == "act.exchange.binance.orderbook.update");
  CHECK(event.type() == "com.virtufin.exchange.binance.orderbook.updated");
  CHECK(event.source() == "urn:com.virtufin.websocketmanager");
  CHECK(event.subject() == "currency_pair/NKNUSDT");
  CHECK(event.data_content_type() == "application/json");
  CHECK(event.time() == "2021-10-12T00:28:32.068000000Z");
  CHECK(event.extension("eventtime") == "2021-10-12T00:28:32.068000000Z");
  CHECK(event.extension("walltime") == "2021-10-12T00:28:32.063356900Z");
  CHECK(event.extension("clocktype") == "wall");
  CHECK(event.extension("exchange") == "binance");
  CHECK(event.extension("scenarioid") == "LIVE");
  CHECK(event.extension("marketlane") == "act");
  CHECK(event.extension("portfoliolane") == "act");
  CHECK(event.extension("strategylane") == "act");
  CHECK(event.extension("marketselector").empty());
  CHECK(event.scenario_id() == "LIVE");

  REQUIRE(decoded.depth);
  CHECK(decoded.depth->first == 499869750);
  CHECK(decoded.depth->last == 499869752);
  REQUIRE(decoded.depth->bids.size() == 2);
  CHECK(decoded.depth->asks.empty());
}

TEST_CASE("trades, tickers and candles have the contract's payloads") {
  FakeBus bus;
  const auto spot = codec_for(bus, "binance",
                              "nknusdt@aggTrade/nknusdt@trade/nknusdt@bookTicker/nknusdt@kline_1m");
  CHECK(
      payload(decode(
          *spot,
          R"({"stream":"nknusdt@aggTrade","data":{"e":"aggTrade","E":1633998523963,"s":"NKNUSDT","a":15683430,"p":"0.35280000","q":"58.00000000","f":19862790,"l":19862790,"T":1633998523961,"m":false,"M":true}})")) ==
      R"({"trade_id":"15683430","price":"0.35280000","qty":"58.00000000","side":"buy","trade_time":"2021-10-12T00:28:43.961000000Z"})");
  CHECK(
      payload(decode(
          *spot,
          R"({"stream":"nknusdt@trade","data":{"e":"trade","E":1633998523963,"s":"NKNUSDT","t":19862790,"p":"0.3528","q":"58","b":1,"a":2,"T":1633998523961,"m":true,"M":true}})")) ==
      R"({"trade_id":"19862790","price":"0.3528","qty":"58","side":"sell","trade_time":"2021-10-12T00:28:43.961000000Z"})");

  const Decoded ticker = decode(
      *spot,
      R"({"stream":"nknusdt@bookTicker","data":{"u":499869768,"s":"NKNUSDT","b":"0.35210000","B":"672.00000000","a":"0.35260000","A":"3199.00000000"}})");
  CHECK(
      payload(ticker) ==
      R"({"bid":"0.35210000","bid_qty":"672.00000000","ask":"0.35260000","ask_qty":"3199.00000000"})");
  CHECK((*ticker.topic)->name() == "act.exchange.binance.ticker.update");
  CHECK(ticker.event->type() == "com.virtufin.exchange.binance.ticker.updated");
  CHECK(ticker.event->event_time() == kReceived);  // the venue gives no time
  CHECK_FALSE(ticker.venue_time);

  const Decoded candle = decode(
      *spot,
      R"({"stream":"nknusdt@kline_1m","data":{"e":"kline","E":1633998523963,"s":"NKNUSDT","k":{"t":1633998480000,"T":1633998539999,"s":"NKNUSDT","i":"1m","f":19862761,"L":19862790,"o":"0.35270000","c":"0.35280000","h":"0.35290000","l":"0.35220000","v":"25877.00000000","n":30,"x":false,"q":"9116.04600000","V":"58.00000000","Q":"20.46240000","B":"0"}}})");
  CHECK(
      payload(candle) ==
      R"({"interval":"1m","open":"0.35270000","high":"0.35290000","low":"0.35220000","close":"0.35280000","volume":"25877.00000000","candle_close_time":"2021-10-12T00:28:59.999000000Z","closed":false})");
  CHECK((*candle.topic)->name() == "act.exchange.binance.ohlcv.candle.1m");
  CHECK(candle.event->type() == "com.virtufin.exchange.binance.ohlcv.candle");

  const auto futures = codec_for(bus, "binance-futures", "sushiusdt@bookTicker");
  const Decoded timed = decode(
      *futures,
      R"({"stream":"sushiusdt@bookTicker","data":{"e":"bookTicker","u":600859600576,"s":"SUSHIUSDT","b":"7.6110","B":"2","a":"7.6120","A":"297","T":1626992741012,"E":1626992741017}})");
  CHECK(payload(timed) == R"({"bid":"7.6110","bid_qty":"2","ask":"7.6120","ask_qty":"297"})");
  CHECK((*timed.topic)->name() == "act.exchange.binance-futures.ticker.update");
  CHECK(timed.event->time() == "2021-07-22T22:25:41.017000000Z");
}

TEST_CASE("a hypothetical head changes the address and the lane, an appended symbol the topic") {
  FakeBus bus;
  const auto codec = codec_for(bus, "binance", "nknusdt@depth@100ms", "hyp.replay-1", true);
  const Decoded decoded = decode(*codec, kDepth);
  REQUIRE(decoded.kind == FrameKind::kMarket);
  CHECK((*decoded.topic)->name() == "hyp.replay-1.exchange.binance.orderbook.update.NKNUSDT");
  CHECK(decoded.event->extension("marketlane") == "hyp");
  CHECK(decoded.event->extension("marketselector") == "replay-1");
  CHECK(decoded.event->extension("portfoliolane") == "act");
  CHECK_FALSE(codec->publish_on(bus, "hyp.").ok());
  CHECK_FALSE(codec->publish_on(bus, "sc.LIVE").ok());
  CHECK_FALSE(codec->publish_on(bus, "").ok());
}

TEST_CASE("ids follow from venue, channel, symbol and number, for ever") {
  FakeBus bus;
  const auto codec = codec_for(bus, "binance", "nknusdt@depth@100ms");
  const auto other = codec_for(bus, "binance", "nknusdt@depth@100ms", "hyp.x");
  const std::string id(decode(*codec, kDepth).event->id());
  CHECK(id == decode(*other, kDepth).event->id());
  CHECK(id == "765bf201-ebf8-8479-868b-e70b76048f31");
  const auto futures = codec_for(bus, "binance-futures", "sushiusdt@bookTicker");
  CHECK(
      decode(
          *futures,
          R"({"stream":"sushiusdt@bookTicker","data":{"u":600859600576,"s":"SUSHIUSDT","b":"1","B":"2","a":"3","A":"4","E":1}})")
          .event->id() == "b4a13f1b-84d7-8b45-8ad3-18416894b24d");
}

TEST_CASE("the same number of a stream comes once") {
  FakeBus bus;
  const auto codec = codec_for(bus, "binance", "nknusdt@depth@100ms");
  CHECK(decode(*codec, kDepth).kind == FrameKind::kMarket);
  CHECK(decode(*codec, kDepth).kind == FrameKind::kDuplicate);
}

TEST_CASE("answers and pings are control frames, and no market data") {
  FakeBus bus;
  const auto codec = codec_for(bus, "binance", "nknusdt@depth@100ms");
  for (const char* text :
       {R"({"result":null,"id":1})", R"({"ping":1633998512068})", R"({"pong":1})", R"({"id":7})"}) {
    const Decoded decoded = decode(*codec, text);
    CHECK(decoded.kind == FrameKind::kControl);
    CHECK(decoded.problem.empty());
  }
  const Decoded refused = decode(*codec, R"({"error":{"code":2,"msg":"Invalid request"},"id":1})");
  CHECK(refused.kind == FrameKind::kControl);
  CHECK_FALSE(refused.problem.empty());
}

TEST_CASE("what is not a whole frame of ours does not decode, and the next one does") {
  FakeBus bus;
  const auto codec = codec_for(
      bus, "binance", "nknusdt@depth@100ms/nknusdt@trade/nknusdt@bookTicker/nknusdt@kline_1m");
  const std::string bad[] = {
      "",
      " ",
      "[]",
      "null",
      "42",
      "\"text\"",
      "{",
      "{}",
      "\xff\xfe\x00",
      R"({"stream":"nknusdt@depth@100ms"})",
      R"({"stream":"nknusdt@depth@100ms","data":7})",
      R"({"stream":"other@depth@100ms","data":{}})",
      R"({"stream":5,"data":{}})",
      // another symbol's data under this stream
      R"({"stream":"nknusdt@depth@100ms","data":{"E":1,"s":"BTCUSDT","U":1,"u":1,"b":[],"a":[]}})",
      // ids: missing, negative, in the wrong order, not integers
      R"({"stream":"nknusdt@depth@100ms","data":{"E":1,"s":"NKNUSDT","u":1,"b":[],"a":[]}})",
      R"({"stream":"nknusdt@depth@100ms","data":{"E":1,"s":"NKNUSDT","U":-1,"u":1,"b":[],"a":[]}})",
      R"({"stream":"nknusdt@depth@100ms","data":{"E":1,"s":"NKNUSDT","U":2,"u":1,"b":[],"a":[]}})",
      R"({"stream":"nknusdt@depth@100ms","data":{"E":1,"s":"NKNUSDT","U":"1","u":1,"b":[],"a":[]}})",
      // levels: not pairs, not strings, not decimals
      R"({"stream":"nknusdt@depth@100ms","data":{"E":1,"s":"NKNUSDT","U":1,"u":1,"b":[["1"]],"a":[]}})",
      R"({"stream":"nknusdt@depth@100ms","data":{"E":1,"s":"NKNUSDT","U":1,"u":1,"b":[["1","2","3"]],"a":[]}})",
      R"({"stream":"nknusdt@depth@100ms","data":{"E":1,"s":"NKNUSDT","U":1,"u":1,"b":[[1,2]],"a":[]}})",
      R"({"stream":"nknusdt@depth@100ms","data":{"E":1,"s":"NKNUSDT","U":1,"u":1,"b":[["1","x"]],"a":[]}})",
      R"({"stream":"nknusdt@depth@100ms","data":{"E":1,"s":"NKNUSDT","U":1,"u":1,"b":[["1.","2"]],"a":[]}})",
      R"({"stream":"nknusdt@depth@100ms","data":{"E":1,"s":"NKNUSDT","U":1,"u":1,"b":[["-1","2"]],"a":[]}})",
      R"({"stream":"nknusdt@depth@100ms","data":{"E":1,"s":"NKNUSDT","U":1,"u":1,"b":[["1","2"],],"a":[]}})",
      R"({"stream":"nknusdt@depth@100ms","data":{"E":1,"s":"NKNUSDT","U":1,"u":1,"b":[["1""2"]],"a":[]}})",
      R"({"stream":"nknusdt@depth@100ms","data":{"E":1,"s":"NKNUSDT","U":1,"u":1,"b":[["123456789012345678901234","2"]],"a":[]}})",
      // a time that nanoseconds in 64 bits do not reach, by one millisecond and by far
      R"({"stream":"nknusdt@depth@100ms","data":{"E":9223372036855,"s":"NKNUSDT","U":1,"u":1,"b":[],"a":[]}})",
      R"({"stream":"nknusdt@depth@100ms","data":{"E":9999999999999999,"s":"NKNUSDT","U":1,"u":1,"b":[],"a":[]}})",
      R"({"stream":"nknusdt@trade","data":{"E":1,"s":"NKNUSDT","t":1,"p":"1","q":"1","T":1,"m":"no"}})",
      R"({"stream":"nknusdt@trade","data":{"E":1,"s":"NKNUSDT","t":1,"p":1,"q":"1","T":1,"m":true}})",
      R"({"stream":"nknusdt@bookTicker","data":{"u":1,"s":"NKNUSDT","b":"1","B":"1","a":"1"}})",
      R"({"stream":"nknusdt@kline_1m","data":{"E":1,"s":"NKNUSDT","k":[]}})",
      kDepth.substr(0, kDepth.size() / 2),
  };
  for (const std::string& text : bad) {
    INFO(text);
    const Decoded decoded = decode(*codec, text);
    CHECK(decoded.kind == FrameKind::kUndecodable);
    CHECK_FALSE(decoded.problem.empty());
    CHECK(decoded.event == nullptr);
  }
  CHECK(decode(*codec, kDepth).kind == FrameKind::kMarket);
}

TEST_CASE("white space and another order of members are JSON like any other") {
  FakeBus bus;
  const auto codec = codec_for(bus, "binance", "nknusdt@depth@100ms");
  const Decoded decoded = decode(
      *codec,
      "{ \"data\" : { \"a\" : [ [ \"1.5\" , \"2\" ] , [\"3\",\"4\"] ] , \"b\" : [ ] , \"u\" : 8 , "
      "\"U\" : 7 , \"s\" : \"NKNUSDT\" , \"E\" : 1000 } , \"stream\" : \"nknusdt@depth@100ms\" }");
  REQUIRE(decoded.depth);
  CHECK(decoded.depth->asks.size() == 2);
  simdjson::dom::parser parser;
  const auto json = parser.parse(payload(decoded));
  CHECK(json["asks_delta"].at(0).at(1).get_string().value() == "2");
  CHECK(json["last_update_id"].get_uint64().value() == 8);
}

/// The venue's frame as a DOM, to compare with.
void check_against(const Decoded& decoded, simdjson::dom::element data,
                   const std::string& channel) {
  simdjson::dom::parser parser;
  const simdjson::dom::element json = parser.parse(payload(decoded));
  const auto same = [&](const char* ours, simdjson::dom::element theirs) {
    CHECK(simdjson::minify(json[ours]) == simdjson::minify(theirs));
  };
  if (channel == "depth@100ms") {
    same("bids_delta", data["b"]);
    same("asks_delta", data["a"]);
    same("first_update_id", data["U"]);
    same("last_update_id", data["u"]);
  } else if (channel == "bookTicker") {
    same("bid", data["b"]);
    same("bid_qty", data["B"]);
    same("ask", data["a"]);
    same("ask_qty", data["A"]);
  } else if (channel == "aggTrade") {
    same("price", data["p"]);
    same("qty", data["q"]);
    CHECK(std::string(json["trade_id"]) == simdjson::minify(data["a"]));
    CHECK(std::string(json["side"]) == (bool(data["m"]) ? "sell" : "buy"));
  } else {
    REQUIRE(channel == "kline_1m");
    same("open", data["k"]["o"]);
    same("high", data["k"]["h"]);
    same("low", data["k"]["l"]);
    same("close", data["k"]["c"]);
    same("volume", data["k"]["v"]);
    same("closed", data["k"]["x"]);
  }
}

TEST_CASE("every recorded frame becomes one event with the venue's own values") {
  const auto folder = recordings();
  if (!folder) {
    WARN("skipped: no recordings; set VIRTUFIN_RECORDINGS");
    return;
  }
  struct Recording {
    const char *venue, *file;
    std::map<std::string, int> channels;
  };
  const Recording all[] = {
      {"binance",
       "BINANCE.ws.1.0",
       {{"depth@100ms", 177}, {"bookTicker", 84}, {"aggTrade", 2}, {"kline_1m", 2}}},
      {"binance-futures",
       "BINANCE_FUTURES.ws.1.0",
       {{"depth@100ms", 764}, {"bookTicker", 613}, {"aggTrade", 91}, {"kline_1m", 67}}}};
  for (const Recording& recording : all) {
    FakeBus bus;
    const auto file = *folder / recording.file;
    const auto codec = codec_for(bus, recording.venue, recorded_streams(file));
    std::map<std::string, int> channels;
    std::set<std::string> ids;
    simdjson::dom::parser parser;
    for (const RecordedFrame& frame : read_frames(file)) {
      INFO(frame.text);
      const simdjson::dom::element raw = parser.parse(frame.text);
      const std::string stream{std::string_view(raw["stream"])};
      const std::string channel = stream.substr(stream.find('@') + 1);
      const Decoded decoded = decode(*codec, frame.text);
      check_against(decoded, raw["data"], channel);
      CHECK(decoded.event->subject() ==
            "currency_pair/" + std::string(std::string_view(raw["data"]["s"])));
      ++channels[channel];
      ids.insert(std::string(decoded.event->id()));
    }
    CHECK(channels == recording.channels);
    CHECK(ids.size() == read_frames(file).size());
  }
}

/// What a frame became, as text.
std::string outcome(FeedCodec& codec, const std::string& raw) {
  const Padded frame(raw);  // the depth levels are views into it
  const Decoded decoded = codec.decode({frame.view(), kReceived});
  std::string text = fmt::format("{} ", static_cast<int>(decoded.kind));
  if (!decoded.event) return text;
  text.append(decoded.event->id()).append(" ").append(decoded.event->time()).append(" ");
  text.append(as_text(decoded.event->data()));
  if (decoded.depth) {
    text += fmt::format(" {} {} {}", decoded.depth->first, decoded.depth->last,
                        decoded.depth->previous);
    for (const auto& side : {decoded.depth->bids, decoded.depth->asks}) {
      for (const LevelText& level : side)
        text += fmt::format(" {}={}", level.price, level.quantity);
    }
  }
  return text;
}

TEST_CASE("the dense reader and simdjson tell the same of every frame, whole or damaged") {
  const auto folder = recordings();
  if (!folder) {
    WARN("skipped: no recordings; set VIRTUFIN_RECORDINGS");
    return;
  }
  std::mt19937 random(11);
  for (const auto& [venue, name] : {std::pair{"binance", "BINANCE.ws.1.0"},
                                    std::pair{"binance-futures", "BINANCE_FUTURES.ws.1.0"}}) {
    FakeBus bus;
    const auto file = *folder / name;
    const auto dense = codec_for(bus, venue, recorded_streams(file));
    const auto tree = codec_for(bus, venue, recorded_streams(file));
    const std::string letters = R"({}[]",:.-0123456789eEabstupkU\ )";
    for (const RecordedFrame& frame : read_frames(file)) {
      // A space in front is JSON too, and nothing that the dense reader takes.
      REQUIRE(outcome(*dense, frame.text) == outcome(*tree, " " + frame.text));
      for (int i = 0; i < 20; ++i) {
        std::string damaged = frame.text;
        damaged[random() % damaged.size()] = letters[random() % letters.size()];
        if (random() % 4 == 0) damaged.resize(random() % damaged.size());
        INFO(damaged);
        REQUIRE(outcome(*dense, damaged) == outcome(*tree, " " + damaged));
      }
    }
  }
}

TEST_CASE("a feed asks for the streams of its symbols and channels") {
  FeedRequest request;
  request.venue = "binance";
  request.symbols = {"BTCUSDT", "ethusdt", "BTCUSDT"};
  request.channels = {"depth", "kline_5m"};
  const auto codec = make_codec(request, "");
  REQUIRE(codec.ok());
  CHECK(
      (*codec)->target() ==
      "/stream?streams=btcusdt@depth@100ms/ethusdt@depth@100ms/btcusdt@kline_5m/ethusdt@kline_5m");
  CHECK((*codec)->snapshot_url(1) ==
        "https://api.binance.com/api/v3/depth?symbol=ETHUSDT&limit=1000");
  request.channels.clear();
  request.symbols = {"btcusdt"};
  request.venue = "binance-futures";
  request.rest_url = "http://127.0.0.1:9/";
  const auto futures = make_codec(request, "");
  REQUIRE(futures.ok());
  CHECK((*futures)->target() ==
        "/stream?streams=btcusdt@depth@100ms/btcusdt@aggTrade/btcusdt@bookTicker/btcusdt@kline_1m");
  CHECK((*futures)->snapshot_url(0) ==
        "http://127.0.0.1:9/fapi/v1/depth?symbol=BTCUSDT&limit=1000");
}

TEST_CASE("a feed that cannot be is refused with what it may be") {
  const auto refused = [](FeedRequest request, const std::string& query = "") {
    const auto codec = make_codec(request, query);
    REQUIRE_FALSE(codec.ok());
    CHECK(codec.status().code() == absl::StatusCode::kInvalidArgument);
    return std::string(message(codec.status()));
  };
  CHECK_THAT(refused({"mtgox", {"BTCUSDT"}, {}, ""}), Catch::Contains("mtgox"));
  CHECK_THAT(refused({"binance", {}, {}, ""}), Catch::Contains("symbol"));
  CHECK_THAT(refused({"binance", {"BTC/USDT"}, {}, ""}), Catch::Contains("BTC/USDT"));
  CHECK_THAT(refused({"binance", {"BTCUSDT"}, {"markPrice"}, ""}), Catch::Contains("markPrice"));
  CHECK_THAT(refused({"binance", {"BTCUSDT"}, {"kline_7m"}, ""}), Catch::Contains("kline_7m"));
  CHECK_THAT(refused({"binance", {"BTCUSDT"}, {"depth", "depth@1000ms"}, ""}),
             Catch::Contains("two speeds"));
  CHECK_THAT(refused({"binance", {}, {}, ""}, "streams=btcusdt"), Catch::Contains("no channel"));
  FeedRequest many{"binance", {}, {"depth"}, ""};
  for (int i = 0; i < 1025; ++i) many.symbols.push_back(fmt::format("S{}", i));
  CHECK_THAT(refused(many), Catch::Contains("1024"));
}

}  // namespace
}  // namespace virtufin::wsm::test

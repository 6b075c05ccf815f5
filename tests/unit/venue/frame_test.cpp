#include "modules/venue/frame.h"

#include <catch2/catch.hpp>

#include "core/errors.h"

namespace virtufin::venue {
namespace {

Shifts shifts(std::int64_t time, std::int64_t update, std::int64_t aggregate, std::int64_t trade) {
  Shifts all{};
  shift_of(all, SlotKind::kTimeMs) = time;
  shift_of(all, SlotKind::kUpdateId) = update;
  shift_of(all, SlotKind::kAggregateId) = aggregate;
  shift_of(all, SlotKind::kTradeId) = trade;
  return all;
}

struct Sent {
  std::string combined, data;
};
Sent send(std::string_view text, const Shifts& add) {
  const auto frame = PreparedFrame::parse(text);
  INFO(frame.status());
  REQUIRE(frame.ok());
  std::string out = "before";
  frame->append(add, out);
  const std::string combined = out.substr(6);
  return {combined, combined.substr(frame->data_front(),
                                    combined.size() - frame->data_front() - frame->data_back())};
}

TEST_CASE("sending adds to times and ids and leaves everything else") {
  const Shifts add = shifts(1000, 10, 200, 3000);
  SECTION("depth, whose ids get another digit") {
    const Sent sent = send(
        R"({"stream":"x@depth@100ms","data":{"e":"depthUpdate","E":1626992741037,"T":1626992741024,"s":"X","U":95,"u":98,"pu":94,"b":[["7.5040","813"]],"a":[]}})",
        add);
    CHECK(
        sent.combined ==
        R"({"stream":"x@depth@100ms","data":{"e":"depthUpdate","E":1626992742037,"T":1626992742024,"s":"X","U":105,"u":108,"pu":104,"b":[["7.5040","813"]],"a":[]}})");
    CHECK(
        sent.data ==
        R"({"e":"depthUpdate","E":1626992742037,"T":1626992742024,"s":"X","U":105,"u":108,"pu":104,"b":[["7.5040","813"]],"a":[]})");
  }
  SECTION("spot book ticker: no time, and quantities named like ids elsewhere") {
    CHECK(
        send(R"({"stream":"x@bookTicker","data":{"u":5,"s":"X","b":"1","B":"2","a":"3","A":"4"}})",
             add)
            .data == R"({"u":15,"s":"X","b":"1","B":"2","a":"3","A":"4"})");
  }
  SECTION("aggregate trade") {
    CHECK(
        send(
            R"({"stream":"x@aggTrade","data":{"e":"aggTrade","E":1,"s":"X","a":2,"p":"0.3","q":"5","f":6,"l":7,"T":8,"m":false,"M":true}})",
            add)
            .data ==
        R"({"e":"aggTrade","E":1001,"s":"X","a":202,"p":"0.3","q":"5","f":3006,"l":3007,"T":1008,"m":false,"M":true})");
  }
  SECTION("kline: what is inside `k` too, but not an id that says: no trades") {
    CHECK(
        send(
            R"({"stream":"x@kline_1m","data":{"e":"kline","E":1,"s":"X","k":{"t":2,"T":3,"s":"X","i":"1m","f":-1,"L":9,"o":"1","n":0,"x":false,"B":"0"}}})",
            add)
            .data ==
        R"({"e":"kline","E":1001,"s":"X","k":{"t":1002,"T":1003,"s":"X","i":"1m","f":-1,"L":3009,"o":"1","n":0,"x":false,"B":"0"}})");
  }
  SECTION("spaces and another order") {
    const Sent sent =
        send(R"({ "data": { "s": "X", "t" : 7 , "E": 1 } , "stream": "x@trade" })", add);
    CHECK(sent.combined ==
          R"({ "data": { "s": "X", "t" : 3007 , "E": 1001 } , "stream": "x@trade" })");
    CHECK(sent.data == R"({ "s": "X", "t" : 3007 , "E": 1001 })");
  }
}

TEST_CASE("a depth frame's levels and ids are decoded") {
  const auto frame = PreparedFrame::parse(
      R"({"stream":"x@depth","data":{"s":"X","U":95,"u":98,"b":[["7.5","0.00"]],"a":[["8","1"],["9","2"]]}})");
  REQUIRE(frame.ok());
  CHECK(frame->depth().first == 95);
  CHECK(frame->depth().last == 98);
  CHECK(frame->depth().previous == -1);
  REQUIRE(frame->depth().change.bids.size() == 1);
  CHECK(frame->depth().change.bids[0].removed);
  REQUIRE(frame->depth().change.asks.size() == 2);
  CHECK(frame->depth().change.asks[1].price_text == "9");
  CHECK_FALSE(frame->depth().change.asks[1].removed);
}

TEST_CASE("frames that are none are refused with the reason") {
  const std::pair<const char*, const char*> cases[] = {
      {"", "no JSON"},
      {"{", "'stream'"},
      {R"({"result":null,"id":1})", "'stream'"},
      {R"({"stream":"x@depth"})", "'data'"},
      {R"({"stream":"x@liquidations","data":{"s":"X"}})", "is none of"},
      {R"({"stream":"x@trade","data":{"t":1}})", "'s'"},
      {R"({"stream":"x@trade","data":{"s":"X","t":"1"}})", "no integer"},
      {R"({"stream":"x@trade","data":{"s":"X","t":99999999999999999}})", "2^53"},
      {R"({"stream":"x@depth","data":{"s":"X","b":[],"a":[]}})", "U and u"},
      {R"({"stream":"x@depth","data":{"s":"X","U":5,"u":4,"b":[],"a":[]}})", "U <= u"},
      {R"({"stream":"x@depth","data":{"s":"X","U":5,"u":6,"b":[["1"]],"a":[]}})", "decimal"},
      {R"({"stream":"x@depth","data":{"s":"X","U":5,"u":6,"b":[["1","x"]],"a":[]}})", "decimal"},
      {R"({"stream":"x@depth","data":{"s":"X","U":5,"u":6,"b":[[1,2]],"a":[]}})", "strings"},
      {R"({"stream":"x@kline_1m","data":{"s":"X","k":7}})", "'k'"},
  };
  for (const auto& [text, complaint] : cases) {
    INFO(text);
    const auto frame = PreparedFrame::parse(text);
    REQUIRE_FALSE(frame.ok());
    CHECK_THAT(std::string(message(frame.status())), Catch::Contains(complaint));
  }
}

TEST_CASE("a snapshot is read from its URL and body") {
  const auto snapshot = parse_snapshot(
      "https://x/fapi/v1/depth?limit=5&symbol=XY&a=b",
      R"({"lastUpdateId":7,"E":8,"T":9,"bids":[["1.0","2"]],"asks":[["1.1","3"],["1.2","4"]]})");
  REQUIRE(snapshot.ok());
  CHECK(snapshot->symbol == "XY");
  CHECK(snapshot->last_update_id == 7);
  CHECK(snapshot->event_time_ms == 8);
  CHECK(snapshot->transaction_time_ms == 9);
  CHECK(snapshot->levels.bids.size() == 1);
  CHECK(snapshot->levels.asks.size() == 2);
  CHECK_FALSE(parse_snapshot("https://x/depth", R"({"lastUpdateId":7})").ok());
  CHECK_FALSE(parse_snapshot("https://x/?symbol=X", R"({"bids":[]})").ok());
  CHECK_FALSE(parse_snapshot("https://x/?symbol=X", R"({"lastUpdateId":-7})").ok());
  CHECK_FALSE(parse_snapshot("https://x/?symbol=X", "[]").ok());
}

}  // namespace
}  // namespace virtufin::venue

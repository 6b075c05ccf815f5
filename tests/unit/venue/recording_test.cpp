#include "modules/venue/recording.h"

#include <catch2/catch.hpp>

#include <numeric>

#include "core/errors.h"
#include "recordings.h"

namespace virtufin::venue {
namespace {

TimePoint at(std::int64_t nanoseconds) { return TimePoint(std::chrono::nanoseconds(nanoseconds)); }

void check_refused(std::string_view bytes, std::string_view complaint) {
  const auto parsed = parse_websocket_recording(bytes);
  REQUIRE_FALSE(parsed.ok());
  CHECK(parsed.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(message(parsed.status())), Catch::Contains(std::string(complaint)));
}

TEST_CASE("epoch seconds are read to the nanosecond") {
  CHECK(parse_epoch("1633998512.0633569") == at(1'633'998'512'063'356'900));
  CHECK(parse_epoch("1633998512") == at(1'633'998'512'000'000'000));
  CHECK(parse_epoch("0.000000001") == at(1));
  for (const auto* text :
       {"", ".5", "1.", "1.0000000001", "-1", "1e3", "1 ", "99999999999", "1.2.3"}) {
    INFO(text);
    CHECK_FALSE(parse_epoch(text));
  }
}

TEST_CASE("a WebSocket recording is connections with what either side sent") {
  const auto parsed = parse_websocket_recording(
      "wss://a/b <-> 1.5\nwss://a/b <- 1.6: {\"op\": 1}\n1.75: {\"a\": \"x: y\"}\r\n\n"
      "wss://c <-> 2\n2.25: second\n");
  REQUIRE(parsed.ok());
  REQUIRE(parsed->size() == 2);
  const RecordedConnection& first = (*parsed)[0];
  CHECK(first.url == "wss://a/b");
  CHECK(first.opened == at(1'500'000'000));
  REQUIRE(first.sent.size() == 1);
  CHECK(first.sent[0].text == "{\"op\": 1}");
  CHECK(first.sent[0].received == at(1'600'000'000));
  REQUIRE(first.frames.size() == 1);
  CHECK(first.frames[0].text == "{\"a\": \"x: y\"}");
  CHECK(first.frames[0].received == at(1'750'000'000));
  CHECK(first.frames[0].line == 3);
  CHECK((*parsed)[1].url == "wss://c");
  CHECK((*parsed)[1].frames[0].text == "second");
}

TEST_CASE("lines that are none are refused by number") {
  check_refused("1.5: frame\n", "line 1: a frame before");
  check_refused("wss://a <-> soon\n", "line 1: 'soon' is no time");
  check_refused("wss://a <-> 1\nwss://b <- 2: x\n", "line 2: 'wss://b' was not opened");
  check_refused("wss://a <-> 1\nwss://a <- x\n", "line 2: expected 'URL <- TIME: TEXT'");
  check_refused("wss://a <-> 1\n\n1.5 frame\n", "line 3: expected 'TIME: TEXT'");
  check_refused("hello\n", "line 1: expected");
}

TEST_CASE("an HTTP recording is a list of answers") {
  const auto parsed = parse_http_recording("https://a/b?c=d -> 1.25: {\"x\": 1}\n\n");
  REQUIRE(parsed.ok());
  REQUIRE(parsed->size() == 1);
  CHECK((*parsed)[0].url == "https://a/b?c=d");
  CHECK((*parsed)[0].received == at(1'250'000'000));
  CHECK((*parsed)[0].body == "{\"x\": 1}");
  CHECK_FALSE(parse_http_recording("https://a/b 1.25: {}\n").ok());
  CHECK_FALSE(parse_http_recording("https://a/b -> {}\n").ok());
}

TEST_CASE("the recordings hold what their README says") {
  const auto folder = recordings();
  if (!folder) return;
  struct Expected {
    const char* stem;
    std::size_t connections, frames, answers;
  };
  for (const Expected& expected :
       {Expected{"BINANCE", 1, 265, 4}, Expected{"BINANCE_FUTURES", 1, 1535, 4},
        Expected{"COINBASE", 1, 9946, 0}, Expected{"KRAKEN", 3, 4430, 0}}) {
    INFO(expected.stem);
    const auto venue = read_recordings(*folder, expected.stem);
    REQUIRE(venue.ok());
    CHECK(venue->connections.size() == expected.connections);
    const std::size_t frames = std::accumulate(
        venue->connections.begin(), venue->connections.end(), std::size_t{0},
        [](std::size_t sum, const RecordedConnection& c) { return sum + c.frames.size(); });
    CHECK(frames == expected.frames);
    CHECK(venue->answers.size() == expected.answers);
  }
  const auto spot = read_recordings(*folder, "BINANCE");
  REQUIRE(spot.ok());
  CHECK(spot->connections[0].opened == at(1'633'998'511'159'679'000));
  CHECK(spot->connections[0].frames[0].received == at(1'633'998'512'063'356'900));
  CHECK(spot->answers[3].url == "https://api.binance.com/api/v3/depth?symbol=RUNEEUR&limit=1000");
}

TEST_CASE("a missing recording says where it was sought") {
  const auto absent = read_recordings("/nonexistent", "BINANCE");
  CHECK(absent.status().code() == absl::StatusCode::kNotFound);
  CHECK_THAT(std::string(message(absent.status())), Catch::Contains("/nonexistent"));
  const auto empty =
      read_recordings(std::filesystem::temp_directory_path().string(), "NO_SUCH_VENUE");
  CHECK(empty.status().code() == absl::StatusCode::kNotFound);
  CHECK_THAT(std::string(message(empty.status())), Catch::Contains("NO_SUCH_VENUE.ws."));
}

}  // namespace
}  // namespace virtufin::venue

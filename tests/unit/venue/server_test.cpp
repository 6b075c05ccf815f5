#include "modules/venue/server.h"

#include <catch2/catch.hpp>
#include <string>
#include <thread>

#include "core/errors.h"
#include "core/log.h"
#include "modules/venue/recording.h"
#include "recordings.h"
#include "test_client.h"

namespace virtufin::venue {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Two symbols, spot only, as fast as it is read, on a free port.
VenueConfig synthetic_config() {
  VenueConfig config;
  config.port = 0;
  config.source = "synthetic";
  config.markets = {"binance"};
  config.symbols = {"BTCUSDT", "ETHUSDT"};
  config.speed = 0;
  return config;
}

VenueConfig recorded_config(const std::string& folder) {
  VenueConfig config;
  config.port = 0;
  config.source = "recording";
  config.recordings = folder;
  config.speed = 0;
  config.keep_times = true;
  return config;
}

struct Running {
  explicit Running(VenueConfig config) : server(clock, metrics, std::move(config)) {
    absl::Status status = server.bind();
    if (status.ok()) status = server.start();
    INFO(status);
    REQUIRE(status.ok());
  }

  MarketStatus market(std::string_view name) const {
    for (const MarketStatus& market : server.status().markets) {
      if (market.name == name) return market;
    }
    FAIL("no market " << name);
    return {};
  }

  WallClock clock;
  Metrics metrics;
  VenueServer server;
};

template <class Condition>
bool wait_for(Condition condition) {
  const auto until = steady_clock::now() + kTestDeadline;
  while (!condition()) {
    if (steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

/// All streams of a recording, as the client that was recorded asked for them.
std::string recorded_target(const RecordedConnection& connection) {
  return connection.url.substr(connection.url.find("/stream?"));
}

const std::string kAllOfBitcoin =
    "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@aggTrade/btcusdt@kline_1m";

// --- playing

TEST_CASE("a recording arrives as it was recorded, both markets on one port") {
  const auto folder = recordings();
  if (!folder) return;
  const Running venue(recorded_config(*folder));
  for (const auto& [stem, market, route] :
       {std::tuple{"BINANCE", "binance", "/api/v3/depth?limit=5000&symbol=NKNUSDT"},
        std::tuple{"BINANCE_FUTURES", "binance-futures",
                   "/fapi/v1/depth?limit=1000&symbol=CTKUSDT"}}) {
    INFO(stem);
    const auto recorded = read_recordings(*folder, stem);
    REQUIRE(recorded.ok());
    const RecordedConnection& connection = recorded->connections[0];
    TestClient client(venue.server.port(), recorded_target(connection));
    REQUIRE(client.error().empty());
    for (const RecordedFrame& frame : connection.frames) {
      const auto got = client.read();
      REQUIRE(got);
      REQUIRE(*got == frame.text);
    }
    CHECK_FALSE(client.read(milliseconds(20)));  // one lap was asked for
    CHECK(wait_for([&] { return venue.market(market).frames_sent == connection.frames.size(); }));
    const MarketStatus status = venue.market(market);
    CHECK(status.frames_played == connection.frames.size());
    CHECK(status.laps == 1);
    CHECK(status.finished);
    CHECK(status.frames_dropped == 0);
    const auto [code, body] = http_get(venue.server.port(), route);
    CHECK(code == 200);
    CHECK_THAT(body, Catch::StartsWith(R"({"lastUpdateId":)"));
  }
}

TEST_CASE("only the streams that were asked for come, and raw ones without their wrapping") {
  const auto folder = recordings();
  if (!folder) return;
  VenueConfig config = recorded_config(*folder);
  config.start_connections = 2;
  const Running venue(config);
  TestClient trades(venue.server.port(), "/stream?streams=nknusdt%40aggTrade%2Flrcbtc@aggTrade");
  CHECK_FALSE(trades.read(milliseconds(20)));  // waits for the second
  TestClient raw(venue.server.port(), "/ws/lrcbtc@kline_1m/lrcbtc@aggTrade");
  CHECK_THAT(trades.read().value_or("nothing"),
             Catch::StartsWith(R"({"stream":"nknusdt@aggTrade","data":{"e":"aggTrade",)"));
  CHECK_THAT(trades.read().value_or("nothing"),
             Catch::StartsWith(R"({"stream":"lrcbtc@aggTrade",)"));
  CHECK_THAT(raw.read().value_or("nothing"), Catch::StartsWith(R"({"e":"kline",)"));
  CHECK_THAT(raw.read().value_or("nothing"),
             Catch::StartsWith(R"({"e":"aggTrade",)") && Catch::EndsWith(R"("M":true})"));
  CHECK_FALSE(trades.read(milliseconds(20)));
  CHECK_FALSE(raw.read(milliseconds(20)));
}

TEST_CASE("a path's prefix chooses the market where both have the symbol") {
  VenueConfig config = synthetic_config();
  config.markets = {"binance", "binance-futures"};
  const Running venue(config);
  const auto first = [&](const std::string& prefix) {
    TestClient client(venue.server.port(), prefix + "/stream?streams=btcusdt@depth@100ms");
    return client.read().value_or(client.error());
  };
  CHECK_THAT(first(""), !Catch::Contains("\"pu\":"));
  CHECK_THAT(first("/spot"), !Catch::Contains("\"pu\":"));
  CHECK_THAT(first("/futures"), Catch::Contains("\"pu\":"));
}

TEST_CASE("times advance with the wall clock whatever the speed") {
  const auto folder = recordings();
  if (!folder) return;
  VenueConfig config = recorded_config(*folder);
  config.keep_times = false;
  config.speed = 60;
  const Running venue(config);
  const auto recorded = read_recordings(*folder, "BINANCE_FUTURES");
  REQUIRE(recorded.ok());
  const auto time_of = [](const std::string& text) {
    return std::stoll(text.substr(text.find("\"E\":") + 4));
  };
  const auto now_ms = [&] {
    return std::chrono::floor<milliseconds>(venue.clock.now().time_since_epoch()).count();
  };
  const auto begin = steady_clock::now();
  std::int64_t not_before = now_ms();
  TestClient client(venue.server.port(), recorded_target(recorded->connections[0]));
  for (const RecordedFrame& frame : recorded->connections[0].frames) {
    const auto got = client.read();
    REQUIRE(got);
    // The venue's lag of the recording is kept to the millisecond, so this is the moment of
    // sending.
    const std::int64_t sent =
        time_of(*got) - time_of(frame.text) +
        std::chrono::floor<milliseconds>(frame.received.time_since_epoch()).count();
    INFO(*got);
    CHECK(sent >= not_before - 2);
    CHECK(sent <= now_ms() + 1);
    not_before = sent;
  }
  // 30.14 s at sixty times their pace.
  CHECK(steady_clock::now() - begin >= milliseconds(500));
}

TEST_CASE("a rate is kept from above and nothing is lost") {
  VenueConfig config = synthetic_config();
  config.rate = 5000;
  config.frames = 2000;
  const Running venue(config);
  const auto begin = steady_clock::now();
  TestClient client(
      venue.server.port(),
      kAllOfBitcoin + "/ethusdt@depth@100ms/ethusdt@bookTicker/ethusdt@aggTrade/ethusdt@kline_1m");
  for (int i = 0; i < 2000; ++i) REQUIRE(client.read());
  CHECK(steady_clock::now() - begin >= milliseconds(399));  // the last is due after 1999/5000 s
  CHECK_FALSE(client.read(milliseconds(10)));
  CHECK(venue.market("binance").finished);
}

TEST_CASE("a reader that pauses loses nothing when playback waits for it") {
  VenueConfig config = synthetic_config();
  config.frames = 100'000;
  const Running venue(config);
  TestClient client(venue.server.port(), "/ws/btcusdt@depth@100ms");
  REQUIRE(client.read());
  // Not reading: playback comes to a halt once the sockets' buffers are full.
  std::uint64_t played = 0;
  REQUIRE(wait_for([&] {
    const std::uint64_t now = venue.market("binance").frames_played;
    std::this_thread::sleep_for(milliseconds(20));
    return now == std::exchange(played, venue.market("binance").frames_played);
  }));
  CHECK(played < 100'000);
  const auto status = venue.server.status();
  REQUIRE(status.connections.size() == 1);
  CHECK(status.connections[0].queued_bytes < 512 << 10);
  std::int64_t last = 0;
  std::uint64_t frames = 1;
  while (const auto text =
             client.read(milliseconds(venue.market("binance").finished ? 200 : 5000))) {
    const std::int64_t first_id = std::stoll(text->substr(text->find("\"U\":") + 4));
    if (last != 0) REQUIRE(first_id == last + 1);
    last = std::stoll(text->substr(text->find("\"u\":") + 4));
    ++frames;
  }
  CHECK(venue.market("binance").frames_sent == frames);
  CHECK(venue.market("binance").frames_played == 100'000);
  CHECK(venue.server.status().slow_clients == 0);
}

TEST_CASE("a reader that does not read is disconnected at the bound") {
  VenueConfig config = synthetic_config();
  config.slow_client = "disconnect";
  config.queue_bytes = 128 << 10;
  const Running venue(config);
  TestClient client(venue.server.port(), "/ws/btcusdt@depth@100ms");
  REQUIRE(client.error().empty());
  CHECK(wait_for([&] { return venue.server.status().slow_clients == 1; }));
  CHECK(wait_for([&] { return venue.server.status().connections.empty(); }));
  const auto market = venue.market("binance");
  CHECK(market.connections == 0);
  CHECK(market.frames_dropped > 0);
  // The market goes on for the others.
  TestClient other(venue.server.port(), "/ws/btcusdt@depth@100ms");
  CHECK(other.read());
}

TEST_CASE("a market that waits for readers stands still while there is none") {
  VenueConfig config = synthetic_config();
  const Running venue(config);
  std::int64_t last = 0;
  {
    TestClient client(venue.server.port(), "/ws/btcusdt@aggTrade");
    const auto text = client.read();
    REQUIRE(text);
    last = std::stoll(text->substr(text->find("\"a\":") + 4));
  }
  REQUIRE(wait_for([&] { return venue.market("binance").connections == 0; }));
  const std::uint64_t played = venue.market("binance").frames_played;
  std::this_thread::sleep_for(milliseconds(30));
  CHECK(venue.market("binance").frames_played == played);
  TestClient client(venue.server.port(), "/ws/btcusdt@aggTrade");
  const auto text = client.read();
  REQUIRE(text);
  CHECK(std::stoll(text->substr(text->find("\"a\":") + 4)) > last);
}

// --- WebSocket

TEST_CASE("streams are subscribed, listed and unsubscribed by request") {
  VenueConfig config = synthetic_config();
  config.speed = 1;
  config.max_streams = 3;
  const Running venue(config);
  TestClient client(venue.server.port(), "/stream");
  const auto ask = [&](std::string_view request) {
    client.write(request);
    // Market frames may come between.
    for (;;) {
      const auto text = client.read();
      if (!text || !text->starts_with("{\"stream\"")) return text.value_or("nothing");
    }
  };
  CHECK(ask(R"({"method":"LIST_SUBSCRIPTIONS","id":1})") == R"({"result":[],"id":1})");
  CHECK(venue.market("binance").connections == 0);
  CHECK(
      ask(R"({"method":"SUBSCRIBE","params":["btcusdt@depth@100ms","nobody@trade"],"id":"a b"})") ==
      R"({"result":null,"id":"a b"})");
  CHECK(venue.market("binance").connections == 1);
  CHECK_THAT(client.read().value_or("nothing"),
             Catch::StartsWith(R"({"stream":"btcusdt@depth@100ms",)"));
  CHECK(ask(R"({"method":"LIST_SUBSCRIPTIONS","id":2})") ==
        R"({"result":["btcusdt@depth@100ms","nobody@trade"],"id":2})");
  CHECK(ask(R"({"method":"UNSUBSCRIBE","params":["btcusdt@depth@100ms"],"id":3})") ==
        R"({"result":null,"id":3})");
  CHECK(venue.market("binance").connections == 0);
  CHECK_FALSE(client.read(milliseconds(50)));
  CHECK(ask(R"({"method":"SUBSCRIBE","params":["a@b","c@d","e@f"],"id":4})") ==
        R"({"error":{"code":4,"msg":"Too many streams"},"id":4})");
}

TEST_CASE("requests that are none are answered with an error") {
  VenueConfig config = synthetic_config();
  const Running venue(config);
  TestClient client(venue.server.port(), "/ws");
  const std::pair<const char*, const char*> cases[] = {
      {"no JSON", R"({"error":{"code":2,"msg":"Invalid JSON"},"id":null})"},
      {R"({"id":5})",
       R"({"error":{"code":2,"msg":"Invalid request: missing field method"},"id":5})"},
      {R"({"method":"SUBSCRIBE","params":[1],"id":6})",
       R"({"error":{"code":2,"msg":"Invalid request: params must be strings"},"id":6})"},
      {R"({"method":"SUBSCRIBE","params":["a\"b"],"id":7})",
       R"({"error":{"code":2,"msg":"Invalid request: stream name"},"id":7})"},
      {R"({"method":"SHOUT","id":8})",
       R"({"error":{"code":2,"msg":"Invalid request: method is none of SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS"},"id":8})"},
  };
  for (const auto& [request, answer] : cases) {
    client.write(request);
    CHECK(client.read().value_or("nothing") == answer);
  }
}

TEST_CASE("a ping is answered with its payload, amid the market's frames") {
  const Running venue(synthetic_config());
  TestClient client(venue.server.port(), kAllOfBitcoin);
  CHECK(client.ping("are you there?") == "are you there?");
  CHECK(client.read());
}

TEST_CASE("a client that shows no sign of life is disconnected, one that answers pings is not") {
  VenueConfig config = synthetic_config();
  config.ping_interval = milliseconds(10);
  config.pong_timeout = milliseconds(200);
  const Running venue(config);
  RawClient silent(venue.server.port());
  silent.send(
      "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  TestClient alive(venue.server.port(), "/ws");
  CHECK_FALSE(alive.read(milliseconds(600)));
  CHECK(alive.pings_seen() > 2);
  // Pings were written all the time: what is sent is no sign of life.
  CHECK_THAT(silent.read_to_end(), Catch::Contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
  const auto connections = venue.server.status().connections;
  REQUIRE(connections.size() == 1);
  CHECK(alive.ping("still") == "still");
}

TEST_CASE("an upgrade may come one byte at a time, with the first frame behind it") {
  const Running venue(synthetic_config());
  RawClient client(venue.server.port());
  const std::string request =
      "GET /stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  // A masked LIST_SUBSCRIPTIONS; a mask of zeros leaves the text readable.
  const std::string list = R"({"method":"LIST_SUBSCRIPTIONS","id":1})";
  const std::string frame =
      std::string("\x81") + static_cast<char>(0x80 | list.size()) + std::string(4, '\0') + list;
  for (const char byte : request + frame) client.send({&byte, 1});
  CHECK(client.read_until("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
  CHECK(client.read_until(R"({"result":[],"id":1})"));
  // All at once.
  RawClient second(venue.server.port());
  second.send(request + frame);
  CHECK(second.read_until(R"({"result":[],"id":1})"));
}

TEST_CASE("a client that breaks the protocol or talks too much is closed with the reason") {
  VenueConfig config = synthetic_config();
  config.max_messages_per_second = 5;
  const Running venue(config);
  TestClient talker(venue.server.port(), "/ws");
  for (int i = 0; i < 6; ++i) talker.write(R"({"method":"LIST_SUBSCRIPTIONS","id":1})");
  for (int i = 0; i < 5; ++i) CHECK(talker.read());
  CHECK_FALSE(talker.read());
  CHECK(talker.close_code() == 1008);

  RawClient unmasked(venue.server.port());
  unmasked.send(
      "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x01x");
  CHECK_THAT(unmasked.read_to_end(), Catch::Contains("\x03\xea") && Catch::Contains("masked"));
}

TEST_CASE("a client's close is answered and the connection forgotten") {
  const Running venue(synthetic_config());
  TestClient client(venue.server.port(), "/ws/btcusdt@depth@100ms");
  REQUIRE(client.read());
  client.close();
  CHECK(client.close_code() == 1000);
  CHECK(wait_for([&] { return venue.server.status().connections.empty(); }));
  CHECK(venue.market("binance").connections == 0);
}

// --- HTTP

TEST_CASE("REST answers depth, and errors as Binance does") {
  VenueConfig config = synthetic_config();
  config.markets = {"binance"};
  const Running venue(config);
  const auto get = [&](const std::string& target) { return http_get(venue.server.port(), target); };
  CHECK(get("/api/v3/depth?symbol=BTCUSDT&limit=2").first == 200);
  CHECK_THAT(get("/api/v3/depth?symbol=BTCUSDT&limit=2").second,
             Catch::StartsWith(R"({"lastUpdateId":1000000,"bids":[[)"));
  const auto bad_symbol = std::pair{400, std::string(R"({"code":-1121,"msg":"Invalid symbol."})")};
  CHECK(get("/api/v3/depth?symbol=NOSUCH") == bad_symbol);
  CHECK(get("/api/v3/depth").first == 400);
  for (const auto* limit : {"0", "-1", "x", "", "99999999999999999999"}) {
    CHECK(get("/api/v3/depth?symbol=BTCUSDT&limit=" + std::string(limit)).first == 400);
  }
  CHECK(get("/fapi/v1/depth?symbol=BTCUSDT").first == 404);
  CHECK(get("/elsewhere").first == 404);
  CHECK(get("/%zz").first == 400);
  CHECK(get("/x?" + std::string(40'000, 'x')).first == 431);
}

TEST_CASE("WebSocket paths that are none are refused before the upgrade") {
  const Running venue(synthetic_config());
  CHECK_THAT(TestClient(venue.server.port(), "/elsewhere").error(), Catch::Contains("declined"));
  CHECK_THAT(TestClient(venue.server.port(), "/futures/ws").error(), Catch::Contains("declined"));
}

TEST_CASE("a request that does not come in whole is timed out") {
  VenueConfig config = synthetic_config();
  config.header_timeout = milliseconds(50);
  const Running venue(config);
  RawClient client(venue.server.port());
  client.send("GET / HTTP/1.1\r\nHos");
  CHECK(client.read_to_end().empty());
}

TEST_CASE("one connection more than allowed is closed at once") {
  VenueConfig config = synthetic_config();
  config.max_connections = 1;
  const Running venue(config);
  TestClient first(venue.server.port(), "/ws/btcusdt@depth@100ms");
  REQUIRE(first.read());
  CHECK_FALSE(TestClient(venue.server.port(), "/ws").error().empty());
  CHECK(first.read());
}

// --- life

TEST_CASE("a port in use is an error that names it") {
  const Running first(synthetic_config());
  VenueConfig config = synthetic_config();
  config.port = first.server.port();
  WallClock clock;
  Metrics metrics;
  VenueServer second(clock, metrics, config);
  const absl::Status status = second.bind();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(message(status)),
             Catch::Contains("127.0.0.1:" + std::to_string(config.port)));
  CHECK(second.start().code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("without a recording: an error if one was asked for, else the synthetic market") {
  VenueConfig config = synthetic_config();
  config.recordings = "/nonexistent";
  config.source = "recording";
  WallClock clock;
  Metrics metrics;
  VenueServer server(clock, metrics, config);
  REQUIRE(server.bind().ok());
  CHECK(server.start().code() == absl::StatusCode::kNotFound);
  config.source = "auto";
  const Running venue(config);
  CHECK(venue.market("binance").source == "synthetic");
}

TEST_CASE("stopping says goodbye, and does not wait for those who do not answer") {
  Running venue(synthetic_config());
  TestClient polite(venue.server.port(), "/ws");
  CHECK_FALSE(polite.read(milliseconds(10)));
  TestClient deaf(venue.server.port(), "/ws/btcusdt@depth@100ms");
  REQUIRE(deaf.read());
  venue.server.close_intake();
  const auto begin = steady_clock::now();
  std::thread stopping([&] { venue.server.stop(begin + milliseconds(300)); });
  CHECK_FALSE(polite.read());
  CHECK(polite.close_code() == 1001);
  stopping.join();
  CHECK(steady_clock::now() - begin < std::chrono::seconds(20));
  venue.server.stop(steady_clock::now());  // once more is harmless
  CHECK_FALSE(TestClient(venue.server.port(), "/ws").error().empty());
}

TEST_CASE("everybody can be disconnected, and come back") {
  Running venue(synthetic_config());
  TestClient client(venue.server.port(), "/ws/btcusdt@depth@100ms");
  REQUIRE(client.read());
  venue.server.disconnect_clients();
  while (client.read()) {
  }
  CHECK(client.close_code() == 0);  // no goodbye
  TestClient again(venue.server.port(), "/ws/btcusdt@depth@100ms");
  CHECK(again.read());
}

}  // namespace
}  // namespace virtufin::venue

// Connections over real sockets, through the manager: what upstream peers do to us, and what the
// contract promises our callers.
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <future>

#include "core/errors.h"
#include "fakes.h"
#include "modules/wsm/manager.h"
#include "recordings.h"
#include "ws_server.h"

namespace virtufin::wsm::test {
namespace {

namespace websocket = boost::beast::websocket;
namespace asio = boost::asio;
using std::chrono::milliseconds;

WsmConfig quick() {
  WsmConfig config;
  config.connect_timeout = milliseconds(5'000);
  config.close_timeout = milliseconds(200);
  config.backoff_base = milliseconds(10);
  config.backoff_max = milliseconds(50);
  config.idle_timeout = milliseconds(60'000);
  config.rest_interval = milliseconds(1);
  return config;
}

/// A manager with everything around it.
struct World {
  explicit World(WsmConfig config = quick()) : loops(1) {
    auto guard = AddressGuard::create(config.allow_private_hosts);
    REQUIRE(guard.ok());
    manager = std::make_shared<ConnectionManager>(
        std::make_shared<Surroundings>(clock, bus, store, metrics, "i1", std::move(config),
                                       *std::move(guard)),
        loops);
  }
  ~World() { stop(); }
  void stop() { manager->stop(std::chrono::steady_clock::now() + kDeadline); }

  absl::StatusOr<std::string> connect(const ConnectRequest& request) {
    return start_connect(request).get();
  }
  std::future<absl::StatusOr<std::string>> start_connect(const ConnectRequest& request) {
    auto answer = std::make_shared<std::promise<absl::StatusOr<std::string>>>();
    manager->connect(
        request, [answer](absl::StatusOr<std::string> id) { answer->set_value(std::move(id)); });
    return answer->get_future();
  }
  absl::Status disconnect(const std::string& id) {
    return wait([&](Connection::Done done) { manager->disconnect(id, std::move(done)); });
  }
  absl::Status start_publish(const std::string& id, const std::string& topic) {
    return wait([&](Connection::Done done) { manager->start_publish(id, topic, std::move(done)); });
  }
  absl::Status stop_publish(const std::string& id) {
    return wait([&](Connection::Done done) { manager->stop_publish(id, std::move(done)); });
  }
  template <class Call>
  static absl::Status wait(Call call) {
    std::promise<absl::Status> answer;
    call([&](absl::Status status) { answer.set_value(std::move(status)); });
    return answer.get_future().get();
  }
  std::string status() const {
    const auto all = manager->list();
    return all.empty() ? "gone" : all.front().status();
  }

  WallClock clock;
  FakeBus bus;
  FakeStore store;
  Metrics metrics;
  Loops loops;
  std::shared_ptr<ConnectionManager> manager;
};

ConnectRequest request_to(const std::string& url, bool auto_reconnect = false) {
  ConnectRequest request;
  request.set_url(url);
  request.set_auto_reconnect(auto_reconnect);
  return request;
}

void check_adds_up(const Totals& totals) {
  CHECK(totals.frames_in == totals.market_frames + totals.control_frames + totals.duplicates +
                                totals.not_published + totals.undecodable);
  CHECK(totals.market_frames == totals.frame_events);
}

using Kinds = std::vector<std::string>;

TEST_CASE("Connect answers after the handshake, Disconnect ends it, and the lifecycle says so") {
  Server server([](int, Socket socket) {
    WebSocket stream = upgraded(std::move(socket));
    until_closed(stream);
  });
  World world;
  auto request = request_to(server.url("/path"));
  (*request.mutable_tags())["desk"] = "one";
  const auto id = world.connect(request);
  REQUIRE(id.ok());
  const auto all = world.manager->list();
  REQUIRE(all.size() == 1);
  CHECK(all[0].id() == *id);
  CHECK(all[0].url() == server.url("/path"));
  CHECK(all[0].status() == "connected");
  CHECK(all[0].instance_id() == "i1");
  CHECK(all[0].tags().at("desk") == "one");
  CHECK(world.bus.lifecycle() == Kinds{"connecting", "connected"});
  CHECK_THAT(world.store.value("websocketmanager.connection.index"), Catch::Contains(*id));

  CHECK(world.disconnect(*id).ok());
  CHECK(world.bus.lifecycle() == Kinds{"connecting", "connected", "disconnected"});
  const auto events = world.bus.on("websocketmanager.lifecycle");
  CHECK(events[1].event->type() == "com.virtufin.websocketmanager.lifecycle.connected");
  CHECK(events[1].event->subject() == "connection/" + *id);
  CHECK(
      events[2].payload() ==
      fmt::format(
          R"({{"connection_id":"{}","url":"{}","instance_id":"i1","reason":"disconnected by request"}})",
          *id, server.url("/path")));
  CHECK(world.manager->list().empty());
  CHECK(world.store.value("websocketmanager.connection.index") == "[]");
  CHECK(world.store.value("websocketmanager.connection." + *id).empty());
  CHECK(world.disconnect(*id).code() == absl::StatusCode::kNotFound);
  CHECK(world.manager->totals().other_events == 3);  // those of connections that are gone count on
}

TEST_CASE(
    "an upstream that cannot be reached is UNAVAILABLE with its own reason, and leaves nothing") {
  World world;
  std::uint16_t closed_port = 0;
  {
    asio::io_context io;
    const asio::ip::tcp::acceptor acceptor(io, {asio::ip::make_address("127.0.0.1"), 0});
    closed_port = acceptor.local_endpoint().port();
  }
  const auto refused = world.connect(request_to(fmt::format("ws://127.0.0.1:{}/", closed_port)));
  CHECK(refused.status().code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(message(refused.status())), Catch::Contains("refused"));
  const auto nowhere = world.connect(request_to("ws://host.invalid/"));
  CHECK(nowhere.status().code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(message(nowhere.status())), Catch::Contains("host.invalid"));
  const auto inside = world.connect(request_to("ws://169.254.169.254/latest"));
  CHECK(inside.status().code() == absl::StatusCode::kPermissionDenied);
  CHECK(world.manager->list().empty());
  CHECK(world.bus.lifecycle() == Kinds{"connecting", "error", "disconnected", "connecting", "error",
                                       "disconnected", "connecting", "error", "disconnected"});
  CHECK_THAT(world.bus.on("websocketmanager.lifecycle")[1].payload(),
             Catch::Contains(R"("error_type":"connect")"));
}

TEST_CASE("a peer that refuses the upgrade is told with its HTTP status") {
  Server server([](int, Socket socket) {
    namespace http = boost::beast::http;
    boost::beast::flat_buffer buffer;
    http::request<http::string_body> request;
    http::read(socket, buffer, request);
    http::response<http::string_body> response(http::status::forbidden, 11);
    response.prepare_payload();
    http::write(socket, response);
  });
  World world;
  const auto refused = world.connect(request_to(server.url()));
  CHECK(refused.status().code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(message(refused.status())), Catch::Contains("HTTP 403 Forbidden"));
}

TEST_CASE("a peer that accepts and never completes the upgrade times out") {
  Server server([](int, Socket socket) {
    char byte = 0;
    boost::system::error_code error;
    while (!error) socket.read_some(asio::buffer(&byte, 1), error);
  });
  WsmConfig config = quick();
  config.connect_timeout = milliseconds(100);
  World world(config);
  const auto late = world.connect(request_to(server.url()));
  CHECK(late.status().code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(message(late.status())), Catch::Contains("100 ms"));
}

TEST_CASE("a frame in the same packet as the 101 answer is delivered") {
  Server server([](int, Socket socket) {
    namespace http = boost::beast::http;
    boost::beast::flat_buffer buffer;
    http::request<http::string_body> request;
    http::read(socket, buffer, request);
    std::string accept;
    {
      // The accept key as the library computes it, taken from a response of its own.
      const std::string key(request[http::field::sec_websocket_key]);
      boost::beast::websocket::detail::sec_ws_accept_type computed;
      boost::beast::websocket::detail::make_sec_ws_accept(computed, key);
      accept.assign(computed.data(), computed.size());
    }
    const std::string payload = "first";
    const std::string packet =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: " +
        accept + "\r\n\r\n\x81" + static_cast<char>(payload.size()) + payload;
    asio::write(socket, asio::buffer(packet));
    char byte = 0;
    boost::system::error_code error;
    while (!error) socket.read_some(asio::buffer(&byte, 1), error);
  });
  World world;
  auto request = request_to(server.url());
  request.set_topic("raw");
  const auto id = world.connect(request);
  REQUIRE(id.ok());
  REQUIRE(world.bus.wait([&] { return world.bus.count("raw") == 1; }));
  const Published published = world.bus.on("raw")[0];
  CHECK(published.payload() == "first");
  CHECK(published.event->type() == "com.virtufin.websocketmanager.message.received");
  CHECK(published.event->subject() == "connection/" + *id);
  CHECK(published.event->data_content_type() == "text/plain");
  CHECK(published.event->extension("websocketid") == *id);
  CHECK(published.event->extension("websocketurl") == server.url());
  CHECK(published.event->extension("contenttype") == "text/plain");
  CHECK(published.event->extension("timestamp") == published.event->time());
}

TEST_CASE(
    "raw frames are published only between StartPublish and StopPublish, and counted always") {
  std::promise<void> go, stopped;
  Server server([&](int, Socket socket) {
    WebSocket stream = upgraded(std::move(socket));
    stream.text(true);
    stream.write(asio::buffer(std::string("before")));
    go.get_future().wait();
    stream.write(asio::buffer(std::string(R"({"a":1})")));
    stream.binary(true);
    stream.write(asio::buffer(std::string("\x00\xff", 2)));
    stopped.get_future().wait();
    stream.write(asio::buffer(std::string("after")));
    until_closed(stream);
  });
  World world;
  const auto id = world.connect(request_to(server.url()));
  REQUIRE(id.ok());
  REQUIRE(world.bus.wait([&] { return world.manager->totals().not_published == 1; }));
  CHECK(world.start_publish(*id, "").code() == absl::StatusCode::kInvalidArgument);
  CHECK(world.start_publish("nobody", "t").code() == absl::StatusCode::kNotFound);
  REQUIRE(world.start_publish(*id, "raw.topic").ok());
  CHECK(world.manager->list()[0].topic() == "raw.topic");
  go.set_value();
  REQUIRE(world.bus.wait([&] { return world.bus.count("raw.topic") == 2; }));
  CHECK(world.bus.on("raw.topic")[0].event->data_content_type() == "application/json");
  CHECK(world.bus.on("raw.topic")[1].event->data_content_type() == "application/octet-stream");
  CHECK(world.bus.on("raw.topic")[1].payload() == std::string("\x00\xff", 2));
  REQUIRE(world.stop_publish(*id).ok());
  stopped.set_value();
  REQUIRE(world.bus.wait([&] { return world.manager->totals().frames_in == 4; }));
  const Totals totals = world.manager->totals();
  CHECK(totals.not_published == 2);
  CHECK(totals.frame_events == 2);
  check_adds_up(totals);
}

TEST_CASE("a lost connection comes back with its topic; the lifecycle is in order") {
  Server server([](int number, Socket socket) {
    WebSocket stream = upgraded(std::move(socket));
    stream.text(true);
    stream.write(asio::buffer(fmt::format("hello {}", number)));
    if (number == 0) return;  // falls without a close
    until_closed(stream);
  });
  World world;
  auto request = request_to(server.url(), true);
  request.set_topic("raw");
  const auto id = world.connect(request);
  REQUIRE(id.ok());
  REQUIRE(world.bus.wait([&] { return world.bus.count("raw") == 2; }));
  CHECK(world.bus.on("raw")[1].payload() == "hello 1");
  CHECK(world.bus.lifecycle() ==
        Kinds{"connecting", "connected", "error", "reconnecting", "connected"});
  CHECK_THAT(world.bus.on("websocketmanager.lifecycle")[3].payload(),
             Catch::Contains(R"("attempt":1)"));
  CHECK(world.manager->totals().reconnects == 1);
  CHECK(world.manager->list()[0].last_error() != "");
}

TEST_CASE("without auto_reconnect a lost connection stays in the list, disconnected") {
  Server server([](int, Socket socket) { upgraded(std::move(socket)); });
  World world;
  const auto id = world.connect(request_to(server.url()));
  REQUIRE(id.ok());
  REQUIRE(world.bus.wait([&] { return world.status() == "disconnected"; }));
  CHECK(world.start_publish(*id, "t").code() == absl::StatusCode::kFailedPrecondition);
  CHECK(world.disconnect(*id).ok());  // at once, on a closed one
}

TEST_CASE("giving up is an event and a status") {
  Server server([](int number, Socket socket) {
    if (number == 0) upgraded(std::move(socket));
  });
  World world;
  auto request = request_to(server.url(), true);
  request.mutable_backoff()->set_max_attempts(3);
  request.mutable_backoff()->set_base_ms(1);
  request.mutable_backoff()->set_max_ms(2);
  REQUIRE(world.connect(request).ok());
  // The status changes before its event is published: wait for the event, the later of the two.
  REQUIRE(world.bus.wait([&] {
    const auto kinds = world.bus.lifecycle();
    return !kinds.empty() && kinds.back() == "disconnected";
  }));
  CHECK(world.status() == "disconnected");
  const auto kinds = world.bus.lifecycle();
  CHECK(std::count(kinds.begin(), kinds.end(), "reconnecting") == 1);  // unchanged says nothing
  CHECK(kinds[kinds.size() - 2] == "error");
  CHECK_THAT(world.bus.on("websocketmanager.lifecycle").back().payload(),
             Catch::Contains("gave up after 3 attempts"));
  CHECK(server.connections() == 4);
}

TEST_CASE("a user's disconnect wins over a reconnect, whatever the moment") {
  Server server([](int, Socket socket) { upgraded(std::move(socket)); });
  for (int round = 0; round < 20; ++round) {
    World world;
    auto request = request_to(server.url(), true);
    request.mutable_backoff()->set_base_ms(1);
    request.mutable_backoff()->set_max_ms(1);
    const auto id = world.connect(request);
    REQUIRE(id.ok());
    // Every round at another point of the storm of reconnects.
    REQUIRE(world.bus.wait([&] { return world.bus.lifecycle().size() >= 2U + round; }));
    REQUIRE(world.disconnect(*id).ok());
    const auto kinds = world.bus.lifecycle();
    CHECK(kinds.back() == "disconnected");
    world.stop();
    CHECK(world.bus.lifecycle() == kinds);  // nothing after it
    CHECK(world.manager->list().empty());
  }
}

TEST_CASE("a disconnect while the handshake hangs ends it at once") {
  std::promise<void> accepted;
  Server server([&](int, Socket socket) {
    accepted.set_value();
    char byte = 0;
    boost::system::error_code error;
    while (!error) socket.read_some(asio::buffer(&byte, 1), error);
  });
  World world;
  auto answer = world.start_connect(request_to(server.url()));
  accepted.get_future().wait();
  const std::string id = world.manager->list().at(0).id();
  CHECK(world.manager->list().at(0).status() == "connecting");
  CHECK(world.disconnect(id).ok());
  CHECK(answer.get().status().code() == absl::StatusCode::kCancelled);
}

TEST_CASE("a peer that only pings, however much, is dead to the data watchdog") {
  std::atomic<int> pings{0};
  Server server([&](int, Socket socket) {
    WebSocket stream = upgraded(std::move(socket));
    boost::system::error_code error;
    while (!error) {
      stream.ping("x", error);
      ++pings;
    }
  });
  WsmConfig config = quick();
  config.idle_timeout = milliseconds(150);
  World world(config);
  const auto id = world.connect(request_to(server.url()));
  REQUIRE(id.ok());
  REQUIRE(world.bus.wait([&] { return world.status() == "disconnected"; }));
  CHECK_THAT(world.manager->list()[0].last_error(), Catch::Contains("no data for 150 ms"));
  CHECK(pings > 10);
}

TEST_CASE("a ping is answered with its own payload") {
  std::promise<std::string> pong;
  Server server([&](int, Socket socket) {
    WebSocket stream = upgraded(std::move(socket));
    stream.control_callback([&](websocket::frame_type type, boost::beast::string_view payload) {
      if (type == websocket::frame_type::pong) pong.set_value(std::string(payload));
    });
    stream.ping("are you there");
    until_closed(stream);
  });
  World world;
  REQUIRE(world.connect(request_to(server.url())).ok());
  CHECK(pong.get_future().get() == "are you there");
}

TEST_CASE("text that is not UTF-8 is counted and ends the connection, which comes back") {
  Server server([](int number, Socket socket) {
    WebSocket stream = upgraded(std::move(socket));
    if (number == 0) {
      stream.text(true);
      // The library checks nothing that it sends.
      stream.write(asio::buffer(std::string("\xff\xfe")));
    }
    until_closed(stream);
  });
  World world;
  REQUIRE(world.connect(request_to(server.url(), true)).ok());
  REQUIRE(world.bus.wait([&] { return world.manager->totals().reconnects == 1; }));
  CHECK(world.manager->totals().undecodable == 1);
  check_adds_up(world.manager->totals());
}

TEST_CASE("a message over the bound ends the connection with its reason") {
  Server server([](int, Socket socket) {
    WebSocket stream = upgraded(std::move(socket));
    stream.write(asio::buffer(std::string(5000, 'x')));
    until_closed(stream);
  });
  WsmConfig config = quick();
  config.max_frame_bytes = 1024;
  World world(config);
  REQUIRE(world.connect(request_to(server.url())).ok());
  REQUIRE(world.bus.wait([&] { return world.status() == "disconnected"; }));
  CHECK(world.manager->totals().frames_in == 0);
}

TEST_CASE("a bus that does not complete stops the socket; when it does, nothing is lost") {
  constexpr int kFrames = 5000;
  Server server([](int, Socket socket) {
    WebSocket stream = upgraded(std::move(socket));
    for (int i = 0; i < kFrames; ++i) stream.write(asio::buffer(fmt::format("{}", i)));
    until_closed(stream);
  });
  WsmConfig config = quick();
  config.max_outstanding_publishes = 16;
  config.idle_timeout = milliseconds(100);
  World world(config);
  world.bus.hold();
  auto request = request_to(server.url());
  request.set_topic("raw");
  auto answer = world.start_connect(request);
  REQUIRE(answer.get().ok());
  REQUIRE(world.bus.wait([&] { return world.bus.all().size() >= 16; }));
  // Long enough for the watchdog, which must not take our own silence for the peer's.
  REQUIRE(world.bus.wait([start = std::chrono::steady_clock::now()] {
    return std::chrono::steady_clock::now() - start > milliseconds(300);
  }));
  CHECK(world.bus.all().size() == 16);
  CHECK(world.status() == "connected");
  world.bus.let_go();
  REQUIRE(world.bus.wait([&] { return world.bus.count("raw") == kFrames; }));
  int expected = 0;
  for (const Published& published : world.bus.on("raw")) {
    REQUIRE(published.payload() == fmt::format("{}", expected++));
  }
}

TEST_CASE("what the bus refuses is counted and reported") {
  Server server([](int, Socket socket) {
    WebSocket stream = upgraded(std::move(socket));
    stream.write(asio::buffer(std::string("x")));
    until_closed(stream);
  });
  World world;
  world.bus.answer_with(unavailable("broker gone"));
  auto request = request_to(server.url());
  request.set_topic("raw");
  REQUIRE(world.connect(request).ok());
  REQUIRE(world.bus.wait([&] {
    const auto all = world.manager->list();
    return all[0].last_error().find("broker gone") != std::string::npos;
  }));
  CHECK(world.manager->totals().publish_failed >= 3);
  check_adds_up(world.manager->totals());
}

TEST_CASE("bad requests are refused with the field's name, before anything is opened") {
  World world;
  const auto refused = [&](const ConnectRequest& request) {
    const auto id = world.connect(request);
    REQUIRE_FALSE(id.ok());
    CHECK(id.status().code() == absl::StatusCode::kInvalidArgument);
    return std::string(message(id.status()));
  };
  CHECK_THAT(refused(request_to("")), Catch::StartsWith("url:"));
  CHECK_THAT(refused(request_to("http://127.0.0.1/")), Catch::StartsWith("url:"));
  auto request = request_to("ws://127.0.0.1/");
  request.mutable_feed()->set_venue("nope");
  CHECK_THAT(refused(request), Catch::StartsWith("feed.venue:"));
  request.mutable_feed()->set_venue("binance");
  request.mutable_feed()->add_symbols("BTCUSDT");
  request.set_topic("exchange");
  CHECK_THAT(refused(request), Catch::StartsWith("topic:"));
  request = request_to("ws://127.0.0.1/");
  for (int i = 0; i < 51; ++i) (*request.mutable_tags())[std::to_string(i)] = "x";
  CHECK_THAT(refused(request), Catch::StartsWith("tags:"));
  request = request_to("ws://127.0.0.1/");
  (*request.mutable_tags())["k"] = std::string(1025, 'v');
  CHECK_THAT(refused(request), Catch::StartsWith("tags:"));
  request = request_to("ws://127.0.0.1/");
  (*request.mutable_headers())["X-Key"] = "secret\r\nHost: evil";
  const std::string said = refused(request);
  CHECK_THAT(said, Catch::StartsWith("headers:"));
  CHECK(said.find("secret") == std::string::npos);
  request = request_to("ws://127.0.0.1/");
  (*request.mutable_headers())["Host"] = "evil";
  CHECK_THAT(refused(request), Catch::StartsWith("headers:"));
  request = request_to("ws://127.0.0.1/");
  request.mutable_backoff()->set_base_ms(-1);
  CHECK_THAT(refused(request), Catch::StartsWith("backoff:"));
  CHECK(world.bus.all().empty());
}

TEST_CASE("connections are bounded, and none is made once the intake is closed") {
  Server server([](int, Socket socket) {
    WebSocket stream = upgraded(std::move(socket));
    until_closed(stream);
  });
  WsmConfig config = quick();
  config.max_connections = 1;
  World world(config);
  REQUIRE(world.connect(request_to(server.url())).ok());
  CHECK(world.connect(request_to(server.url())).status().code() ==
        absl::StatusCode::kResourceExhausted);
  world.manager->close_intake();
  CHECK(world.connect(request_to(server.url())).status().code() == absl::StatusCode::kUnavailable);
}

TEST_CASE("recorded connections come back after a restart; others are forgotten") {
  Server server([](int number, Socket socket) {
    WebSocket stream = upgraded(std::move(socket));
    stream.text(true);
    stream.write(asio::buffer(fmt::format("hello {}", number)));
    until_closed(stream);
  });
  World world;
  auto request = request_to(server.url(), true);
  (*request.mutable_tags())["desk"] = "one";
  (*request.mutable_headers())["X-Key"] = "k";
  const auto kept = world.connect(request);
  REQUIRE(kept.ok());
  REQUIRE(world.start_publish(*kept, "raw").ok());
  const auto lost = world.connect(request_to(server.url()));
  REQUIRE(lost.ok());
  world.store.overtake(3);  // another instance changes the index at the same time
  const auto silent = world.connect(request_to(server.url(), true));
  REQUIRE(silent.ok());
  world.stop();
  CHECK_FALSE(world.store.value("websocketmanager.connection." + *lost).empty());

  auto guard = AddressGuard::create({"127.0.0.1"});
  const auto after = std::make_shared<ConnectionManager>(
      std::make_shared<Surroundings>(world.clock, world.bus, world.store, world.metrics, "i2",
                                     quick(), *std::move(guard)),
      world.loops);
  after->start();
  REQUIRE(world.bus.wait([&] {
    const auto all = after->list();
    return all.size() == 2 && all[0].status() == "connected" && all[1].status() == "connected";
  }));
  for (const WebSocketConnection& connection : after->list()) {
    if (connection.id() == *kept) {
      CHECK(connection.topic() == "raw");
      CHECK(connection.tags().at("desk") == "one");
      CHECK(connection.instance_id() == "i2");
    } else {
      CHECK(connection.id() == *silent);
      CHECK(connection.topic().empty());
    }
  }
  const auto greeted = [&](const std::string& greeting) {
    const auto raw = world.bus.on("raw");
    return std::any_of(raw.begin(), raw.end(),
                       [&](const Published& published) { return published.payload() == greeting; });
  };
  REQUIRE(world.bus.wait([&] { return greeted("hello 3") || greeted("hello 4"); }));
  REQUIRE(world.bus.wait(
      [&] { return world.store.value("websocketmanager.connection." + *lost).empty(); }));
  after->stop(std::chrono::steady_clock::now() + kDeadline);
}

TEST_CASE("a connection that cannot be recorded is not one") {
  Server server([](int, Socket socket) {
    WebSocket stream = upgraded(std::move(socket));
    until_closed(stream);
  });
  World world;
  world.store.fail_with(unavailable("disk full"));
  const auto id = world.connect(request_to(server.url(), true));
  CHECK(id.status().code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(message(id.status())), Catch::Contains("disk full"));
  CHECK(world.bus.wait([&] { return world.manager->list().empty(); }));
}

std::string depth_frame(std::uint64_t first, std::uint64_t last) {
  return fmt::format(
      R"({{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":1000,"s":"BTCUSDT","U":{},"u":{},"b":[["10.0","5"]],"a":[]}}}})",
      first, last);
}

TEST_CASE("a configured feed subscribes by URL, fetches its book, survives a cut, and adds up") {
  Server rest([](int, Socket socket) {
    answer_http(socket, [](const std::string& target) {
      CHECK(target == "/api/v3/depth?symbol=BTCUSDT&limit=1000");
      return R"({"lastUpdateId":12,"bids":[["10.0","1"]],"asks":[["11.0","2"]]})";
    });
  });
  std::promise<void> cut;
  Server server([&](int number, Socket socket) {
    std::string target;
    WebSocket stream = upgraded(std::move(socket), &target);
    CHECK(target == "/stream?streams=btcusdt@depth@100ms");
    stream.text(true);
    if (number == 0) {
      stream.write(asio::buffer(depth_frame(10, 12)));
      stream.write(asio::buffer(std::string("garbage")));
      stream.write(asio::buffer(std::string(R"({"result":null,"id":1})")));
      cut.get_future().wait();
      return;
    }
    stream.write(asio::buffer(depth_frame(10, 12)));
    stream.write(asio::buffer(depth_frame(13, 14)));
    until_closed(stream);
  });
  WsmConfig config = quick();
  FeedConfig feed;
  feed.venue = "binance";
  feed.url = fmt::format("ws://127.0.0.1:{}", server.port());
  feed.rest_url = fmt::format("http://127.0.0.1:{}", rest.port());
  feed.symbols = {"BTCUSDT"};
  feed.channels = {"depth"};
  config.feeds = {feed};
  World world(config);
  world.manager->start();
  const std::string snapshots = "act.exchange.binance.orderbook.snapshot";
  REQUIRE(world.bus.wait([&] { return world.bus.count(snapshots) == 1; }));
  CHECK_THAT(
      world.bus.on(snapshots)[0].payload(),
      Catch::StartsWith(R"({"bids":[["10.0","1"]],"asks":[["11.0","2"]],"last_update_id":12,)"));
  REQUIRE(world.bus.wait([&] {
    return world.store.value("act.exchange.binance.orderbook.BTCUSDT") ==
           R"({"bids":[["10.0","1"]],"asks":[["11.0","2"]],"last_update_id":12})";
  }));
  REQUIRE(world.bus.wait([&] { return world.manager->totals().frames_in == 3; }));
  cut.set_value();
  REQUIRE(world.bus.wait([&] { return world.bus.count(snapshots) == 2; }));
  CHECK_THAT(
      world.bus.on(snapshots)[1].payload(),
      Catch::StartsWith(R"({"bids":[["10.0","5"]],"asks":[["11.0","2"]],"last_update_id":14,)"));
  CHECK(world.bus.count("act.exchange.binance.feed.gap") == 0);
  world.stop();
  const Totals totals = world.manager->totals();
  check_adds_up(totals);
  CHECK(totals.market_frames == 2);
  CHECK(totals.duplicates == 1);
  CHECK(totals.control_frames == 1);
  CHECK(totals.undecodable == 1);
  CHECK(totals.reconnects == 1);
  CHECK(totals.frame_events + totals.other_events == world.bus.all().size());
}

}  // namespace
}  // namespace virtufin::wsm::test

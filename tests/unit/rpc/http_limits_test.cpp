#include <catch2/catch.hpp>

#include "http_fixture.h"

namespace virtufin::rpc {
namespace {

using namespace test;

TEST_CASE("a head over the limit is 431, a body over the limit 413") {
  ServerLimits limits;
  limits.max_header_bytes = 2048;
  limits.max_message_bytes = 4096;
  HttpFixture fixture(limits);
  fixture.start();
  auto head = fixture.client();
  head.send("GET / HTTP/1.1\r\nX: " + std::string(4000, 'x') + "\r\n\r\n");
  const auto answer = head.read();
  CHECK(answer.status == 431);
  CHECK(answer.body.find("max_header_bytes") != std::string::npos);
  CHECK(head.read().status == 0);

  auto endless = fixture.client();
  while (endless.send(std::string(1024, 'x'))) {
    if (endless.read().status != 0) break;
  }

  auto announced = fixture.client();
  announced.send("POST / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n");
  CHECK(announced.read().status == 413);
  auto chunked = fixture.client();
  chunked.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1400\r\n" +
               std::string(5120, 'x') + "\r\n0\r\n\r\n");
  CHECK(chunked.read().status == 413);
  auto fits = fixture.client();
  CHECK(fits.request("POST", "/", std::string(4096, 'x')).status == 404);
}

TEST_CASE("what is no HTTP is 400") {
  HttpFixture fixture;
  fixture.start();
  for (const char* bytes :
       {"nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET  HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "\x16\x03\x01\x02"}) {
    auto client = fixture.client();
    client.send(bytes);
    client.send("\r\n\r\n");
    const auto answer = client.read();
    INFO(bytes);
    CHECK(answer.status == 400);
    CHECK(client.read().status == 0);
  }
}

TEST_CASE("a large body comes in parts, after 100 if it is asked for") {
  HttpFixture fixture;
  fixture.server->route("POST", "/size", [](const std::shared_ptr<HttpExchange>& exchange) {
    HttpResponse response;
    response.body = std::to_string(exchange->request().body.size());
    exchange->reply(std::move(response));
  });
  fixture.start();
  auto client = fixture.client();
  CHECK(client.request("POST", "/size", std::string(4 << 20, 'x')).body == "4194304");
  client.send("POST /size HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  CHECK(client.read_until("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("abc");
  CHECK(client.read().body == "3");
}

TEST_CASE("a head, a body and a silence that take too long end the connection") {
  ServerLimits limits;
  limits.header_timeout = 150ms;
  limits.body_timeout = 150ms;
  limits.idle_timeout = 150ms;
  HttpFixture fixture(limits);
  fixture.start();
  auto silent = fixture.client();
  CHECK(silent.read().status == 0);
  auto head = fixture.client();
  head.send("GET / HTTP/1.1\r\nHo");
  CHECK(head.read().status == 408);
  CHECK(head.read().status == 0);
  auto body = fixture.client();
  body.send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");
  CHECK(body.read().status == 408);
  auto idle = fixture.client();
  CHECK(idle.get("/v1/state/api/k").status == 200);
  CHECK(idle.read().status == 0);
}

TEST_CASE("a peer that does not read is closed, and nothing grows for it") {
  ServerLimits limits;
  limits.idle_timeout = 300ms;
  HttpFixture fixture(limits);
  std::atomic<int> answered{0};
  fixture.server->route("GET", "/big", [&](const std::shared_ptr<HttpExchange>& exchange) {
    HttpResponse response;
    response.body = std::string(1 << 20, 'x');
    ++answered;
    exchange->reply(std::move(response));
  });
  fixture.start();
  auto client = fixture.client();
  for (int i = 0; i < 100; ++i) client.send("GET /big HTTP/1.1\r\n\r\n");
  CHECK(eventually([&] {
    return fixture.metrics.prometheus_text().find("virtufin_rpc_http_connections 0") !=
           std::string::npos;
  }));
  // A few fitted into the sockets; the others were never begun.
  CHECK(answered < 50);
}

TEST_CASE("a call that is not answered in time is 504 and cancelled") {
  ServerLimits limits;
  limits.call_timeout = 150ms;
  HttpFixture fixture(limits);
  Mailbox<ReplyTo<GetStateResponse>> open;
  Mailbox<int> cancels;
  fixture.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [&](CallPtr call, const GetStateRequest&, ReplyTo<GetStateResponse> reply) {
        CHECK(call->deadline() < std::chrono::steady_clock::now() + 1s);
        call->on_cancel([&] { cancels.put(1); });
        open.put(std::move(reply));
      });
  fixture.start();
  auto client = fixture.client();
  const auto answer = client.get("/v1/state/api/k");
  CHECK(answer.status == 504);
  CHECK(answer.body.find("call_timeout_ms") != std::string::npos);
  CHECK(cancels.take().has_value());
  auto late = open.take();
  (*late)(GetStateResponse());
  // The connection is as good as before, and has no stray answer in it.
  CHECK(client.get("/nothing").status == 404);
}

TEST_CASE("one connection too many is told so; the others go on") {
  ServerLimits limits;
  limits.max_connections = 2;
  HttpFixture fixture(limits);
  fixture.start();
  auto one = fixture.client();
  auto two = fixture.client();
  CHECK(one.get("/v1/state/api/k").status == 200);
  CHECK(two.get("/v1/state/api/k").status == 200);
  {
    auto three = fixture.client();
    const auto answer = three.get("/v1/state/api/k");
    CHECK(answer.status == 503);
    CHECK(answer.body.find("max_connections") != std::string::npos);
    CHECK(three.read().status == 0);
  }
  CHECK(one.get("/v1/state/api/k").status == 200);
  two.close();
  CHECK(eventually([&] { return fixture.client().get("/v1/state/api/k").status == 200; }));
}

TEST_CASE("a port in use is an error of bind") {
  HttpFixture fixture;
  HttpServer second(fixture.methods, fixture.health, fixture.metrics, fixture.loops, {});
  const auto bound = second.bind({"127.0.0.1", fixture.port});
  CHECK(bound.status().code() == absl::StatusCode::kUnavailable);
  CHECK(message(bound.status()).find("127.0.0.1:" + std::to_string(fixture.port) + " is in use") ==
        0);
  CHECK(second.bind({"no such host", 1}).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("drain closes idle connections, lets calls end, cuts what is left") {
  HttpFixture fixture;
  Mailbox<ReplyTo<GetStateResponse>> open;
  Mailbox<std::shared_ptr<HttpStream>> streams;
  fixture.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [&](CallPtr, const GetStateRequest&, ReplyTo<GetStateResponse> reply) {
        open.put(std::move(reply));
      });
  fixture.server->route("GET", "/stream", [&](const std::shared_ptr<HttpExchange>& exchange) {
    streams.put(exchange->stream({}));
  });
  fixture.start();
  auto idle = fixture.client();
  CHECK(idle.get("/livez").status == 200);
  auto running = fixture.client();
  running.send("GET /v1/state/api/k HTTP/1.1\r\n\r\n");
  auto streaming = fixture.client();
  streaming.send("GET /stream HTTP/1.1\r\n\r\n");
  auto reply = open.take();
  auto stream = streams.take();
  REQUIRE(reply.has_value());
  REQUIRE(stream.has_value());

  std::thread draining([&] { fixture.server->drain(std::chrono::steady_clock::now() + 500ms); });
  CHECK(idle.read().status == 0);
  (*reply)(GetStateResponse());
  const auto answer = running.read();
  CHECK(answer.status == 200);
  CHECK(answer.header("Connection") == "close");
  CHECK(running.read().status == 0);
  running.close();
  draining.join();
  streaming.read_until("0\r\n\r\n");  // ends without its last chunk
  Mailbox<absl::Status> written;
  (*stream)->write("late", [&](absl::Status status) { written.put(std::move(status)); });
  CHECK(written.take()->code() == absl::StatusCode::kCancelled);
  CHECK_THROWS(fixture.client());
  stream->reset();
  fixture.server.reset();
}

TEST_CASE("servers stop under load") {
  for (int round = 0; round < 5; ++round) {
    HttpFixture fixture;
    fixture.start();
    std::atomic<bool> stop{false};
    std::atomic<int> answered{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back([&] {
        while (!stop) {
          try {
            auto client = fixture.client();
            for (int n = 0; n < 10 && client.get("/v1/state/api/k").status == 200; ++n) ++answered;
          } catch (const boost::system::system_error&) {
            return;  // no longer listening
          }
        }
      });
    }
    REQUIRE(eventually([&] { return answered > 200; }));
    fixture.server->drain(std::chrono::steady_clock::now() + 100ms);
    stop = true;
    for (auto& client : clients) client.join();
    CHECK(fixture.metrics.prometheus_text().find("virtufin_rpc_http_connections 0") !=
          std::string::npos);
  }
}

}  // namespace
}  // namespace virtufin::rpc

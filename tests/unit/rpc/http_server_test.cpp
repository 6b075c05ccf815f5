#include <catch2/catch.hpp>

#include "http_fixture.h"

namespace virtufin::rpc {
namespace {

using namespace test;

TEST_CASE("a method is served by its annotation") {
  HttpFixture fixture;
  fixture.start();
  auto client = fixture.client();
  const auto answer = client.get("/v1/state/api/a/key%20b");
  CHECK(answer.status == 200);
  CHECK(answer.header("Content-Type") == "application/json");
  CHECK(answer.body == R"({"key":"a/key b","value":"api:a/key b","etag":"1"})");
  // The same connection goes on, and so it does after an error.
  const auto refused = client.get("/v1/state/api/");
  CHECK(refused.status == 400);
  CHECK(refused.body == R"({"code":3,"message":"key is empty; give one","details":[]})");
  const auto unknown = client.get("/v1/state/api/k?colour=red");
  CHECK(unknown.status == 400);
  CHECK(unknown.body.find("no parameter colour") != std::string::npos);
  const auto nothing = client.get("/v1/nothing");
  CHECK(nothing.status == 404);
  CHECK(nothing.body.find("{\"code\":5,") == 0);
  const auto verb = client.request("PUT", "/v1/state/api/k", "");
  CHECK(verb.status == 405);
  CHECK(verb.header("Allow") == "GET");
  client.send("HEAD /v1/state/api/k HTTP/1.1\r\n\r\n");
  const auto head = client.read(true);
  CHECK(head.status == 200);
  CHECK(head.header("Content-Length") == "38");
  CHECK(client.get("/v1/state/api/k").status == 200);

  const std::string text = client.get("/metrics").body;
  CHECK(text.find("virtufin_rpc_calls_total{code=\"OK\",method=\"virtufin.State/GetState\","
                  "protocol=\"http\"} 3") != std::string::npos);
  CHECK(text.find("virtufin_rpc_http_connections 1") != std::string::npos);
}

TEST_CASE("rows that come later are served, those that go are not") {
  HttpFixture fixture;
  fixture.start();
  auto client = fixture.client();
  CHECK(client.request("POST", "/v1/state/save-state", "{}").status == 404);
  fixture.methods.unary<SaveStateRequest, SaveStateResponse>(
      "virtufin.State/SaveState",
      [](CallPtr call, const SaveStateRequest& request, ReplyTo<SaveStateResponse> reply) {
        SaveStateResponse response;
        response.set_etag(request.value() + "/" + std::string(call->metadata("x-trace")));
        reply(std::move(response));
      });
  const auto saved =
      client.request("POST", "/v1/state/save-state", R"({"value":"v"})", "X-Trace: t1\r\n");
  CHECK(saved.status == 200);
  CHECK(saved.body == R"({"etag":"v/t1"})");
  fixture.methods.remove("virtufin.State/SaveState");
  CHECK(client.request("POST", "/v1/state/save-state", "{}").status == 404);
}

TEST_CASE("custom routes win over transcoding of the same shape") {
  HttpFixture fixture;
  fixture.server->route("GET", "/v1/state/{service}/{anything=**}",
                        [](const std::shared_ptr<HttpExchange>& exchange) {
                          HttpResponse response;
                          response.status = 201;
                          response.content_type = "text/plain";
                          response.headers.emplace_back("X-Extra", "yes");
                          response.headers.emplace_back("X-Bad", "a\r\nInjected: 1");
                          const HttpRequest& request = exchange->request();
                          response.body = fmt::format(
                              "{} {} {} {} {} {}", request.verb, request.path,
                              request.capture("anything"), *request.query_value("q"),
                              *request.header("x-ONE"), exchange->call()->metadata("X-One"));
                          exchange->reply(std::move(response));
                        });
  CHECK_THROWS_AS(fixture.server->route("GET", "/v1/{", nullptr), std::invalid_argument);
  CHECK_THROWS_AS(fixture.server->route("GET", "/health", nullptr), std::invalid_argument);
  fixture.start();
  auto client = fixture.client();
  client.send("GET /v1/state/api/a%2Fb?q=1%202 HTTP/1.1\r\nX-One: one\r\n\r\n");
  const auto answer = client.read();
  CHECK(answer.status == 201);
  CHECK(answer.body == "GET /v1/state/api/a%2Fb a/b 1 2 one one");
  CHECK(answer.header("X-Extra") == "yes");
  CHECK(answer.header("X-Bad").empty());
  CHECK(answer.header("Injected").empty());
  CHECK(client.get("/v1/state/api/a?q=%").status == 400);
}

TEST_CASE("answers may come later, from any thread, in the order of the requests") {
  HttpFixture fixture;
  Mailbox<std::pair<std::string, ReplyTo<GetStateResponse>>> open;
  fixture.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [&](CallPtr, const GetStateRequest& request, ReplyTo<GetStateResponse> reply) {
        if (request.key() == "now") {
          GetStateResponse response;
          response.set_key("now");
          return reply(std::move(response));
        }
        open.put({request.key(), std::move(reply)});
      });
  fixture.start();
  auto client = fixture.client();
  client.send(
      "GET /v1/state/api/first HTTP/1.1\r\n\r\n"
      "GET /v1/state/api/now HTTP/1.1\r\n\r\n"
      "GET /v1/state/api/second HTTP/1.1\r\n\r\n");
  for (const char* key : {"first", "second"}) {
    auto call = open.take();
    REQUIRE(call.has_value());
    CHECK(call->first == key);
    GetStateResponse response;
    response.set_key(key);
    call->second(std::move(response));
  }
  for (const char* key : {"first", "now", "second"}) {
    CHECK(client.read().body.find(fmt::format("{{\"key\":\"{}\"", key)) == 0);
  }
}

TEST_CASE("a thousand pipelined requests are answered in order") {
  HttpFixture fixture;
  fixture.start();
  auto client = fixture.client();
  std::string all;
  for (int i = 0; i < 1000; ++i) {
    all += fmt::format("GET /v1/state/api/{} HTTP/1.1\r\n\r\n", i);
  }
  REQUIRE(client.send(all));
  for (int i = 0; i < 1000; ++i) {
    const auto answer = client.read();
    REQUIRE(answer.status == 200);
    REQUIRE(answer.body.find(fmt::format("{{\"key\":\"{}\"", i)) == 0);
  }
}

TEST_CASE("one byte at a time is a request too") {
  HttpFixture fixture;
  fixture.start();
  auto client = fixture.client();
  for (const char c :
       std::string("GET /v1/state/api/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")) {
    REQUIRE(client.send(std::string(1, c)));
  }
  CHECK(client.read().status == 200);
}

TEST_CASE("a handler that lets the request go answers 500") {
  HttpFixture fixture;
  fixture.server->route("GET", "/gone", [](const std::shared_ptr<HttpExchange>&) {});
  fixture.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [](CallPtr, const GetStateRequest&, const ReplyTo<GetStateResponse>&) {});
  fixture.start();
  auto client = fixture.client();
  CHECK(client.get("/gone").status == 500);
  const auto answer = client.get("/v1/state/api/k");
  CHECK(answer.status == 500);
  CHECK(answer.body.find("virtufin.State/GetState") != std::string::npos);
}

TEST_CASE("a client that ends its side is answered; one that goes away cancels") {
  HttpFixture fixture;
  Mailbox<ReplyTo<GetStateResponse>> open;
  Mailbox<int> cancels;
  fixture.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [&](CallPtr call, const GetStateRequest&, ReplyTo<GetStateResponse> reply) {
        call->on_cancel([&] { cancels.put(1); });
        open.put(std::move(reply));
      });
  fixture.start();
  auto client = fixture.client();
  client.send("GET /v1/state/api/k HTTP/1.1\r\n\r\n");
  client.end_sending();
  auto reply = open.take();
  REQUIRE(reply.has_value());
  CHECK(cancels.take().has_value());
  (*reply)(GetStateResponse());
  CHECK(client.read().status == 200);
  CHECK(client.read().status == 0);

  auto gone = fixture.client();
  gone.send("GET /v1/state/api/k HTTP/1.1\r\n\r\n");
  reply = open.take();
  gone.close();
  CHECK(cancels.take().has_value());
  (*reply)(GetStateResponse());
}

TEST_CASE("a stream comes as events or as lines, its metadata as headers, its error at the end") {
  HttpFixture fixture;
  fixture.methods.server_stream<SubscribeRequest>(
      "virtufin.Pubsub/Subscribe",
      [](CallPtr, const SubscribeRequest& request, const std::shared_ptr<ServerStream>& stream) {
        if (request.topics().empty()) return stream->finish(invalid_argument("no topics"));
        stream->start({{"virtufin-subscription-id", "s1"}});
        SubscribeResponse response;
        response.set_topic(request.topics(0));
        stream->write(make_bytes(response), [stream](const absl::Status& status) {
          CHECK(status.ok());
          stream->finish(unavailable("closed"));
        });
      });
  fixture.start();
  auto client = fixture.client();
  client.send("GET /v1/pubsub/stream?topics=t HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n");
  const auto events = client.read();
  CHECK(events.status == 200);
  CHECK(events.header("Content-Type") == "text/event-stream");
  CHECK(events.header("virtufin-subscription-id") == "s1");
  CHECK(events.body.find("data: {\"topic\":\"t\"") == 0);
  CHECK(events.body.find("\n\nevent: error\ndata: {\"code\":14,\"message\":\"closed\"") !=
        std::string::npos);
  const auto lines = client.get("/v1/pubsub/stream?topics=t");
  CHECK(lines.header("Content-Type") == "application/x-ndjson");
  CHECK(lines.body.find("{\"topic\":\"t\"") == 0);
  CHECK(lines.body.find("}\n{\"error\":{\"code\":14,") != std::string::npos);
  CHECK(client.get("/v1/pubsub/stream").status == 400);

  client.send("GET /v1/pubsub/stream?topics=t HTTP/1.0\r\n\r\n");
  const std::string old = client.read_until("\"error\"");
  CHECK(old.find("Connection: close") != std::string::npos);
  CHECK(old.find("chunked") == std::string::npos);
}

TEST_CASE("a stream that is not read holds its writer; one that is closed cancels it") {
  HttpFixture fixture;
  std::atomic<int> written{0};
  Mailbox<absl::Status> ended;
  Mailbox<int> cancels;
  struct Writer : std::enable_shared_from_this<Writer> {
    std::shared_ptr<HttpStream> stream;
    std::atomic<int>* written = nullptr;
    Mailbox<absl::Status>* ended = nullptr;
    void next() {
      stream->write(std::string(64 << 10, 'x'), [self = shared_from_this()](absl::Status status) {
        if (!status.ok()) return self->ended->put(std::move(status));
        ++*self->written;
        self->next();
      });
    }
  };
  fixture.server->route("GET", "/flood", [&](const std::shared_ptr<HttpExchange>& exchange) {
    exchange->call()->on_cancel([&] { cancels.put(1); });
    auto writer = std::make_shared<Writer>();
    writer->stream = exchange->stream({});
    writer->written = &written;
    writer->ended = &ended;
    writer->next();
  });
  fixture.start();
  auto client = fixture.client();
  client.send("GET /flood HTTP/1.1\r\n\r\n");
  CHECK(client.read_until("HTTP/1.1 200 OK").find("Transfer-Encoding: chunked") !=
        std::string::npos);
  // What the sockets hold, and no more: two looks at the counter that agree.
  int before = -1;
  REQUIRE(eventually([&] {
    const int now = written;
    const bool stands = now == before && now > 0;
    before = now;
    if (!stands) std::this_thread::sleep_for(50ms);
    return stands;
  }));
  CHECK(written < 500);
  // Others are answered meanwhile.
  auto other = fixture.client();
  CHECK(other.get("/v1/state/api/k").status == 200);
  client.close();
  const auto status = ended.take();
  REQUIRE(status.has_value());
  CHECK(status->code() == absl::StatusCode::kCancelled);
  CHECK(cancels.take().has_value());
}

TEST_CASE("a stream that is let go unfinished is cut off") {
  HttpFixture fixture;
  fixture.server->route("GET", "/cut", [](const std::shared_ptr<HttpExchange>& exchange) {
    HttpResponse head;
    head.body = "begin";
    exchange->stream(head)->write("more", [](const absl::Status&) {});
  });
  fixture.server->route("GET", "/whole", [](const std::shared_ptr<HttpExchange>& exchange) {
    HttpResponse head;
    head.body = "begin";
    auto stream = exchange->stream(head);
    stream->write("", [stream](const absl::Status&) { stream->finish(); });
  });
  fixture.start();
  auto client = fixture.client();
  const auto whole = client.get("/whole");
  CHECK(whole.status == 200);
  CHECK(whole.body == "begin");
  CHECK(client.get("/cut").status == 0);
}

TEST_CASE("health says what is wrong, with 503; liveness says only that we live") {
  HttpFixture fixture;
  absl::Status store = absl::OkStatus();
  fixture.health.add([&] { return std::vector<HealthEntry>{{"store", store}}; });
  fixture.start();
  auto client = fixture.client();
  for (const char* path : {"/health", "/readyz"}) {
    const auto answer = client.get(path);
    CHECK(answer.status == 200);
    CHECK(answer.body.find("{\"status\":\"Healthy\",\"totalDuration\":\"00:00:00.") == 0);
    CHECK(answer.body.find("\"entries\":{\"store\":{\"status\":\"Healthy\"}}}") !=
          std::string::npos);
  }
  store = unavailable("disk \"full\"");
  CHECK(client.get("/health").status == 503);
  CHECK(client.get("/readyz").body.find(
            R"("store":{"status":"Unhealthy","description":"disk \"full\""})") !=
        std::string::npos);
  for (const char* path : {"/healthz", "/livez", "/health/live"}) {
    CHECK(client.get(path).status == 200);
  }
  store = absl::OkStatus();
  fixture.health.set_serving(false);
  CHECK(client.get("/health").status == 503);
  CHECK(client.get("/livez").status == 200);
  CHECK(client.get("/metrics").status == 200);
  CHECK(client.get("/v1/state/api/k").status == 503);
}

}  // namespace
}  // namespace virtufin::rpc

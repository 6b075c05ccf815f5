// The module behind the real servers.

#include <fmt/format.h>

#include <atomic>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <thread>

#include "modules/gateway/gateway.h"
#include "rig.h"
#include "rpc/server.h"
#include "unit/rpc/grpc_client.h"
#include "virtufin/state.pb.h"

namespace virtufin::gateway::testing {
namespace {

using rpc::test::GrpcClient;
using tcp = boost::asio::ip::tcp;

constexpr const char* kSubscribe = "/virtufin.Pubsub/Subscribe";
constexpr std::chrono::seconds kTimeout{60};

/// One process's rooms and the gateway in them, on free ports.
struct Server {
  explicit Server(GatewayConfig config = {}) : gateway(platform, std::move(config)) {
    const auto bound_http = http.bind({"127.0.0.1", 0});
    const auto bound_grpc = grpc.bind({"127.0.0.1", 0});
    REQUIRE(bound_http.ok());
    REQUIRE(bound_grpc.ok());
    http_port = *bound_http;
    grpc_port = *bound_grpc;
    REQUIRE(http.start().ok());
    REQUIRE(grpc.start().ok());
    REQUIRE(gateway.start().ok());
    health.set_serving(true);
  }
  ~Server() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    gateway.close_intake();
    gateway.stop(deadline);
    http.drain(deadline);
    grpc.drain(deadline);
  }

  static std::unique_ptr<bus::MemoryStore> open_store(const Clock& clock, Metrics& metrics) {
    auto opened = bus::MemoryStore::open({}, clock, metrics);
    REQUIRE(opened.ok());
    return *std::move(opened);
  }

  WallClock clock;
  Metrics metrics;
  Loops loops{1};
  BlockingPool blocking{"blocking", 1, 16};
  bus::MemoryBus bus{bus::BusConfig{}, metrics};
  std::unique_ptr<bus::MemoryStore> store = open_store(clock, metrics);
  rpc::MethodTable methods;
  rpc::Health health;
  rpc::HttpServer http{methods, health, metrics, loops, {}};
  rpc::GrpcServer grpc{methods, health, metrics, {}};
  Platform platform{clock,  bus,     *store, methods,  http,
                    health, metrics, loops,  blocking, "00000000-0000-4000-8000-000000000001"};
  GatewayModule gateway;
  int http_port = 0;
  int grpc_port = 0;
};

/// One HTTP/1.1 exchange on a socket of its own.
class Http {
 public:
  explicit Http(int port) : socket_(io_) {
    socket_.connect({boost::asio::ip::make_address("127.0.0.1"), static_cast<std::uint16_t>(port)});
  }
  void send(const std::string& verb, const std::string& target, const std::string& headers = "",
            const std::string& body = "") {
    boost::asio::write(
        socket_, boost::asio::buffer(fmt::format(
                     "{} {} HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: {}\r\n\r\n{}", verb,
                     target, headers, body.size(), body)));
  }
  /// Everything up to and with `end`; what came behind it stays for the next.
  std::string read_until(const std::string& end) {
    boost::system::error_code error;
    const std::size_t size =
        boost::asio::read_until(socket_, boost::asio::dynamic_buffer(read_), end, error);
    INFO("after: " << read_);
    REQUIRE_FALSE(error);
    std::string text = read_.substr(0, size);
    read_.erase(0, size);
    return text;
  }
  bool closed_by_peer() {
    boost::system::error_code error;
    char byte = 0;
    while (!error) socket_.read_some(boost::asio::buffer(&byte, 1), error);
    return error == boost::asio::error::eof || error == boost::asio::error::connection_reset;
  }
  void close() { socket_.close(); }

 private:
  boost::asio::io_context io_;
  tcp::socket socket_;
  std::string read_;
};

struct Answer {
  int status;
  std::string body;
};

Answer rest(const Server& server, const std::string& verb, const std::string& target,
            const std::string& body = "", const std::string& headers = "") {
  Http http(server.http_port);
  http.send(verb, target, headers + "Connection: close\r\n", body);
  const std::string head = http.read_until("\r\n\r\n");
  const std::size_t at = head.find("ontent-Length: ");
  INFO(head);
  REQUIRE(at != std::string::npos);
  std::size_t length = std::stoul(head.substr(at + 15));
  Answer answer{std::stoi(head.substr(9, 3)), ""};
  if (length > 0) answer.body = http.read_until("}").substr(0, length);
  while (answer.body.size() < length) answer.body += http.read_until("}");
  return answer;
}

std::unique_ptr<GrpcClient::Call> subscribe(GrpcClient& client, const SubscribeRequest& request) {
  auto call = client.start(kSubscribe, {}, kTimeout);
  REQUIRE(call->write(request.SerializeAsString()));
  REQUIRE(call->writes_done());
  REQUIRE(call->read_metadata());
  return call;
}

SubscribeRequest to(const std::string& topic) {
  SubscribeRequest request;
  request.add_topics(topic);
  return request;
}

std::string subscription_id(GrpcClient::Call& call) {
  const auto& metadata = call.context.GetServerInitialMetadata();
  const auto found = metadata.find("virtufin-subscription-id");
  REQUIRE(found != metadata.end());
  return {found->second.data(), found->second.size()};
}

TEST_CASE("a gRPC stream gives its id as metadata before any event, then the events in order") {
  Server server;
  GrpcClient client(server.grpc_port);
  const auto call = subscribe(client, to("a.*"));
  const std::string id = subscription_id(*call);
  CHECK(id.size() == 36);
  for (int i = 0; i < 100; ++i) {
    server.bus.publish(server.bus.topic("a.b"), event(fmt::format("{}", i)));
  }
  for (int i = 0; i < 100; ++i) {
    SubscribeResponse response;
    REQUIRE(call->read(response));
    CHECK(response.topic() == "a.b");
    CHECK(response.cloudevent().id() == fmt::format("{}", i));
    CHECK(response.subscription_id() == (i == 0 ? id : ""));
  }
  UnsubscribeRequest request;
  request.set_subscription_id(id);
  UnsubscribeResponse response;
  REQUIRE(client.unary("/virtufin.Pubsub/Unsubscribe", request, response).ok());
  CHECK(response.status().success());
  SubscribeResponse none;
  CHECK_FALSE(call->read(none));
  CHECK(call->finish().ok());
  CHECK(server.bus.footprint().subscriptions == 0);
}

TEST_CASE("a hundred gRPC streams get every event over one bus subscription") {
  Server server;
  GrpcClient client(server.grpc_port);
  std::vector<std::unique_ptr<GrpcClient::Call>> calls;
  for (int i = 0; i < 100; ++i) calls.push_back(subscribe(client, to("a")));
  CHECK(server.bus.footprint().subscriptions == 1);
  for (int i = 0; i < 20; ++i) {
    server.bus.publish(server.bus.topic("a"), event(fmt::format("{}", i)));
  }
  for (const auto& call : calls) {
    for (int i = 0; i < 20; ++i) {
      SubscribeResponse response;
      REQUIRE(call->read(response));
      CHECK(response.cloudevent().id() == fmt::format("{}", i));
      CHECK(response.missed() == 0);
    }
  }
  // A client that goes away without a word is gone; the last one takes the subscription along.
  calls.clear();
  CHECK(eventually([&] { return server.bus.footprint().subscriptions == 0; }));
}

TEST_CASE("a gRPC reader that does not read is told what it missed, and delays nobody") {
  Server server;
  // Connections of their own: within one, the flow control of HTTP/2 couples streams.
  grpc::ChannelArguments own;
  own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  GrpcClient slow_client(server.grpc_port, own);
  GrpcClient quick_client(server.grpc_port, own);
  SubscribeRequest request = to("a");
  request.set_queue_events(10);
  const auto slow = subscribe(slow_client, request);
  const auto quick = subscribe(quick_client, to("a"));
  const std::string payload = fmt::format("\"{}\"", std::string(20'000, 'x'));
  constexpr std::uint64_t kEvents = 500;
  const auto topic = server.bus.topic("a");
  for (std::uint64_t i = 0; i < kEvents; ++i) {
    server.bus.publish(topic, event(fmt::format("{}", i), "t", "", payload));
    SubscribeResponse response;
    REQUIRE(quick->read(response));
    REQUIRE(response.cloudevent().id() == fmt::format("{}", i));
  }
  std::uint64_t told = 0;
  std::uint64_t missed = 0;
  while (told < kEvents) {
    SubscribeResponse response;
    REQUIRE(slow->read(response));
    told += response.missed();
    missed += response.missed();
    CHECK(response.cloudevent().id() == fmt::format("{}", told));
    ++told;
  }
  CHECK(told == kEvents);
  CHECK(missed > 0);
}

TEST_CASE("a Subscribe that is refused answers its status over gRPC") {
  Server server;
  GrpcClient client(server.grpc_port);
  const auto call = client.start(kSubscribe);
  REQUIRE(call->write(SubscribeRequest().SerializeAsString()));
  call->writes_done();
  SubscribeResponse none;
  CHECK_FALSE(call->read(none));
  const grpc::Status status = call->finish();
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK_THAT(status.error_message(), Catch::Contains("topics"));
}

TEST_CASE("server-sent events over a socket") {
  GatewayConfig config;
  config.sse_comment = std::chrono::milliseconds(50);
  Server server(config);
  Http http(server.http_port);
  http.send("GET", "/v1/pubsub/stream?topics=a,b&topics=c.*&subject=order%2F1");
  const std::string head = http.read_until("\r\n\r\n");
  CHECK(head.substr(0, 12) == "HTTP/1.1 200");
  CHECK_THAT(head, Catch::Contains("text/event-stream"));
  CHECK_THAT(head, Catch::Contains("virtufin-subscription-id: "));
  for (const char* topic : {"a", "b", "c.d", "d"}) {
    server.bus.publish(server.bus.topic(topic), event(topic, "t", "order/1"));
    server.bus.publish(server.bus.topic(topic), event("other", "t", "order/2"));
  }
  for (const std::string topic : {"a", "b", "c.d"}) {
    const std::string text = http.read_until("\"data\":{\"n\":1}}}\n\n");
    CHECK_THAT(text, Catch::Contains("id: " + topic + "\ndata: {\"topic\":\"" + topic +
                                     "\",\"cloudevent\":{\"specversion\":\"1.0\""));
    CHECK(text.find("other") == std::string::npos);
  }
  http.read_until(":\n\n");  // idle: a comment
  http.close();
  CHECK(eventually([&] { return server.bus.footprint().subscriptions == 0; }));
}

TEST_CASE("server-sent events end when the gateway stops") {
  auto server = std::make_unique<Server>();
  Http http(server->http_port);
  http.send("GET", "/v1/pubsub/stream?topics=a");
  http.read_until("\r\n\r\n");
  server->bus.publish(server->bus.topic("a"), event("last"));
  server.reset();
  CHECK_THAT(http.read_until("}\n\n"), Catch::Contains("id: last"));
  CHECK(http.closed_by_peer());
}

TEST_CASE("every form of a POST body arrives as the event that it says") {
  Server server;
  GrpcClient client(server.grpc_port);
  const auto call = subscribe(client, to("my.topic"));
  const auto post = [&](const std::string& body, const std::string& headers) {
    const Answer answer = rest(server, "POST", "/v1/pubsub/my.topic", body, headers);
    INFO(answer.body);
    CHECK(answer.status == 200);
    SubscribeResponse response;
    REQUIRE(call->read(response));
    CHECK(response.topic() == "my.topic");
    return response.cloudevent();
  };
  auto event = post(R"({"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":[1]}})",
                    "Content-Type: application/cloudevents+json\r\n");
  CHECK(event.id() == "1");
  CHECK(event.text_data() == R"({"a":[1]})");
  event = post(std::string("\0\x01\xff", 3),
               "ce-specversion: 1.0\r\nce-id: 2\r\nce-source: /s\r\nce-type: t\r\n"
               "ce-correlationid: c\r\nContent-Type: application/octet-stream\r\n");
  CHECK(event.id() == "2");
  CHECK(event.binary_data() == std::string("\0\x01\xff", 3));
  CHECK(event.attributes().at("correlationid").ce_string() == "c");
  event = post(R"({"cloudevent":{"specversion":"1.0","id":"3","source":"/s","type":"t"}})",
               "Content-Type: application/json\r\n");
  CHECK(event.id() == "3");
  event = post(
      R"({"cloudevent":{"specVersion":"1.0","id":"4","source":"/s","type":"t","binaryData":"AAH/"}})",
      "Content-Type: application/json\r\n");
  CHECK(event.id() == "4");
  CHECK(event.binary_data() == std::string("\0\x01\xff", 3));
  event = post(R"({"data":"aGVsbG8="})", "Content-Type: application/json\r\n");
  CHECK(event.type() == "com.virtufin.api.message");
  CHECK(event.source() == "urn:com.virtufin.api");
  CHECK(event.binary_data() == "hello");

  const Answer refused =
      rest(server, "POST", "/v1/pubsub/my.topic", R"({"specversion":"1.0","id":"1","source":"/s"})",
           "Content-Type: application/cloudevents+json\r\n");
  CHECK(refused.status == 400);
  CHECK_THAT(refused.body, Catch::Contains("\"code\":3") && Catch::Contains("type"));
}

TEST_CASE("POST answers what the method's JSON is") {
  Server server;
  const Answer mine = rest(server, "POST", "/v1/pubsub/t", R"({"data":""})");
  CHECK(mine.body == R"({"status":{"success":true,"status":"OK","message":""}})");
  const Answer transcoded =
      rest(server, "POST", "/v1/state/save-state", R"({"service":"api","key":"k","value":"v"})");
  CHECK_THAT(transcoded.body,
             Catch::Contains(R"("status":{"success":true,"status":"OK","message":""})"));
}

TEST_CASE("state over REST") {
  Server server;
  CHECK(rest(server, "GET", "/v1/state/api/scenario.index").body.find("LIVE") != std::string::npos);
  REQUIRE(
      rest(server, "POST", "/v1/state/save-state", R"({"service":"api","key":"a/b","value":"1"})")
          .status == 200);
  GrpcClient client(server.grpc_port);
  GetStateRequest get;
  get.set_service("api");
  get.set_key("a/b");
  GetStateResponse got;
  REQUIRE(client.unary("/virtufin.State/GetState", get, got).ok());
  CHECK(got.value() == "1");
  CHECK_THAT(rest(server, "GET", "/v1/state/api/a/b").body,
             Catch::Contains(R"("key":"a/b")") && Catch::Contains(R"("value":"1")"));
  const Answer conflict = rest(server, "POST", "/v1/state/save-state",
                               R"({"service":"api","key":"a/b","value":"2","etag":"never"})");
  CHECK(conflict.status == 409);
  CHECK_THAT(conflict.body, Catch::Contains("\"code\":10") && Catch::Contains("\"CONFLICT:"));
  CHECK(rest(server, "GET", "/v1/state/nobody/a").status == 400);
  CHECK_THAT(rest(server, "GET", "/v1/state/api/bulk?keys=a/b&keys=none").body,
             Catch::Contains(R"("items":[{"key":"a/b")") && Catch::Contains(R"("none")"));
  CHECK_THAT(rest(server, "GET",
                  "/v1/state/api/query?query=%7B%22filter%22%3A%7B%22PREFIX%22%3A%22a%22%7D%7D")
                 .body,
             Catch::Contains(R"("key":"a/b")"));
  CHECK(rest(server, "DELETE", "/v1/state/api/a/b?etag=never").status == 409);
  CHECK(rest(server, "DELETE", "/v1/state/api/a/b").status == 200);
  REQUIRE(client.unary("/virtufin.State/GetState", get, got).ok());
  CHECK(got.etag().empty());
  CHECK_THAT(rest(server, "GET", "/v1/config/get-service?name=api").body,
             Catch::Contains(R"("name":"api")") && Catch::Contains("5002"));
}

}  // namespace
}  // namespace virtufin::gateway::testing

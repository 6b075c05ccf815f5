#include <catch2/catch.hpp>

#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "grpc_client.h"
#include "rows.h"
#include "rpc/server.h"

namespace virtufin::rpc {
namespace {

using namespace test;

struct Server {
  explicit Server(ServerLimits limits = {})
      : server(std::make_unique<GrpcServer>(methods, health, metrics, limits)) {
    add_get_state(methods);
    health.set_serving(true);
    const auto bound = server->bind({"127.0.0.1", 0});
    REQUIRE(bound.ok());
    port = *bound;
    REQUIRE(server->start().ok());
  }
  MethodTable methods;
  Health health;
  Metrics metrics;
  std::unique_ptr<GrpcServer> server;
  std::uint16_t port = 0;
};

GetStateRequest key(const std::string& name) {
  GetStateRequest request;
  request.set_service("api");
  request.set_key(name);
  return request;
}

TEST_CASE("a message over the limit is RESOURCE_EXHAUSTED, one below it passes") {
  ServerLimits limits;
  limits.max_message_bytes = 64 << 10;
  Server server(limits);
  GrpcClient client(server.port);
  GetStateResponse reply;
  CHECK(client.unary("/virtufin.State/GetState", key(std::string(60 << 10, 'k')), reply).ok());
  const auto status =
      client.unary("/virtufin.State/GetState", key(std::string(65 << 10, 'k')), reply);
  CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(client.unary("/virtufin.State/GetState", key("k"), reply).ok());
}

TEST_CASE("metadata over the limit is refused") {
  Server server;
  GrpcClient client(server.port);
  GetStateResponse reply;
  CHECK(
      client
          .unary("/virtufin.State/GetState", key("k"), reply, {{"big", std::string(10 << 10, 'm')}})
          .ok());
  CHECK(
      client
          .unary("/virtufin.State/GetState", key("k"), reply, {{"big", std::string(20 << 10, 'm')}})
          .error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_CASE("calls over the limit are RESOURCE_EXHAUSTED until one ends") {
  ServerLimits limits;
  limits.max_calls = 2;
  Server server(limits);
  Mailbox<ReplyTo<GetStateResponse>> open;
  server.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [&](CallPtr, const GetStateRequest& request, ReplyTo<GetStateResponse> reply) {
        if (request.key() == "now") return reply(GetStateResponse());
        open.put(std::move(reply));
      });
  GrpcClient client(server.port);
  std::vector<std::unique_ptr<GrpcClient::Call>> calls;
  for (int i = 0; i < 2; ++i) {
    calls.push_back(client.start("/virtufin.State/GetState"));
    calls.back()->write(key("later").SerializeAsString());
    calls.back()->writes_done();
  }
  REQUIRE(eventually([&] { return open.size() == 2; }));
  GetStateResponse reply;
  CHECK(client.unary("/virtufin.State/GetState", key("now"), reply).error_code() ==
        grpc::StatusCode::RESOURCE_EXHAUSTED);
  (*open.take())(GetStateResponse());
  (*open.take())(GetStateResponse());
  for (auto& call : calls) {
    std::string bytes;
    CHECK(call->read(bytes));
    CHECK(call->finish().ok());
  }
  CHECK(
      eventually([&] { return client.unary("/virtufin.State/GetState", key("now"), reply).ok(); }));
}

TEST_CASE("a port in use is an error of bind, before anything starts") {
  Server server;
  MethodTable methods;
  Health health;
  Metrics metrics;
  GrpcServer second(methods, health, metrics, {});
  const auto bound = second.bind({"127.0.0.1", server.port});
  CHECK(bound.status().code() == absl::StatusCode::kUnavailable);
  CHECK(message(bound.status()).find("127.0.0.1:" + std::to_string(server.port) + " is in use") ==
        0);
}

TEST_CASE("a port lost between bind and start is an error too") {
  MethodTable methods;
  Health health;
  Metrics metrics;
  GrpcServer first(methods, health, metrics, {});
  const auto port = first.bind({"127.0.0.1", 0});
  REQUIRE(port.ok());
  GrpcServer second(methods, health, metrics, {});
  REQUIRE(second.bind({"127.0.0.1", *port}).ok());
  REQUIRE(first.start().ok());
  const auto status = second.start();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK(message(status).find(std::to_string(*port)) != std::string::npos);
}

TEST_CASE("several ports answer the same table") {
  MethodTable methods;
  add_get_state(methods);
  Health health;
  health.set_serving(true);
  Metrics metrics;
  GrpcServer server(methods, health, metrics, {});
  const auto one = server.bind({"127.0.0.1", 0});
  const auto two = server.bind({"localhost", 0});
  REQUIRE(one.ok());
  REQUIRE(two.ok());
  REQUIRE(server.start().ok());
  for (const int port : {*one, *two}) {
    GrpcClient client(port);
    GetStateResponse reply;
    CHECK(client.unary("/virtufin.State/GetState", key("k"), reply).ok());
  }
}

TEST_CASE("drain lets running calls end, and cancels what is left at the deadline") {
  Server server;
  Mailbox<ReplyTo<GetStateResponse>> open;
  Mailbox<int> cancels;
  server.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [&](CallPtr call, const GetStateRequest&, ReplyTo<GetStateResponse> reply) {
        call->on_cancel([&] { cancels.put(1); });
        open.put(std::move(reply));
      });
  GrpcClient client(server.port);
  const auto ends = client.start("/virtufin.State/GetState");
  ends->write(key("a").SerializeAsString());
  const auto stays = client.start("/virtufin.State/GetState");
  stays->write(key("b").SerializeAsString());
  // Streams of the server's own must not hold it up.
  const auto watch = client.start("/grpc.health.v1.Health/Watch");
  watch->write(grpc::health::v1::HealthCheckRequest().SerializeAsString());
  std::string bytes;
  REQUIRE(watch->read(bytes));
  const auto reflection = client.start("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
  grpc::reflection::v1::ServerReflectionRequest list;
  list.set_list_services("");
  reflection->write(list.SerializeAsString());
  REQUIRE(reflection->read(bytes));
  REQUIRE(eventually([&] { return open.size() == 2; }));
  auto first = open.take();

  std::thread draining([&] { server.server->drain(std::chrono::steady_clock::now() + 3s); });
  CHECK(watch->read(bytes));
  CHECK_FALSE(watch->read(bytes));
  CHECK(watch->finish().error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(reflection->finish().error_code() == grpc::StatusCode::UNAVAILABLE);
  GetStateResponse response;
  response.set_value("done");
  (*first)(response);
  GetStateResponse reply;
  CHECK(ends->read(reply));
  CHECK(reply.value() == "done");
  CHECK(ends->finish().ok());
  CHECK(cancels.take().has_value());
  CHECK_FALSE(stays->finish().ok());
  draining.join();
  // Answers that come after the server are harmless.
  (*open.take())(GetStateResponse());
  server.server.reset();
}

TEST_CASE("servers start and stop under load without losing a call's end") {
  for (int round = 0; round < 10; ++round) {
    auto server = std::make_unique<Server>();
    std::atomic<bool> stop{false};
    std::atomic<int> answered{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back([&] {
        GrpcClient client(server->port);
        GetStateResponse reply;
        while (!stop) {
          client.unary("/virtufin.State/GetState", key("k"), reply, {}, 500ms);
          ++answered;
        }
      });
    }
    REQUIRE(eventually([&] { return answered > 50; }));
    server->server->drain(std::chrono::steady_clock::now() + 50ms);
    stop = true;
    for (auto& client : clients) client.join();
  }
}

}  // namespace
}  // namespace virtufin::rpc

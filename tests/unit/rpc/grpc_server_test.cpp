#include <catch2/catch.hpp>

#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "grpc_client.h"
#include "rows.h"
#include "rpc/server.h"

namespace virtufin::rpc {
namespace {

using namespace test;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

struct Fixture {
  explicit Fixture(ServerLimits limits = {})
      : server(std::make_unique<GrpcServer>(methods, health, metrics, limits)) {
    add_get_state(methods);
    health.set_serving(true);
    const auto bound = server->bind({"127.0.0.1", 0});
    REQUIRE(bound.ok());
    port = *bound;
    REQUIRE(server->start().ok());
  }
  GrpcClient client() { return GrpcClient(port); }

  MethodTable methods;
  Health health;
  Metrics metrics;
  std::unique_ptr<GrpcServer> server;
  int port = 0;
};

GetStateRequest key(const std::string& name) {
  GetStateRequest request;
  request.set_service("api");
  request.set_key(name);
  return request;
}

TEST_CASE("a unary call is answered, with its error as it is") {
  Fixture fixture;
  auto client = fixture.client();
  GetStateResponse reply;
  REQUIRE(client.unary("/virtufin.State/GetState", key("k"), reply).ok());
  CHECK(reply.value() == "api:k");

  const grpc::Status refused = client.unary("/virtufin.State/GetState", key(""), reply);
  CHECK(refused.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(refused.error_message() == "key is empty; give one");

  const std::string text = fixture.metrics.prometheus_text();
  CHECK(text.find("virtufin_rpc_calls_total{code=\"OK\",method=\"virtufin.State/GetState\","
                  "protocol=\"grpc\"} 1") != std::string::npos);
  CHECK(text.find("code=\"INVALID_ARGUMENT\",method=\"virtufin.State/GetState\"") !=
        std::string::npos);
}

TEST_CASE("messages are percent-encoded, and cut before a client would refuse them") {
  Fixture fixture;
  fixture.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [](CallPtr, const GetStateRequest& request, ReplyTo<GetStateResponse> reply) {
        reply(not_found("{}", request.key() == "long" ? std::string(100'000, 'x') : "öß\n100 %"));
      });
  auto client = fixture.client();
  GetStateResponse reply;
  CHECK(client.unary("/virtufin.State/GetState", key("k"), reply).error_message() == "öß\n100 %");
  const grpc::Status cut = client.unary("/virtufin.State/GetState", key("long"), reply);
  CHECK(cut.error_code() == grpc::StatusCode::NOT_FOUND);
  CHECK(cut.error_message() == std::string(6144, 'x') + "...");
}

TEST_CASE("an unknown method is UNIMPLEMENTED and names the nearest") {
  Fixture fixture;
  auto client = fixture.client();
  GetStateResponse reply;
  const auto unknown = client.unary("/virtufin.State/GetStat", key("k"), reply);
  CHECK(unknown.error_code() == grpc::StatusCode::UNIMPLEMENTED);
  CHECK(unknown.error_message().find("virtufin.State/GetState") != std::string::npos);
  const auto shorter = client.unary("/State/GetState", key("k"), reply);
  CHECK(shorter.error_code() == grpc::StatusCode::UNIMPLEMENTED);
  CHECK(shorter.error_message().find("it is virtufin.State/GetState") != std::string::npos);
}

TEST_CASE("metadata and deadline come with the call") {
  Fixture fixture;
  Mailbox<std::pair<std::string, std::chrono::steady_clock::duration>> seen;
  fixture.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [&](CallPtr call, const GetStateRequest&, ReplyTo<GetStateResponse> reply) {
        seen.put({std::string(call->metadata("correlationid")),
                  call->deadline() - std::chrono::steady_clock::now()});
        reply(GetStateResponse());
      });
  auto client = fixture.client();
  GetStateResponse reply;
  REQUIRE(client.unary("/virtufin.State/GetState", key("k"), reply, {{"correlationid", "c-1"}}, 5s)
              .ok());
  const auto call = seen.take();
  REQUIRE(call.has_value());
  CHECK(call->first == "c-1");
  CHECK(call->second > 1s);
  CHECK(call->second < 6s);
}

TEST_CASE("a deadline cancels the handler's call") {
  Fixture fixture;
  Mailbox<CallPtr> cancelled_calls;
  Mailbox<ReplyTo<GetStateResponse>> open;
  fixture.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [&](CallPtr call, const GetStateRequest&, ReplyTo<GetStateResponse> reply) {
        call->on_cancel([&, raw = call.get()] {
          CHECK(raw->cancelled());
          cancelled_calls.put(nullptr);
        });
        open.put(std::move(reply));
      });
  auto client = fixture.client();
  GetStateResponse reply;
  CHECK(client.unary("/virtufin.State/GetState", key("k"), reply, {}, 50ms).error_code() ==
        grpc::StatusCode::DEADLINE_EXCEEDED);
  CHECK(cancelled_calls.take().has_value());
  // An answer that comes too late goes nowhere.
  auto late = open.take();
  REQUIRE(late.has_value());
  (*late)(GetStateResponse());
}

TEST_CASE("replies may come from any thread, late, and in any order") {
  Fixture fixture;
  std::mutex mutex;
  std::vector<ReplyTo<GetStateResponse>> waiting;
  constexpr int kCalls = 50;
  fixture.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [&](CallPtr, const GetStateRequest&, ReplyTo<GetStateResponse> reply) {
        std::lock_guard lock(mutex);
        waiting.push_back(std::move(reply));
      });
  std::vector<std::thread> clients;
  std::atomic<int> ok{0};
  for (int i = 0; i < kCalls; ++i) {
    clients.emplace_back([&] {
      auto client = fixture.client();
      GetStateResponse reply;
      if (client.unary("/virtufin.State/GetState", key("k"), reply).ok()) ++ok;
    });
  }
  REQUIRE(eventually([&] {
    std::lock_guard lock(mutex);
    return waiting.size() == kCalls;
  }));
  std::vector<std::thread> repliers;
  for (int t = 0; t < 4; ++t) {
    repliers.emplace_back([&, t] {
      for (int i = t; i < kCalls; i += 4) {
        waiting[static_cast<std::size_t>(i)](GetStateResponse());
      }
    });
  }
  for (auto& thread : repliers) thread.join();
  for (auto& thread : clients) thread.join();
  CHECK(ok == kCalls);
}

TEST_CASE("a handler that lets its reply go answers INTERNAL") {
  Fixture fixture;
  fixture.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [](CallPtr, const GetStateRequest&, const ReplyTo<GetStateResponse>&) {});
  auto client = fixture.client();
  GetStateResponse reply;
  const auto status = client.unary("/virtufin.State/GetState", key("k"), reply);
  CHECK(status.error_code() == grpc::StatusCode::INTERNAL);
  CHECK(status.error_message().find("virtufin.State/GetState") != std::string::npos);
}

TEST_CASE("a call without a request message is refused") {
  Fixture fixture;
  auto client = fixture.client();
  const auto call = client.start("/virtufin.State/GetState");
  call->writes_done();
  CHECK(call->finish().error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  const auto garbage = client.start("/virtufin.State/GetState");
  garbage->write("\xff\xff\xff");
  garbage->writes_done();
  CHECK(garbage->finish().error_code() == grpc::StatusCode::INVALID_ARGUMENT);
}

/// Writes numbered messages as fast as it is told that it may.
struct Counting : std::enable_shared_from_this<Counting> {
  std::shared_ptr<ServerStream> stream;
  BytesPtr message;
  int limit = 0;
  std::atomic<int> written{0};
  std::atomic<bool> ended{false};

  void next() {
    if (written == limit) {
      ended = true;
      return stream->finish(absl::OkStatus());
    }
    stream->write(message, [self = shared_from_this()](const absl::Status& status) {
      if (!status.ok()) {
        self->ended = true;
        self->stream = nullptr;
        return;
      }
      ++self->written;
      self->next();
    });
  }
};

TEST_CASE("a stream brings metadata at once, then its messages, then its status") {
  Fixture fixture;
  Mailbox<std::shared_ptr<ServerStream>> streams;
  fixture.methods.server_stream<SubscribeRequest>(
      "virtufin.Pubsub/Subscribe",
      [&](CallPtr, const SubscribeRequest&, std::shared_ptr<ServerStream> stream) {
        stream->start({{"virtufin-subscription-id", "s-1"}});
        streams.put(std::move(stream));
      });
  auto client = fixture.client();
  const auto call = client.start("/virtufin.Pubsub/Subscribe");
  call->write(SubscribeRequest().SerializeAsString());
  call->writes_done();
  REQUIRE(call->read_metadata());
  const auto& metadata = call->context.GetServerInitialMetadata();
  REQUIRE(metadata.count("virtufin-subscription-id") == 1);
  CHECK(metadata.find("virtufin-subscription-id")->second == "s-1");

  auto stream = streams.take();
  REQUIRE(stream.has_value());
  Mailbox<absl::Status> written;
  SubscribeResponse response;
  for (int i = 0; i < 3; ++i) {
    response.set_topic("t" + std::to_string(i));
    (*stream)->write(make_bytes(response), [&](absl::Status status) { written.put(status); });
    CHECK(written.take() == absl::OkStatus());
    SubscribeResponse received;
    REQUIRE(call->read(received));
    CHECK(received.topic() == response.topic());
  }
  (*stream)->finish(not_found("the subscription was ended"));
  std::string nothing;
  CHECK_FALSE(call->read(nothing));
  const auto status = call->finish();
  CHECK(status.error_code() == grpc::StatusCode::NOT_FOUND);
}

TEST_CASE("a reader that does not read holds its writer, and only that one") {
  Fixture fixture;
  Mailbox<std::shared_ptr<Counting>> writers;
  fixture.methods.server_stream<SubscribeRequest>(
      "virtufin.Pubsub/Subscribe",
      [&](CallPtr, const SubscribeRequest&, std::shared_ptr<ServerStream> stream) {
        auto counting = std::make_shared<Counting>();
        counting->stream = std::move(stream);
        counting->message = make_bytes(std::string(64 << 10, 'x'));
        counting->limit = 2000;
        writers.put(counting);
        counting->next();
      });
  auto slow_client = fixture.client();
  const auto slow = slow_client.start("/virtufin.Pubsub/Subscribe");
  slow->write(SubscribeRequest().SerializeAsString());
  slow->writes_done();
  const auto held = writers.take();
  REQUIRE(held.has_value());

  grpc::ChannelArguments own_connection;
  own_connection.SetInt("grpc.use_local_subchannel_pool", 1);
  GrpcClient fast_client(fixture.port, own_connection);
  const auto fast = fast_client.start("/virtufin.Pubsub/Subscribe");
  fast->write(SubscribeRequest().SerializeAsString());
  fast->writes_done();
  std::string message;
  int read = 0;
  while (fast->read(message)) ++read;
  CHECK(read == 2000);
  CHECK(fast->finish().ok());
  // 128 MB were written to the fast one; the slow one got what the windows and buffers hold.
  CHECK((*held)->written < 1000);
  CHECK_FALSE((*held)->ended);
  slow->context.TryCancel();
  CHECK(eventually([&] { return (*held)->ended.load(); }));
}

TEST_CASE("a client that cancels ends the stream's writes") {
  Fixture fixture;
  Mailbox<std::shared_ptr<ServerStream>> streams;
  Mailbox<int> cancels;
  fixture.methods.server_stream<SubscribeRequest>(
      "virtufin.Pubsub/Subscribe",
      [&](CallPtr call, const SubscribeRequest&, std::shared_ptr<ServerStream> stream) {
        call->on_cancel([&] { cancels.put(1); });
        stream->start({});
        streams.put(std::move(stream));
      });
  auto client = fixture.client();
  const auto call = client.start("/virtufin.Pubsub/Subscribe");
  call->write(SubscribeRequest().SerializeAsString());
  auto stream = streams.take();
  REQUIRE(stream.has_value());
  call->context.TryCancel();
  REQUIRE(cancels.take().has_value());
  Mailbox<absl::Status> written;
  (*stream)->write(make_bytes(std::string("late")),
                   [&](absl::Status status) { written.put(status); });
  const auto status = written.take();
  REQUIRE(status.has_value());
  CHECK(status->code() == absl::StatusCode::kCancelled);
}

TEST_CASE("a second write before the first is done is refused") {
  Fixture fixture;
  Mailbox<absl::Status> second;
  fixture.methods.server_stream<SubscribeRequest>(
      "virtufin.Pubsub/Subscribe",
      [&](CallPtr, const SubscribeRequest&, std::shared_ptr<ServerStream> stream) {
        stream->write(make_bytes(std::string("a")), [](const absl::Status&) {});
        stream->write(make_bytes(std::string("b")),
                      [&](absl::Status status) { second.put(status); });
        stream->finish(absl::OkStatus());
      });
  auto client = fixture.client();
  const auto call = client.start("/virtufin.Pubsub/Subscribe");
  call->write(SubscribeRequest().SerializeAsString());
  std::string message;
  REQUIRE(call->read(message));
  CHECK(message == "a");
  CHECK_FALSE(call->read(message));
  CHECK(call->finish().ok());
  const auto status = second.take();
  REQUIRE(status.has_value());
  CHECK(status->code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("health is answered from readiness, by service") {
  Fixture fixture;
  auto client = fixture.client();
  HealthCheckRequest request;
  HealthCheckResponse response;
  REQUIRE(client.unary("/grpc.health.v1.Health/Check", request, response).ok());
  CHECK(response.status() == HealthCheckResponse::SERVING);
  request.set_service("virtufin.State");
  REQUIRE(client.unary("/grpc.health.v1.Health/Check", request, response).ok());
  CHECK(response.status() == HealthCheckResponse::SERVING);
  request.set_service("virtufin.Nothing");
  CHECK(client.unary("/grpc.health.v1.Health/Check", request, response).error_code() ==
        grpc::StatusCode::NOT_FOUND);

  const auto watch = client.start("/grpc.health.v1.Health/Watch");
  watch->write(HealthCheckRequest().SerializeAsString());
  watch->writes_done();
  REQUIRE(watch->read(response));
  CHECK(response.status() == HealthCheckResponse::SERVING);
  fixture.health.set_serving(false);
  REQUIRE(watch->read(response));
  CHECK(response.status() == HealthCheckResponse::NOT_SERVING);

  // Not serving: calls are refused, health still answers.
  GetStateResponse state;
  CHECK(client.unary("/virtufin.State/GetState", key("k"), state).error_code() ==
        grpc::StatusCode::UNAVAILABLE);
  request.clear_service();
  REQUIRE(client.unary("/grpc.health.v1.Health/Check", request, response).ok());
  CHECK(response.status() == HealthCheckResponse::NOT_SERVING);
}

TEST_CASE("reflection answers on both versions, many requests a stream") {
  Fixture fixture;
  auto client = fixture.client();
  for (const char* version : {"v1", "v1alpha"}) {
    const auto call = client.start(std::string("/grpc.reflection.") + version +
                                   ".ServerReflection/ServerReflectionInfo");
    grpc::reflection::v1::ServerReflectionRequest request;
    grpc::reflection::v1::ServerReflectionResponse response;
    request.set_list_services("*");
    REQUIRE(call->write(request.SerializeAsString()));
    REQUIRE(call->read(response));
    std::vector<std::string> services;
    for (const auto& service : response.list_services_response().service()) {
      services.push_back(service.name());
    }
    CHECK(services ==
          std::vector<std::string>{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                                   "grpc.reflection.v1alpha.ServerReflection", "virtufin.State"});
    request.set_file_containing_symbol("virtufin.State");
    REQUIRE(call->write(request.SerializeAsString()));
    REQUIRE(call->read(response));
    CHECK(response.file_descriptor_response().file_descriptor_proto_size() > 1);
    call->writes_done();
    std::string nothing;
    CHECK_FALSE(call->read(nothing));
    CHECK(call->finish().ok());
  }
}

}  // namespace
}  // namespace virtufin::rpc

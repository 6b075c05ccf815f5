#include "rpc/backends.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>

#include <catch2/catch.hpp>

#include "google/api/annotations.pb.h"
#include "grpc_client.h"
#include "http_client.h"
#include "rows.h"
#include "rpc/breaker.h"
#include "rpc/local_call.h"
#include "rpc/reflection.h"
#include "rpc/server.h"
#include "rpc/service_descriptors.h"

namespace virtufin::rpc {
namespace {

using namespace test;
using std::chrono::steady_clock;

/// A process of its own, but for the address space: a table behind a gRPC server.
struct OtherSide {
  explicit OtherSide(std::uint16_t on_port = 0) : wanted(on_port) { health.set_serving(true); }
  void start() {
    server = std::make_unique<GrpcServer>(methods, health, metrics, ServerLimits());
    const auto bound = server->bind({"127.0.0.1", wanted});
    REQUIRE(bound.ok());
    wanted = *bound;
    REQUIRE(server->start().ok());
  }
  void stop() {
    server->drain(steady_clock::now());
    server = nullptr;
  }

  std::uint16_t wanted;
  MethodTable methods;
  Health health;
  Metrics metrics;
  std::unique_ptr<GrpcServer> server;
};

BackendLimits quick() {
  BackendLimits limits;
  limits.look = 10ms;
  limits.retries = 0;
  limits.reconnect_max = 100ms;
  limits.breaker_calls = 1'000;
  return limits;
}

/// Our side: the table that the backends' rows come into.
struct OurSide {
  explicit OurSide(BackendLimits limits = quick())
      : backends(make_backends(methods, metrics, limits)) {}

  bool has(const std::string& name) { return methods.find_exact(name) != nullptr; }
  bool comes(const std::string& name) {
    return eventually([&] { return has(name); });
  }

  MethodTable methods;
  Metrics metrics;
  std::unique_ptr<Backends> backends;
};

/// What comes back of one call, waited for.
class Replies final : public ServerStream {
 public:
  void start(std::vector<std::pair<std::string, std::string>> metadata) override {
    started.put(std::move(metadata));
  }
  void write(BytesPtr message, absl::AnyInvocable<void(absl::Status)> written) override {
    messages.put(std::string(view(*message)));
    if (holding) {
      held.put(std::move(written));
    } else {
      written(absl::OkStatus());
    }
  }
  void finish(absl::Status status) override { finished.put(std::move(status)); }

  Mailbox<std::vector<std::pair<std::string, std::string>>> started;
  Mailbox<std::string> messages;
  Mailbox<absl::Status> finished;
  std::atomic<bool> holding{false};
  Mailbox<absl::AnyInvocable<void(absl::Status)>> held;
};

GetStateRequest key(const std::string& name) {
  GetStateRequest request;
  request.set_service("api");
  request.set_key(name);
  return request;
}

absl::StatusOr<std::string> get_state(OurSide& ours, const std::string& name,
                                      LocalCall::Metadata metadata = {},
                                      std::chrono::milliseconds timeout = 10s) {
  const auto row = ours.methods.find_exact("virtufin.State/GetState");
  if (row == nullptr) return not_found("no row");
  auto replies = std::make_shared<Replies>();
  auto call = std::make_shared<LocalCall>(steady_clock::now() + timeout, std::move(metadata));
  row->call(call, make_bytes(key(name)), replies);
  const auto status = replies->finished.take();
  call->end();
  if (!status) return deadline_exceeded("the call did not end");
  if (!status->ok()) return *status;
  GetStateResponse response;
  REQUIRE(response.ParseFromString(*replies->messages.take()));
  return response.value();
}

bool names(const absl::Status& status, const std::string& text) {
  return message(status).find(text) != std::string_view::npos;
}

TEST_CASE("a backend's methods become rows, and calls go through as they are") {
  OtherSide other;
  add_get_state(other.methods);
  other.start();
  OurSide ours;
  ours.backends->set({{"far", {{"127.0.0.1", other.wanted}}, {}}});
  REQUIRE(ours.comes("virtufin.State/GetState"));

  CHECK(get_state(ours, "k").value() == "api:k");
  const auto refused = get_state(ours, "");
  CHECK(refused.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(message(refused.status()) == "key is empty; give one");

  // As messages: the linked classes, because both sides know the same files.
  const auto row = ours.methods.find_exact("virtufin.State/GetState");
  CHECK(row->descriptor()->input_type() == GetStateRequest::descriptor());
  Mailbox<std::string> value;
  row->call(std::make_shared<LocalCall>(steady_clock::now() + 10s), key("typed"),
            [&](absl::StatusOr<std::unique_ptr<google::protobuf::Message>> reply) {
              value.put(reply.ok() ? static_cast<GetStateResponse&>(**reply).value() : "failed");
            });
  CHECK(value.take().value_or("") == "api:typed");
}

TEST_CASE("of the metadata what pairs and traces goes on, a key does not; deadlines do") {
  OtherSide other;
  struct Seen {
    std::string correlation, traced, key;
    steady_clock::duration left;
  };
  Mailbox<Seen> seen;
  other.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [&](CallPtr call, const GetStateRequest&, ReplyTo<GetStateResponse> reply) {
        seen.put({std::string(call->metadata("correlationid")),
                  std::string(call->metadata("traceparent")),
                  std::string(call->metadata("x-api-key")),
                  call->deadline() - steady_clock::now()});
        reply(GetStateResponse());
      });
  other.start();
  OurSide ours;
  ours.backends->set({{"far", {{"127.0.0.1", other.wanted}}, {}}});
  REQUIRE(ours.comes("virtufin.State/GetState"));
  REQUIRE(get_state(ours, "k",
                    {{"correlationid", "c-1"}, {"traceparent", "00-a"}, {"x-api-key", "secret"}},
                    5s)
              .ok());
  const auto call = seen.take();
  REQUIRE(call.has_value());
  CHECK(call->correlation == "c-1");
  CHECK(call->traced == "00-a");
  CHECK(call->key.empty());
  CHECK(call->left > 1s);
  CHECK(call->left < 6s);
}

TEST_CASE("a caller that gives up, and one whose time is over, end the call over there") {
  OtherSide other;
  Mailbox<bool> cancelled_there;
  Mailbox<ReplyTo<GetStateResponse>> open;
  other.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [&](CallPtr call, const GetStateRequest&, ReplyTo<GetStateResponse> reply) {
        call->on_cancel([&] { cancelled_there.put(true); });
        open.put(std::move(reply));
      });
  other.start();
  OurSide ours;
  ours.backends->set({{"far", {{"127.0.0.1", other.wanted}}, {}}});
  REQUIRE(ours.comes("virtufin.State/GetState"));
  const auto row = ours.methods.find_exact("virtufin.State/GetState");
  auto replies = std::make_shared<Replies>();

  SECTION("gives up") {
    auto call = std::make_shared<LocalCall>(steady_clock::now() + 10s);
    row->call(call, make_bytes(key("k")), replies);
    const auto held = open.take();
    REQUIRE(held.has_value());
    call->cancel();
    CHECK(cancelled_there.take().has_value());
    CHECK(replies->finished.take().value().code() == absl::StatusCode::kCancelled);
  }
  SECTION("no time") {
    row->call(std::make_shared<LocalCall>(steady_clock::now() + 100ms), make_bytes(key("k")),
              replies);
    const auto status = replies->finished.take();
    REQUIRE(status.has_value());
    CHECK(status->code() == absl::StatusCode::kDeadlineExceeded);
    CHECK(names(*status, "backend far at 127.0.0.1:"));
    CHECK(cancelled_there.take().has_value());
  }
}

TEST_CASE("a stream is read no faster than it is taken, and its end is told") {
  OtherSide other;
  Mailbox<std::shared_ptr<ServerStream>> streams;
  Mailbox<bool> cancelled_there;
  other.methods.server_stream<SubscribeRequest>(
      "virtufin.Pubsub/Subscribe",
      [&](CallPtr call, const SubscribeRequest&, std::shared_ptr<ServerStream> stream) {
        call->on_cancel([&] { cancelled_there.put(true); });
        stream->start({{"virtufin-subscription-id", "s-1"}});
        streams.put(std::move(stream));
      });
  other.start();
  OurSide ours;
  ours.backends->set({{"far", {{"127.0.0.1", other.wanted}}, {}}});
  REQUIRE(ours.comes("virtufin.Pubsub/Subscribe"));
  auto replies = std::make_shared<Replies>();
  replies->holding = true;
  auto call = std::make_shared<LocalCall>();
  ours.methods.find_exact("virtufin.Pubsub/Subscribe")
      ->call(call, make_bytes(SubscribeRequest()), replies);

  const auto metadata = replies->started.take();
  REQUIRE(metadata.has_value());
  CHECK(*metadata ==
        std::vector<std::pair<std::string, std::string>>{{"virtufin-subscription-id", "s-1"}});
  auto stream = streams.take();
  REQUIRE(stream.has_value());

  // 1 MiB a message, far more than the windows of HTTP/2: writing stops when nothing is taken.
  constexpr int kMessages = 32;
  std::atomic<int> written{0};
  SubscribeResponse big;
  std::function<void(int)> write = [&](int number) {
    if (number == kMessages) return (*stream)->finish(resource_exhausted("that was all"));
    big.set_topic(std::to_string(number) + std::string(1 << 20, 'x'));
    (*stream)->write(make_bytes(big), [&, number](absl::Status status) {
      if (!status.ok()) return;  // the reader is gone
      ++written;
      write(number + 1);
    });
  };
  write(0);
  auto taken = replies->held.take();
  REQUIRE(taken.has_value());
  CHECK_FALSE(eventually([&] { return written == kMessages; }, 300ms));
  CHECK(replies->messages.size() == 1);

  SECTION("to the end") {
    replies->holding = false;
    (*taken)(absl::OkStatus());
    const auto status = replies->finished.take();
    REQUIRE(status.has_value());
    CHECK(status->code() == absl::StatusCode::kResourceExhausted);
    CHECK(message(*status) == "that was all");
    for (int number = 0; number < kMessages; ++number) {
      SubscribeResponse message;
      REQUIRE(message.ParseFromString(replies->messages.take().value()));
      CHECK(message.topic().substr(0, message.topic().find('x')) == std::to_string(number));
    }
  }
  SECTION("the reader is gone") {
    call->cancel();
    (*taken)(cancelled("gone"));
    CHECK(cancelled_there.take().has_value());
    CHECK(replies->finished.take().value().code() == absl::StatusCode::kCancelled);
  }
}

TEST_CASE("a backend that is away is UNAVAILABLE by name and address, and comes back by itself") {
  OtherSide other;
  add_get_state(other.methods);
  other.start();
  const std::string where = "backend far at 127.0.0.1:" + std::to_string(other.wanted);
  other.stop();

  OurSide ours;
  ours.backends->set({{"far", {{"127.0.0.1", other.wanted}}, {"virtufin.State"}}});
  // Known by the linked protos before it has ever answered.
  REQUIRE(ours.has("virtufin.State/GetState"));
  const auto away = get_state(ours, "k");
  CHECK(away.status().code() == absl::StatusCode::kUnavailable);
  CHECK(names(away.status(), where));

  const auto answers = [&] { return get_state(ours, "k").ok(); };
  other.start();
  CHECK(eventually(answers));
  other.stop();
  CHECK(get_state(ours, "k").status().code() == absl::StatusCode::kUnavailable);
  add_get_state(other.methods);
  other.start();
  CHECK(eventually(answers));
}

TEST_CASE("a call that was UNAVAILABLE is tried again") {
  OtherSide other;
  std::atomic<int> calls{0};
  std::atomic<int> failures{2};
  other.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [&](CallPtr, const GetStateRequest&, ReplyTo<GetStateResponse> reply) {
        if (++calls <= failures) return reply(unavailable("starting"));
        reply(GetStateResponse());
      });
  other.start();
  BackendLimits limits = quick();
  limits.retries = 2;
  limits.retry_delay = 1ms;
  OurSide ours(limits);
  ours.backends->set({{"far", {{"127.0.0.1", other.wanted}}, {}}});
  REQUIRE(ours.comes("virtufin.State/GetState"));
  CHECK(get_state(ours, "k").ok());
  CHECK(calls == 3);
  calls = 0;
  failures = 100;
  CHECK(get_state(ours, "k").status().code() == absl::StatusCode::kUnavailable);
  CHECK(calls == 3);
}

TEST_CASE("the breaker opens at half of enough calls, and closes by time or by a new connection") {
  Breaker breaker(4, 30s);
  const auto start = steady_clock::now();
  breaker.record(true, start);
  breaker.record(true, start);
  breaker.record(false, start);
  CHECK(breaker.allows(start));
  breaker.record(true, start);
  CHECK_FALSE(breaker.allows(start));
  CHECK(breaker.closed_in(start) == 30s);
  CHECK(breaker.allows(start + 30s));

  for (int i = 0; i < 3; ++i) breaker.record(true, start + 31s);
  breaker.record(true, start + 62s);  // the others are of a window that is over
  CHECK(breaker.allows(start + 62s));

  for (int i = 0; i < 3; ++i) breaker.record(true, start + 63s);
  CHECK_FALSE(breaker.allows(start + 63s));
  breaker.reset();
  CHECK(breaker.allows(start + 63s));
}

TEST_CASE("an open breaker refuses at once, and says whom") {
  BackendLimits limits = quick();
  limits.breaker_calls = 3;
  OtherSide other;
  add_get_state(other.methods);
  other.start();
  other.stop();
  OurSide ours(limits);
  ours.backends->set({{"far", {{"127.0.0.1", other.wanted}}, {"virtufin.State"}}});
  for (int i = 0; i < 3; ++i) CHECK(names(get_state(ours, "k").status(), "backend far at"));
  const auto refused = get_state(ours, "k");
  CHECK(refused.status().code() == absl::StatusCode::kUnavailable);
  CHECK(names(refused.status(), "none is tried"));
  other.start();
  CHECK(eventually([&] { return get_state(ours, "k").ok(); }));
}

TEST_CASE("hosts are asked in turn, without those that are away") {
  std::array<OtherSide, 2> others;
  std::array<std::atomic<int>, 2> calls{};
  for (std::size_t i = 0; i < others.size(); ++i) {
    others[i].methods.unary<GetStateRequest, GetStateResponse>(
        "virtufin.State/GetState",
        [&calls, i](CallPtr, const GetStateRequest&, ReplyTo<GetStateResponse> reply) {
          ++calls[i];
          reply(GetStateResponse());
        });
    others[i].start();
  }
  OurSide ours;
  ours.backends->set(
      {{"far", {{"127.0.0.1", others[0].wanted}, {"127.0.0.1", others[1].wanted}}, {}}});
  REQUIRE(ours.comes("virtufin.State/GetState"));
  for (int i = 0; i < 10; ++i) REQUIRE(get_state(ours, "k").ok());
  CHECK(calls[0] == 5);
  CHECK(calls[1] == 5);
  others[0].stop();
  CHECK(eventually([&] {
    for (int i = 0; i < 4; ++i) {
      if (!get_state(ours, "k").ok()) return false;
    }
    return true;
  }));
}

TEST_CASE("a method that the table has stays what it is; a backend that goes takes its rows") {
  OtherSide other;
  add_get_state(other.methods);
  other.methods.unary<SaveStateRequest, SaveStateResponse>(
      "virtufin.State/SaveState",
      [](CallPtr, const SaveStateRequest&, ReplyTo<SaveStateResponse> reply) {
        reply(SaveStateResponse());
      });
  other.start();
  OurSide ours;
  ours.methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [](CallPtr, const GetStateRequest&, ReplyTo<GetStateResponse> reply) {
        GetStateResponse response;
        response.set_value("ours");
        reply(std::move(response));
      });
  ours.backends->set({{"far", {{"127.0.0.1", other.wanted}}, {}}});
  REQUIRE(ours.comes("virtufin.State/SaveState"));
  CHECK(get_state(ours, "k").value() == "ours");
  ours.backends->set({});
  CHECK_FALSE(ours.has("virtufin.State/SaveState"));
  CHECK(get_state(ours, "k").value() == "ours");
}

TEST_CASE("processes that point at each other end in an error, not in a circle") {
  OtherSide left, right;
  left.start();
  right.start();
  Metrics metrics;
  const auto of_left = make_backends(left.methods, metrics, quick());
  const auto of_right = make_backends(right.methods, metrics, quick());
  of_left->set({{"right", {{"127.0.0.1", right.wanted}}, {"virtufin.State"}}});
  of_right->set({{"left", {{"127.0.0.1", left.wanted}}, {"virtufin.State"}}});
  GrpcClient client(left.wanted);
  GetStateResponse reply;
  grpc::Status status;
  CHECK(eventually([&] {
    status = client.unary("/virtufin.State/GetState", key("k"), reply);
    return status.error_code() != grpc::StatusCode::UNAVAILABLE;
  }));
  CHECK(status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK(status.error_message().find("point at each other") != std::string::npos);
}

/// A row of a service that no proto here knows: it echoes.
class Foreign final : public Method {
 public:
  explicit Foreign(const google::protobuf::MethodDescriptor* descriptor)
      : descriptor_(descriptor), name_(rpc::full_name(*descriptor)) {}
  std::string_view full_name() const override { return name_; }
  const google::protobuf::MethodDescriptor* descriptor() const override { return descriptor_; }
  void call(CallPtr, BytesPtr request, std::shared_ptr<ServerStream> replies) const override {
    replies->write(std::move(request), [](const absl::Status&) {});
    replies->finish(absl::OkStatus());
  }
  void call(CallPtr, const google::protobuf::Message&,
            ReplyTo<std::unique_ptr<google::protobuf::Message>> reply) const override {
    reply(unimplemented("bytes only"));
  }

 private:
  const google::protobuf::MethodDescriptor* descriptor_;
  std::string name_;
};

TEST_CASE("a service of unknown protos is served over REST and shown by reflection") {
  google::protobuf::FileDescriptorProto file;
  file.set_name("foreign.proto");
  file.set_package("foreign");
  file.set_syntax("proto3");
  file.add_dependency("google/api/annotations.proto");
  auto* message = file.add_message_type();
  message->set_name("Word");
  auto* field = message->add_field();
  field->set_name("spoken_text");
  field->set_number(1);
  field->set_type(google::protobuf::FieldDescriptorProto::TYPE_STRING);
  field->set_label(google::protobuf::FieldDescriptorProto::LABEL_OPTIONAL);
  auto* service = file.add_service();
  service->set_name("Parrot");
  auto* method = service->add_method();
  method->set_name("Say");
  method->set_input_type(".foreign.Word");
  method->set_output_type(".foreign.Word");
  method->mutable_options()->MutableExtension(google::api::http)->set_get("/v1/say/{spoken_text}");
  google::protobuf::DescriptorPool pool(google::protobuf::DescriptorPool::generated_pool());
  const auto* built = pool.BuildFile(file);
  REQUIRE(built != nullptr);

  OtherSide other;
  other.methods.add(std::make_shared<Foreign>(built->service(0)->method(0)));
  other.start();

  OurSide ours;
  Health health;
  health.set_serving(true);
  Loops loops(1);
  HttpServer http(ours.methods, health, ours.metrics, loops, {});
  const auto port = http.bind({"127.0.0.1", 0});
  REQUIRE(port.ok());
  REQUIRE(http.start().ok());
  ours.backends->set({{"parrot", {{"127.0.0.1", other.wanted}}, {}}});
  REQUIRE(ours.comes("foreign.Parrot/Say"));

  HttpClient client(*port);
  const auto answer = client.get("/v1/say/hello%20there");
  CHECK(answer.status == 200);
  CHECK(answer.body == R"({"spokenText":"hello there"})");

  Reflection reflection(ours.methods, {});
  grpc::reflection::v1::ServerReflectionRequest request;
  request.set_file_containing_symbol("foreign.Parrot");
  const auto told = reflection.answer(request);
  google::protobuf::FileDescriptorProto shown;
  bool found = false;
  for (const auto& bytes : told.file_descriptor_response().file_descriptor_proto()) {
    REQUIRE(shown.ParseFromString(bytes));
    found = found || shown.name() == "foreign.proto";
  }
  CHECK(found);

  // Gone with its backend, also for a client that is connected.
  ours.backends->set({});
  CHECK(client.get("/v1/say/hello").status == 404);
  http.drain(steady_clock::now() + 1s);
}

TEST_CASE("descriptors that do not fit together are refused by name") {
  google::protobuf::FileDescriptorProto file;
  file.set_name("a.proto");
  file.add_dependency("b.proto");
  auto told = ServiceDescriptors::from_files({{"a.proto", file}}, {});
  CHECK(told.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(names(told.status(), "b.proto"));
  file.clear_dependency();
  told = ServiceDescriptors::from_files({{"a.proto", file}}, {"x.Y"});
  CHECK(names(told.status(), "x.Y"));
  // A cycle of imports ends in an error, too.
  file.add_dependency("b.proto");
  google::protobuf::FileDescriptorProto back;
  back.set_name("b.proto");
  back.add_dependency("a.proto");
  told = ServiceDescriptors::from_files({{"a.proto", file}, {"b.proto", back}}, {});
  CHECK(told.status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace virtufin::rpc

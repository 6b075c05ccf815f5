#include "rpc/method.h"

#include <google/protobuf/dynamic_message.h>
#include <catch2/catch.hpp>
#include <thread>

#include "rows.h"
#include "rpc/local_call.h"
#include "virtufin/config.pb.h"
#include "virtufin/websocketmanager.pb.h"

namespace virtufin::rpc {
namespace {

using namespace test;

/// A row with a name and nothing behind it.
class Named final : public Method {
 public:
  explicit Named(std::string name) : name_(std::move(name)) {}
  std::string_view full_name() const override { return name_; }
  const google::protobuf::MethodDescriptor* descriptor() const override { return nullptr; }
  void call(CallPtr, BytesPtr, std::shared_ptr<ServerStream> replies) const override {
    replies->finish(unimplemented("{}", name_));
  }
  void call(CallPtr, const google::protobuf::Message&,
            ReplyTo<std::unique_ptr<google::protobuf::Message>> reply) const override {
    reply(unimplemented("{}", name_));
  }

 private:
  const std::string name_;
};

MethodPtr named(std::string name) { return std::make_shared<Named>(std::move(name)); }

TEST_CASE("a method is found by full, service and bare name") {
  MethodTable methods;
  add_get_state(methods);
  for (const char* name : {"virtufin.State/GetState", "State/GetState", "GetState"}) {
    const auto found = methods.find(name);
    REQUIRE(found.ok());
    CHECK((*found)->full_name() == "virtufin.State/GetState");
  }
  CHECK(methods.find_exact("virtufin.State/GetState") != nullptr);
  CHECK(methods.find_exact("GetState") == nullptr);
}

TEST_CASE("a name that two services have lists both") {
  MethodTable methods;
  methods.add(named("a.One/List"));
  methods.add(named("b.One/List"));
  methods.add(named("b.Two/List"));
  for (const char* name : {"List", "One/List"}) {
    const auto found = methods.find(name);
    CHECK(found.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK(message(found.status()).find("a.One/List, b.One/List") != std::string::npos);
  }
  CHECK((*methods.find("Two/List"))->full_name() == "b.Two/List");
}

TEST_CASE("an unknown name is answered with the nearest ones") {
  MethodTable methods;
  CHECK(methods.find("GetState").status().code() == absl::StatusCode::kNotFound);
  for (const char* name : {"v.State/GetState", "v.State/SaveState", "v.State/QueryState",
                           "v.Config/ListServices", "v.WorkManager/CreateWorker"}) {
    methods.add(named(name));
  }
  const auto bare = methods.find("getstat");
  CHECK(bare.status().code() == absl::StatusCode::kNotFound);
  CHECK(message(bare.status()).find("nearest: v.State/GetState,") != std::string::npos);
  const auto full = methods.find("v.WorkManager/CreateWorkers");
  CHECK(message(full.status()).find("nearest: v.WorkManager/CreateWorker,") != std::string::npos);
  const auto hostile = methods.find(std::string("a\n\x01") + std::string(100'000, 'x'));
  CHECK(hostile.status().code() == absl::StatusCode::kNotFound);
  CHECK(message(hostile.status()).find('\n') == std::string::npos);
  CHECK(message(hostile.status()).size() < 1000);
}

TEST_CASE("rows come, are replaced and go; the version tells") {
  MethodTable methods;
  const auto start = methods.version();
  methods.add(named("a.A/B"));
  const auto second = named("a.A/B");
  methods.add(second);
  CHECK(methods.list().size() == 1);
  CHECK(methods.find_exact("a.A/B") == second);
  methods.add(named("a.A/A"));
  REQUIRE(methods.list().size() == 2);
  CHECK(methods.list()[0]->full_name() == "a.A/A");
  methods.remove("a.A/B");
  CHECK(methods.find_exact("a.A/B") == nullptr);
  CHECK(methods.version() == start + 4);
}

TEST_CASE("a row must be as the protos say") {
  MethodTable methods;
  const auto handler = [](CallPtr, const GetStateRequest&, ReplyTo<GetStateResponse> reply) {
    reply(GetStateResponse());
  };
  CHECK_THROWS_AS(
      (methods.unary<GetStateRequest, GetStateResponse>("virtufin.State/Nothing", handler)),
      std::logic_error);
  CHECK_THROWS_AS(
      (methods.unary<GetStateRequest, GetStateResponse>("virtufin.State/SaveState", handler)),
      std::logic_error);
  CHECK_THROWS_AS((methods.unary<SubscribeRequest, SubscribeResponse>(
                      "virtufin.Pubsub/Subscribe",
                      [](CallPtr, const SubscribeRequest&, ReplyTo<SubscribeResponse> reply) {
                        reply(SubscribeResponse());
                      })),
                  std::logic_error);
  CHECK(methods.list().empty());
}

TEST_CASE("a unary row is called on bytes") {
  MethodTable methods;
  add_get_state(methods);
  const MethodPtr method = methods.find_exact("virtufin.State/GetState");
  GetStateRequest request;
  request.set_service("api");
  request.set_key("k");

  const auto sink = std::make_shared<Sink>();
  method->call(std::make_shared<LocalCall>(), make_bytes(request), sink);
  REQUIRE(sink->messages.size() == 1);
  GetStateResponse response;
  REQUIRE(response.ParseFromString(sink->messages[0]));
  CHECK(response.value() == "api:k");
  CHECK(sink->finished == absl::OkStatus());

  const auto refused = std::make_shared<Sink>();
  method->call(std::make_shared<LocalCall>(), make_bytes(GetStateRequest()), refused);
  CHECK(refused->messages.empty());
  CHECK(refused->finished == invalid_argument("key is empty; give one"));

  const auto garbage = std::make_shared<Sink>();
  method->call(std::make_shared<LocalCall>(), make_bytes(std::string("\xff\xff")), garbage);
  REQUIRE(garbage->finished.has_value());
  CHECK(garbage->finished->code() == absl::StatusCode::kInvalidArgument);
  CHECK(message(*garbage->finished).find("virtufin.GetStateRequest") != std::string::npos);
}

TEST_CASE("a unary row is called on messages, generated or dynamic") {
  MethodTable methods;
  add_get_state(methods);
  const MethodPtr method = methods.find_exact("virtufin.State/GetState");
  GetStateRequest request;
  request.set_service("api");
  request.set_key("k");
  google::protobuf::DynamicMessageFactory factory;
  const std::unique_ptr<google::protobuf::Message> dynamic(
      factory.GetPrototype(GetStateRequest::descriptor())->New());
  REQUIRE(dynamic->ParseFromString(request.SerializeAsString()));

  for (const google::protobuf::Message* given :
       {static_cast<const google::protobuf::Message*>(&request),
        static_cast<const google::protobuf::Message*>(dynamic.get())}) {
    std::string value;
    method->call(std::make_shared<LocalCall>(), *given,
                 [&](absl::StatusOr<std::unique_ptr<google::protobuf::Message>> reply) {
                   REQUIRE(reply.ok());
                   value = dynamic_cast<GetStateResponse&>(**reply).value();
                 });
    CHECK(value == "api:k");
  }
}

TEST_CASE("a reply may come later and from elsewhere; the request lives until then") {
  MethodTable methods;
  std::thread later;
  methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [&](CallPtr, const GetStateRequest& request, ReplyTo<GetStateResponse> reply) {
        later = std::thread([&request, reply = std::move(reply)]() mutable {
          GetStateResponse response;
          response.set_value(request.key());
          reply(std::move(response));
        });
      });
  GetStateRequest request;
  request.set_key(std::string(100, 'k'));
  const auto sink = std::make_shared<Sink>();
  methods.find_exact("virtufin.State/GetState")
      ->call(std::make_shared<LocalCall>(), make_bytes(request), sink);
  later.join();
  GetStateResponse response;
  REQUIRE(sink->messages.size() == 1);
  REQUIRE(response.ParseFromString(sink->messages[0]));
  CHECK(response.value() == request.key());
}

TEST_CASE("a stream's request lives as long as its stream") {
  MethodTable methods;
  std::shared_ptr<ServerStream> kept;
  const SubscribeRequest* seen = nullptr;
  methods.server_stream<SubscribeRequest>(
      "virtufin.Pubsub/Subscribe",
      [&](CallPtr, const SubscribeRequest& request, std::shared_ptr<ServerStream> stream) {
        seen = &request;
        kept = std::move(stream);
      });
  SubscribeRequest request;
  request.add_topics("act.>");
  const auto sink = std::make_shared<Sink>();
  const MethodPtr method = methods.find_exact("virtufin.Pubsub/Subscribe");
  method->call(std::make_shared<LocalCall>(), make_bytes(request), sink);
  CHECK(seen->topics(0) == "act.>");
  kept->start({{"a", "b"}});
  kept->write(make_bytes(std::string("m")), [](const absl::Status& status) { CHECK(status.ok()); });
  kept->finish(absl::OkStatus());
  CHECK(sink->started.size() == 1);
  CHECK(sink->messages == std::vector<std::string>{"m"});
  CHECK(sink.use_count() == 2);
  kept = nullptr;
  CHECK(sink.use_count() == 1);

  bool unary_refused = false;
  method->call(std::make_shared<LocalCall>(), request, [&](auto reply) {
    unary_refused = reply.status().code() == absl::StatusCode::kUnimplemented;
  });
  CHECK(unary_refused);
}

TEST_CASE("readers see the table whole while it changes") {
  MethodTable methods;
  methods.add(named("a.A/Stays"));
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::atomic<std::uint64_t> reads{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        if (methods.find_exact("a.A/Stays") == nullptr) ++wrong;
        const auto comes = methods.find("b.B/Comes");
        if (comes.ok() && (*comes)->full_name() != "b.B/Comes") ++wrong;
        const auto all = methods.list();
        if (all.empty() || all.size() > 2) ++wrong;
        ++reads;
      }
    });
  }
  for (int i = 0; i < 300 || reads < 1000; ++i) {
    methods.add(named("b.B/Comes"));
    methods.remove("b.B/Comes");
  }
  stop = true;
  for (auto& reader : readers) reader.join();
  CHECK(wrong == 0);
}

TEST_CASE("what a server keeps beside the bytes is made once") {
  struct Kept final : Bytes::Companion {};
  const BytesPtr bytes = make_bytes(std::string("abc"));
  CHECK(view(*bytes) == "abc");
  CHECK(bytes->companion() == nullptr);
  auto first = std::make_unique<Kept>();
  const Bytes::Companion* expected = first.get();
  CHECK(bytes->keep(std::move(first)) == expected);
  CHECK(bytes->keep(std::make_unique<Kept>()) == expected);
  CHECK(bytes->companion() == expected);
}

TEST_CASE("cancelling runs each callback once") {
  LocalCall call(std::chrono::steady_clock::time_point::max(), {{"correlationid", "c1"}});
  CHECK(call.metadata("correlationid") == "c1");
  CHECK(call.metadata("other").empty());
  int before = 0;
  int after = 0;
  call.on_cancel([&] { ++before; });
  CHECK_FALSE(call.cancelled());
  call.cancel();
  call.cancel();
  CHECK(call.cancelled());
  CHECK(before == 1);
  call.on_cancel([&] { ++after; });
  CHECK(after == 1);

  LocalCall ended;
  const auto held = std::make_shared<int>(1);
  ended.on_cancel([held] { FAIL("not cancelled"); });
  CHECK(held.use_count() == 2);
  ended.end();
  CHECK(held.use_count() == 1);
  ended.cancel();
}

}  // namespace
}  // namespace virtufin::rpc

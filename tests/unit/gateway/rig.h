#pragma once

#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bus/memory/memory_bus.h"
#include "bus/memory/memory_store.h"
#include "core/errors.h"
#include "core/event_writer.h"
#include "core/metrics.h"
#include "core/time.h"
#include "modules/gateway/config_service.h"
#include "modules/gateway/fanout.h"
#include "modules/gateway/pubsub_service.h"
#include "modules/gateway/state_service.h"
#include "rpc/http_route.h"
#include "rpc/local_call.h"
#include "rpc/method.h"
#include "virtufin/pubsub.pb.h"

namespace virtufin::gateway::testing {

inline constexpr std::chrono::seconds kPatience{20};

/// What several threads change and a test waits for.
class Waitable {
 public:
  template <class Change>
  auto change(Change&& change_it) {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
    return change_it();
  }
  template <class Condition>
  bool wait(Condition&& condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, condition);
  }
  template <class Read>
  auto read(Read&& read_it) {
    const std::lock_guard lock(mutex_);
    return read_it();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

/// Waits for what no notification tells.
inline bool eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

/// A client's end of a server stream that keeps what it was sent. While it does not read, the
/// write that is out stays out.
class FakeStream final : public rpc::ServerStream {
 public:
  using Metadata = std::vector<std::pair<std::string, std::string>>;

  void start(Metadata metadata) override {
    state_.change([&] {
      broke_rules_ = broke_rules_ || metadata_ || finished_ || !received_.empty();
      metadata_ = std::move(metadata);
    });
  }
  void write(rpc::BytesPtr message, absl::AnyInvocable<void(absl::Status)> written) override {
    const bool reading = state_.change([&] {
      broke_rules_ = broke_rules_ || pending_ || finished_ || !metadata_;
      SubscribeResponse response;
      parsed_ = response.ParseFromString(std::string(rpc::view(*message))) && parsed_;
      bytes_.push_back(message);
      received_.push_back(std::move(response));
      if (!reading_) pending_ = std::move(written);
      return reading_;
    });
    if (reading) written(broken_);
  }
  void finish(absl::Status status) override {
    state_.change([&] {
      broke_rules_ = broke_rules_ || pending_ || finished_;
      finished_ = std::move(status);
    });
  }

  void stop_reading() {
    state_.change([&] { reading_ = false; });
  }
  void read_on(absl::Status outcome = absl::OkStatus()) {
    absl::AnyInvocable<void(absl::Status)> written;
    state_.change([&] {
      reading_ = true;
      broken_ = outcome;
      written = std::exchange(pending_, nullptr);
    });
    if (written) written(outcome);
  }

  /// The subscription's id, once it stands.
  std::string started() {
    REQUIRE(state_.wait([&] { return metadata_ || finished_; }));
    return state_.read([&]() -> std::string {
      REQUIRE(metadata_);
      REQUIRE(metadata_->size() == 1);
      CHECK(metadata_->front().first == "virtufin-subscription-id");
      return metadata_->front().second;
    });
  }
  std::vector<SubscribeResponse> received(std::size_t at_least) {
    CHECK(state_.wait([&] { return received_.size() >= at_least; }));
    return state_.read([&] {
      CHECK(parsed_);
      CHECK_FALSE(broke_rules_);
      return received_;
    });
  }
  std::size_t received_now() {
    return state_.read([&] { return received_.size(); });
  }
  rpc::BytesPtr bytes(std::size_t index) {
    return state_.read([&] { return bytes_.at(index); });
  }
  absl::Status finished() {
    REQUIRE(state_.wait([&] { return finished_.has_value(); }));
    return state_.read([&] {
      CHECK_FALSE(broke_rules_);
      return *finished_;
    });
  }

 private:
  Waitable state_;
  std::optional<Metadata> metadata_;
  std::vector<SubscribeResponse> received_;
  std::vector<rpc::BytesPtr> bytes_;
  std::optional<absl::Status> finished_;
  absl::AnyInvocable<void(absl::Status)> pending_;
  absl::Status broken_;
  bool reading_ = true;
  bool parsed_ = true;
  bool broke_rules_ =
      false;  ///< a start too late or twice, two writes at once, a write after the end
};

/// An HTTP request without a server; keeps what it is answered.
class FakeExchange final : public rpc::HttpExchange,
                           public std::enable_shared_from_this<FakeExchange> {
 public:
  explicit FakeExchange(rpc::HttpRequest request) : request_(std::move(request)) {}

  const rpc::HttpRequest& request() const override { return request_; }
  rpc::CallPtr call() const override { return call_; }
  void reply(rpc::HttpResponse response) override {
    state_.change([&] { response_ = std::move(response); });
  }
  std::shared_ptr<rpc::HttpStream> stream(rpc::HttpResponse head) override {
    state_.change([&] { head_ = std::move(head); });
    return std::make_shared<Body>(shared_from_this());
  }

  rpc::HttpResponse response() {
    REQUIRE(state_.wait([&] { return response_.has_value(); }));
    return state_.read([&] { return *response_; });
  }
  rpc::HttpResponse head() {
    REQUIRE(state_.wait([&] { return head_.has_value(); }));
    return state_.read([&] { return *head_; });
  }
  /// All that was streamed, once it holds `wanted`.
  std::string streamed(const std::string& wanted) {
    CHECK(state_.wait([&] { return body_.find(wanted) != std::string::npos; }));
    return state_.read([&] { return body_; });
  }
  bool ended() {
    return state_.wait([&] { return ended_; });
  }
  void stop_reading() {
    state_.change([&] { reading_ = false; });
  }
  void read_on() {
    absl::AnyInvocable<void(absl::Status)> written;
    state_.change([&] {
      reading_ = true;
      written = std::exchange(pending_, nullptr);
    });
    if (written) written(absl::OkStatus());
  }
  rpc::LocalCall& peer() { return *call_; }

 private:
  class Body final : public rpc::HttpStream {
   public:
    explicit Body(std::shared_ptr<FakeExchange> exchange) : exchange_(std::move(exchange)) {}
    void write(std::string chunk, absl::AnyInvocable<void(absl::Status)> written) override {
      const bool reading = exchange_->state_.change([&] {
        exchange_->body_ += chunk;
        if (!exchange_->reading_) exchange_->pending_ = std::move(written);
        return exchange_->reading_;
      });
      if (reading) written(absl::OkStatus());
    }
    void finish() override {
      exchange_->state_.change([&] { exchange_->ended_ = true; });
    }

   private:
    std::shared_ptr<FakeExchange> exchange_;
  };

  const rpc::HttpRequest request_;
  const std::shared_ptr<rpc::LocalCall> call_ = std::make_shared<rpc::LocalCall>();
  Waitable state_;
  std::optional<rpc::HttpResponse> response_, head_;
  std::string body_;
  absl::AnyInvocable<void(absl::Status)> pending_;
  bool reading_ = true;
  bool ended_ = false;
};

/// The gateway's services over the in-memory bus and store, behind a table of methods of their own.
struct Rig {
  explicit Rig(GatewayConfig wanted = {}) : config(std::move(wanted)) {
    auto opened = bus::MemoryStore::open({}, clock, metrics);
    REQUIRE(opened.ok());
    store = *std::move(opened);
    fanout = std::make_shared<Fanout>(bus, metrics, config);
    pubsub = std::make_shared<PubsubService>(bus, fanout);
    pubsub->register_methods(methods);
    register_state_service(methods, *store, bus, clock, metrics, config);
    register_config_service(methods, config);
  }
  ~Rig() { fanout->stop(std::chrono::steady_clock::now() + kPatience); }

  /// A unary method's answer.
  template <class Reply, class Request>
  absl::StatusOr<Reply> call(std::string_view name, const Request& request,
                             rpc::LocalCall::Metadata metadata = {}) {
    const auto method = methods.find(name);
    REQUIRE(method.ok());
    const auto caller = std::make_shared<rpc::LocalCall>(
        std::chrono::steady_clock::time_point::max(), std::move(metadata));
    Waitable state;
    std::optional<absl::StatusOr<Reply>> answer;
    (*method)->call(caller, request,
                    [&](absl::StatusOr<std::unique_ptr<google::protobuf::Message>> reply) {
                      state.change([&] {
                        if (reply.ok()) {
                          answer = dynamic_cast<Reply&>(**reply);
                        } else {
                          answer = reply.status();
                        }
                      });
                    });
    REQUIRE(state.wait([&] { return answer.has_value(); }));
    return *std::move(answer);
  }

  struct Client {
    std::shared_ptr<FakeStream> stream;
    std::shared_ptr<rpc::LocalCall> call;
    FakeStream* operator->() const { return stream.get(); }
  };
  Client subscribe(const SubscribeRequest& request) {
    Client client{std::make_shared<FakeStream>(), std::make_shared<rpc::LocalCall>()};
    const auto method = methods.find("virtufin.Pubsub/Subscribe");
    REQUIRE(method.ok());
    (*method)->call(client.call, rpc::make_bytes(request), client.stream);
    return client;
  }
  Client subscribe(const std::vector<std::string>& topics) {
    SubscribeRequest request;
    for (const std::string& topic : topics) request.add_topics(topic);
    return subscribe(request);
  }

  void publish(std::string_view topic, EventPtr event) {
    Waitable state;
    std::optional<absl::Status> done;
    bus.publish(bus.topic(topic), std::move(event),
                [&](const absl::Status& status) { state.change([&] { done = status; }); });
    REQUIRE(state.wait([&] { return done.has_value(); }));
    REQUIRE(done->ok());
  }

  GatewayConfig config;
  WallClock clock;
  Metrics metrics;
  bus::MemoryBus bus{bus::BusConfig{}, metrics};
  std::unique_ptr<bus::MemoryStore> store;
  rpc::MethodTable methods;
  std::shared_ptr<Fanout> fanout;
  std::shared_ptr<PubsubService> pubsub;
};

inline EventPtr event(std::string_view id, std::string_view type = "com.virtufin.test",
                      std::string_view subject = {}, std::string_view data = R"({"n":1})",
                      std::vector<Extension> extensions = {}) {
  EventFields fields;
  fields.id = id;
  fields.type = type;
  fields.source = "urn:com.virtufin.test";
  fields.subject = subject;
  fields.data_content_type = "application/json";
  fields.data = as_bytes(data);
  fields.extensions = extensions;
  auto made = make_event(fields);
  if (!made.ok()) throw std::logic_error(made.status().ToString());  // from any thread
  return *std::move(made);
}

inline std::vector<std::string> ids(const std::vector<SubscribeResponse>& responses) {
  std::vector<std::string> all;
  for (const SubscribeResponse& response : responses) all.push_back(response.cloudevent().id());
  return all;
}

}  // namespace virtufin::gateway::testing

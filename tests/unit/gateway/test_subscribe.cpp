#include <fmt/format.h>

#include <thread>

#include "rig.h"
#include "rpc/bytes.h"

namespace virtufin::gateway::testing {
namespace {

using absl::StatusCode;

TEST_CASE("a stream is told its id as metadata, and on its first event only") {
  Rig rig;
  const auto client = rig.subscribe({"a.b"});
  const std::string id = client->started();
  CHECK(id.size() == 36);
  rig.publish("a.b", event("1"));
  rig.publish("a.b", event("2"));
  const auto received = client->received(2);
  REQUIRE(received.size() == 2);
  CHECK(received[0].topic() == "a.b");
  CHECK(received[0].cloudevent().id() == "1");
  CHECK(received[0].cloudevent().text_data() == R"({"n":1})");
  CHECK(received[0].subscription_id() == id);
  CHECK(received[0].missed() == 0);
  CHECK(received[1].cloudevent().id() == "2");
  CHECK(received[1].subscription_id().empty());
}

TEST_CASE("all streams of a pattern share one bus subscription and one form of each event") {
  Rig rig;
  std::vector<Rig::Client> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(rig.subscribe({"a.*"}));
    clients.back()->started();
  }
  CHECK(rig.bus.footprint().subscriptions == 1);
  CHECK(rig.fanout->open_streams() == 100);
  rig.publish("a.b", event("1"));
  rig.publish("a.c", event("2"));
  for (const auto& client : clients) {
    CHECK(ids(client->received(2)) == std::vector<std::string>{"1", "2"});
    CHECK(client->bytes(1) == clients.front()->bytes(1));  // the same bytes, not equal ones
  }
  // The last one who leaves closes it.
  for (std::size_t i = 0; i + 1 < clients.size(); ++i) clients[i].call->cancel();
  for (std::size_t i = 0; i + 1 < clients.size(); ++i) {
    CHECK(clients[i]->finished().code() == StatusCode::kCancelled);
  }
  CHECK(rig.bus.footprint().subscriptions == 1);
  rig.publish("a.b", event("3"));
  CHECK(clients.back()->received(3).back().cloudevent().id() == "3");
  clients.back().call->cancel();
  CHECK(clients.back()->finished().code() == StatusCode::kCancelled);
  CHECK(eventually([&] { return rig.bus.footprint().subscriptions == 0; }));
  CHECK(rig.bus.footprint().patterns == 0);
}

TEST_CASE("an event that several patterns of a stream match comes once") {
  Rig rig;
  const auto client = rig.subscribe({"a.*", "a.b", "a.b.*", "a.b"});
  client->started();
  CHECK(rig.bus.footprint().subscriptions == 3);
  rig.publish("a.b", event("1"));
  rig.publish("a.b.c", event("2"));
  rig.publish("a.x", event("3"));
  rig.publish("a.b", event("last"));
  CHECK(ids(client->received(4)) == std::vector<std::string>{"1", "2", "3", "last"});
}

TEST_CASE("a publisher's events keep their order over all topics of a stream") {
  Rig rig;
  const auto client = rig.subscribe({"a", "b", "c.*"});
  client->started();
  std::vector<std::string> expected;
  const std::vector<std::string> topics{"a", "b", "c.d"};
  for (int i = 0; i < 3000; ++i) {
    expected.push_back(fmt::format("{}", i));
    rig.publish(topics[static_cast<std::size_t>(i) % 3], event(expected.back()));
  }
  CHECK(ids(client->received(3000)) == expected);
}

TEST_CASE("each of several publishers keeps its order") {
  Rig rig;
  const auto client = rig.subscribe({"t.*"});
  client->started();
  constexpr int kEach = 500;
  std::vector<std::thread> publishers;
  for (int p = 0; p < 4; ++p) {
    publishers.emplace_back([&rig, p] {
      const auto topic = rig.bus.topic(fmt::format("t.{}", p));
      for (int i = 0; i < kEach; ++i) rig.bus.publish(topic, event(fmt::format("{}/{}", p, i)));
    });
  }
  for (auto& publisher : publishers) publisher.join();
  const auto received = client->received(4 * kEach);
  REQUIRE(received.size() == 4 * kEach);
  std::vector<int> next(4, 0);
  for (const auto& response : received) {
    const std::string& id = response.cloudevent().id();
    const auto publisher = static_cast<std::size_t>(id[0] - '0');
    CHECK(id == fmt::format("{}/{}", publisher, next[publisher]++));
  }
}

TEST_CASE("a stream's filter is its own") {
  Rig rig;
  SubscribeRequest request;
  request.add_topics("a");
  request.mutable_filter()->set_type("com.virtufin.trading.*");
  request.mutable_filter()->set_subject("order/7");
  const auto filtered = rig.subscribe(request);
  SubscribeRequest by_scenario;
  by_scenario.add_topics("a");
  by_scenario.mutable_filter()->set_scenario_id("S1");
  by_scenario.mutable_filter()->set_clock_type("historical");
  const auto scenario = rig.subscribe(by_scenario);
  const auto everything = rig.subscribe({"a"});
  for (const auto* client : {&filtered, &scenario, &everything}) (*client)->started();

  rig.publish("a", event("1", "com.virtufin.trading.order.submitted", "order/7"));
  rig.publish("a", event("2", "com.virtufin.trading.order.submitted", "order/8"));
  rig.publish("a", event("3", "com.virtufin.tradings", "order/7"));
  rig.publish("a", event("4", "com.virtufin.x", "order/7", "1",
                         {{"scenarioid", "S1"}, {"clocktype", "historical"}}));
  rig.publish("a", event("5", "com.virtufin.x", "order/7", "1", {{"scenarioid", "S1"}}));
  rig.publish("a", event("6", "com.virtufin.trading.trade.settled", "order/7"));
  CHECK(ids(everything->received(6)) == std::vector<std::string>{"1", "2", "3", "4", "5", "6"});
  CHECK(ids(filtered->received(2)) == std::vector<std::string>{"1", "6"});
  CHECK(ids(scenario->received(1)) == std::vector<std::string>{"4"});
  CHECK(rig.bus.footprint().subscriptions == 1);
}

TEST_CASE("a slow reader loses its oldest events, is told how many, and delays nobody") {
  Rig rig;
  SubscribeRequest request;
  request.add_topics("a");
  request.set_queue_events(10);
  const auto slow = rig.subscribe(request);
  const auto quick = rig.subscribe({"a"});
  slow->started();
  quick->started();
  slow->stop_reading();
  for (int i = 0; i < 100; ++i) rig.publish("a", event(fmt::format("{}", i)));
  CHECK(quick->received(100).back().cloudevent().id() == "99");
  CHECK(slow->received_now() == 1);  // the write that is out

  slow->read_on();
  const auto received = slow->received(11);
  REQUIRE(received.size() == 11);
  CHECK(received[0].cloudevent().id() == "0");
  CHECK(received[0].missed() == 0);
  CHECK(received[1].cloudevent().id() == "90");
  CHECK(received[1].missed() == 89);
  CHECK(received[1].subscription_id().empty());
  CHECK(received[2].missed() == 0);
  CHECK(received[10].cloudevent().id() == "99");
  CHECK(rig.metrics.prometheus_text().find("virtufin_gateway_stream_missed_total 89") !=
        std::string::npos);
}

/// A stream that breaks the rule that writes do not block, to hold the thread that fans out.
class Gate final : public rpc::ServerStream {
 public:
  void start(std::vector<std::pair<std::string, std::string>>) override {
    state_.change([&] { started_ = true; });
  }
  void write(rpc::BytesPtr, absl::AnyInvocable<void(absl::Status)> written) override {
    state_.change([&] { held_ = true; });
    state_.wait([&] { return open_; });
    written(absl::OkStatus());
  }
  void finish(absl::Status) override {}

  bool started() {
    return state_.wait([&] { return started_; });
  }
  bool held() {
    return state_.wait([&] { return held_; });
  }
  void open() {
    state_.change([&] { open_ = true; });
  }

 private:
  Waitable state_;
  bool started_ = false;
  bool held_ = false;
  bool open_ = false;
};

TEST_CASE("arrivals beyond the bound are counted for the streams that would have had them") {
  GatewayConfig config;
  config.fanout_queue_events = 100;
  Rig rig(config);
  SubscribeRequest request;
  request.add_topics("a");
  request.mutable_filter()->set_type("wanted");
  const auto client = rig.subscribe(request);
  client->started();
  const auto gate = std::make_shared<Gate>();
  SubscribeRequest to_gate;
  to_gate.add_topics("gate");
  (*rig.methods.find("virtufin.Pubsub/Subscribe"))
      ->call(std::make_shared<rpc::LocalCall>(), rpc::make_bytes(to_gate), gate);
  REQUIRE(gate->started());
  rig.publish("gate", event("hold"));
  REQUIRE(gate->held());

  for (int i = 0; i < 150; ++i) {
    rig.publish("a", event(fmt::format("{}", i), "wanted"));
    rig.publish("a", event("u", "unwanted"));
  }
  gate->open();
  const auto received = client->received(50);
  REQUIRE(received.size() == 50);
  CHECK(received.front().cloudevent().id() == "100");
  CHECK(received.front().missed() == 100);  // of the 200 that went, those it wanted
  CHECK(received[1].missed() == 0);
  CHECK(received.back().cloudevent().id() == "149");
}

TEST_CASE("a stream whose write fails is gone") {
  Rig rig;
  const auto broken = rig.subscribe({"a"});
  const auto other = rig.subscribe({"b"});
  broken->started();
  other->started();
  broken->stop_reading();
  rig.publish("a", event("1"));
  rig.publish("a", event("2"));
  broken->received(1);
  broken->read_on(absl::UnavailableError("reset"));
  CHECK(broken->finished().code() == StatusCode::kUnavailable);
  CHECK(broken->received_now() == 1);
  CHECK(eventually([&] { return rig.bus.footprint().subscriptions == 1; }));
  CHECK(eventually([&] { return rig.fanout->open_streams() == 1; }));
  rig.publish("b", event("3"));
  CHECK(other->received(1).size() == 1);
}

TEST_CASE("a call that was cancelled before it opened leaves nothing") {
  Rig rig;
  auto stream = std::make_shared<FakeStream>();
  auto call = std::make_shared<rpc::LocalCall>();
  call->cancel();
  SubscribeRequest request;
  request.add_topics("a");
  (*rig.methods.find("virtufin.Pubsub/Subscribe"))->call(call, rpc::make_bytes(request), stream);
  CHECK(stream->finished().code() == StatusCode::kCancelled);
  CHECK(eventually([&] { return rig.bus.footprint().subscriptions == 0; }));
  CHECK(eventually([&] { return rig.fanout->open_streams() == 0; }));
}

TEST_CASE("Unsubscribe ends the stream of that id") {
  Rig rig;
  const auto client = rig.subscribe({"a"});
  UnsubscribeRequest request;
  request.set_subscription_id(client->started());
  const auto first = rig.call<UnsubscribeResponse>("virtufin.Pubsub/Unsubscribe", request);
  REQUIRE(first.ok());
  CHECK(first->status().success());
  CHECK(first->status().status() == "OK");
  CHECK(client->finished().ok());
  CHECK(rig.bus.footprint().subscriptions == 0);

  const auto again = rig.call<UnsubscribeResponse>("virtufin.Pubsub/Unsubscribe", request);
  CHECK(again.status().code() == StatusCode::kNotFound);
  CHECK(message(again.status()).find(request.subscription_id()) != std::string::npos);
  CHECK(rig.call<UnsubscribeResponse>("virtufin.Pubsub/Unsubscribe", UnsubscribeRequest())
            .status()
            .code() == StatusCode::kInvalidArgument);
}

TEST_CASE("Unsubscribe of a reader that does not read ends it when its write ends") {
  Rig rig;
  const auto client = rig.subscribe({"a"});
  UnsubscribeRequest request;
  request.set_subscription_id(client->started());
  client->stop_reading();
  rig.publish("a", event("1"));
  rig.publish("a", event("2"));
  client->received(1);
  REQUIRE(rig.call<UnsubscribeResponse>("virtufin.Pubsub/Unsubscribe", request).ok());
  client->read_on();
  CHECK(client->finished().ok());
  CHECK(client->received_now() == 1);
}

TEST_CASE("a Subscribe that cannot be is refused with a reason") {
  GatewayConfig config;
  config.max_streams = 1;
  config.max_topics_per_stream = 2;
  Rig rig(config);
  CHECK(rig.subscribe(std::vector<std::string>{})->finished().code() ==
        StatusCode::kInvalidArgument);
  CHECK(rig.subscribe({""})->finished().code() == StatusCode::kInvalidArgument);
  CHECK(rig.subscribe({"a.*.b"})->finished().code() == StatusCode::kInvalidArgument);
  CHECK(rig.subscribe({"*"})->finished().code() == StatusCode::kInvalidArgument);
  CHECK(rig.subscribe({"a", "b", "c"})->finished().code() == StatusCode::kInvalidArgument);
  SubscribeRequest request;
  request.add_topics("a");
  for (const int bound : {-1, 65537}) {
    request.set_queue_events(bound);
    CHECK(rig.subscribe(request)->finished().code() == StatusCode::kInvalidArgument);
  }
  request.set_queue_events(0);
  request.mutable_filter()->set_clock_type("wal");
  CHECK(rig.subscribe(request)->finished().code() == StatusCode::kInvalidArgument);

  const auto open = rig.subscribe({"a"});
  open->started();
  const absl::Status full = rig.subscribe({"a"})->finished();
  CHECK(full.code() == StatusCode::kResourceExhausted);
  CHECK(message(full).find("max_streams") != std::string::npos);
  open.call->cancel();
  CHECK(open->finished().code() == StatusCode::kCancelled);
  CHECK(eventually([&] { return rig.fanout->open_streams() == 0; }));
  rig.subscribe({"a"})->started();
}

TEST_CASE("stop writes what is queued, then ends the streams") {
  Rig rig;
  const auto client = rig.subscribe({"a"});
  client->started();
  client->stop_reading();
  for (int i = 0; i < 5; ++i) rig.publish("a", event(fmt::format("{}", i)));
  client->received(1);
  rig.pubsub->close_intake();
  CHECK(rig.subscribe({"a"})->finished().code() == StatusCode::kUnavailable);
  std::thread stopping([&] { rig.fanout->stop(std::chrono::steady_clock::now() + kPatience); });
  CHECK(eventually([&] { return rig.bus.footprint().subscriptions == 0; }));
  client->read_on();
  stopping.join();
  CHECK(client->finished().code() == StatusCode::kUnavailable);
  CHECK(ids(client->received(5)) == std::vector<std::string>{"0", "1", "2", "3", "4"});
  CHECK(rig.fanout->open_streams() == 0);
}

TEST_CASE("stop does not wait longer than its deadline for a reader that does not read") {
  Rig rig;
  const auto client = rig.subscribe({"a"});
  client->started();
  client->stop_reading();
  rig.publish("a", event("1"));
  rig.publish("a", event("2"));
  client->received(1);
  rig.fanout->stop(std::chrono::steady_clock::now());
  CHECK(client->received_now() == 1);
  client->read_on(absl::CancelledError("the server cancelled it"));
  CHECK(client->finished().code() == StatusCode::kUnavailable);
}

TEST_CASE("streams come and go while events flow") {
  Rig rig;
  const auto steady = rig.subscribe({"t.*"});
  steady->started();
  std::atomic<bool> stop{false};
  std::size_t published = 0;
  std::thread publisher([&] {
    const auto topic = rig.bus.topic("t.x");
    for (; published < 3000 && (!stop.load() || published < 100); ++published) {
      rig.bus.publish(topic, event(fmt::format("{}", published)));
      std::this_thread::yield();
    }
  });
  for (int round = 0; round < 50; ++round) {
    const auto client = rig.subscribe({round % 2 == 0 ? "t.x" : "t.*"});
    client->started();
    client.call->cancel();
    CHECK(client->finished().code() == StatusCode::kCancelled);
  }
  stop = true;
  publisher.join();
  const auto received = steady->received(published);
  REQUIRE(received.size() == published);
  for (std::size_t i = 0; i < published; ++i) {
    REQUIRE(received[i].cloudevent().id() == fmt::format("{}", i));
  }
  CHECK(eventually([&] { return rig.bus.footprint().subscriptions == 1; }));
}

}  // namespace
}  // namespace virtufin::gateway::testing

#include "bus/dapr/sidecar.h"

#include <google/protobuf/empty.pb.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <mutex>

#include "conformance/support.h"
#include "core/metrics.h"
#include "dapr/daprd.h"
#include "dapr/proto/runtime/v1/dapr.pb.h"

/// The connection to a real sidecar: readiness, token, streams, and a sidecar that goes and comes.
using namespace virtufin;
using namespace virtufin::testing;
using bus::DaprConfig;
using bus::Sidecar;
using std::chrono::milliseconds;
using std::chrono::seconds;
namespace runtime = dapr::proto::runtime::v1;

namespace {

constexpr seconds kLong{30};

Daprd::Options options() {
  Daprd::Options options;
  options.components = {{"pubsub", "pubsub.in-memory", {}}, {"statestore", "state.in-memory", {}}};
  return options;
}

DaprConfig config_for(const Daprd& daprd) {
  DaprConfig config;
  config.endpoint = daprd.endpoint();
  config.components = {{"default", "pubsub"}};
  config.probe = milliseconds(100);
  config.call_timeout = milliseconds(2000);
  return config;
}

absl::Status entry(const Sidecar& sidecar, const std::string& name) {
  for (const auto& health : sidecar.health()) {
    if (health.name == name) return health.status;
  }
  FAIL("no entry " << name);
  return {};
}

/// One subscription, as the first half of the adapter sees it.
struct Stream {
  explicit Stream(Sidecar& sidecar) {
    runtime::SubscribeTopicEventsRequestAlpha1 first;
    first.mutable_initial_request()->set_pubsub_name("pubsub");
    first.mutable_initial_request()->set_topic("t");
    stream = sidecar.open<runtime::SubscribeTopicEventsResponseAlpha1>(
        "SubscribeTopicEventsAlpha1", first,
        [this](runtime::SubscribeTopicEventsResponseAlpha1& message) {
          std::lock_guard lock(mutex);
          if (message.has_initial_response()) {
            ++opened;
            return true;
          }
          ids.push_back(message.event_message().id());
          return !pausing.load();
        },
        [this](absl::Status status) {
          std::lock_guard lock(mutex);
          end = std::move(status);
          ended = true;
        });
  }
  void answer(const std::string& id) {
    runtime::SubscribeTopicEventsRequestAlpha1 message;
    message.mutable_event_processed()->set_id(id);
    message.mutable_event_processed()->mutable_status()->set_status(
        runtime::TopicEventResponse::SUCCESS);
    stream->write(message);
  }
  std::vector<std::string> seen() {
    std::lock_guard lock(mutex);
    return ids;
  }

  std::mutex mutex;
  std::atomic<int> opened = 0;
  std::atomic<bool> ended = false, pausing = false;
  std::vector<std::string> ids;
  absl::Status end;
  std::shared_ptr<bus::SidecarStream> stream;
};

void publish(Sidecar& sidecar, const std::string& id) {
  runtime::PublishEventRequest request;
  request.set_pubsub_name("pubsub");
  request.set_topic("t");
  request.set_data_content_type("application/cloudevents+json");
  request.set_data(
      R"({"specversion":"1.0","id":")" + id +
      R"(","source":"test","type":"t","datacontenttype":"application/json","data":1})");
  std::atomic<int> done = 0;
  absl::Status result;
  sidecar.call<google::protobuf::Empty>("PublishEvent", request, {seconds(10)},
                                        [&](absl::StatusOr<google::protobuf::Empty> answer) {
                                          result = answer.status();
                                          ++done;
                                        });
  REQUIRE(eventually([&] { return done == 1; }, kLong));
  INFO(message(result));
  REQUIRE(result.ok());
}

}  // namespace

TEST_CASE("the sidecar tells its components, and readiness those that are missing") {
  Daprd daprd(options());
  Metrics metrics;
  DaprConfig config = config_for(daprd);
  config.components["sc"] = "orders";
  config.state_store = "records";
  Sidecar sidecar(config, metrics);
  REQUIRE(sidecar.wait_until_reachable(kLong).ok());
  REQUIRE(eventually([&] { return sidecar.info()->components.size() == 2; }, kLong));
  const auto info = sidecar.info();
  CHECK(info->app_id == "virtufin-test");
  REQUIRE(info->find("state", "statestore"));
  CHECK(info->find("state", "statestore")->type == "state.in-memory");
  CHECK(info->find("state", "statestore")->can("ETAG"));
  CHECK(info->find("state", "statestore")->can("TRANSACTIONAL"));
  CHECK_FALSE(info->find("state", "statestore")->can("QUERY_API"));
  CHECK_FALSE(info->find("pubsub", "statestore"));
  CHECK(info->names("pubsub") == "pubsub");
  CHECK(info->names("binding") == "none");
  CHECK(entry(sidecar, "sidecar").ok());
  CHECK_THAT(std::string(message(entry(sidecar, "dapr pubsub"))),
             Catch::Contains("orders") && Catch::Contains("it has: pubsub"));
  CHECK_THAT(std::string(message(entry(sidecar, "dapr state"))),
             Catch::Contains("records") && Catch::Contains("it has: statestore"));
}

TEST_CASE("a sidecar may come late, be killed, and be frozen") {
  Daprd::Options late = options();
  late.start = false;
  Daprd daprd(late);
  Metrics metrics;
  Sidecar sidecar(config_for(daprd), metrics);
  const absl::Status before = sidecar.wait_until_reachable(milliseconds(200));
  CHECK(before.code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(message(before)), Catch::Contains(daprd.endpoint()));
  CHECK_FALSE(entry(sidecar, "sidecar").ok());

  daprd.start();
  CHECK(sidecar.wait_until_reachable(kLong).ok());
  daprd.kill();
  CHECK(eventually([&] { return !sidecar.reachable().ok(); }));
  daprd.start();
  CHECK(sidecar.wait_until_reachable(kLong).ok());
  daprd.freeze();
  const bool noticed = eventually([&] { return !sidecar.reachable().ok(); });
  daprd.thaw();
  CHECK(noticed);
  CHECK(sidecar.wait_until_reachable(kLong).ok());
}

TEST_CASE("the token is sent, and asked for where it is missing") {
  Daprd::Options guarded = options();
  guarded.api_token = "open-sesame";
  Daprd daprd(guarded);
  Metrics metrics;
  {
    unsetenv("DAPR_API_TOKEN");
    Sidecar sidecar(config_for(daprd), metrics);
    REQUIRE(eventually(
        [&] { return sidecar.reachable().code() == absl::StatusCode::kUnauthenticated; }, kLong));
    CHECK_THAT(std::string(message(sidecar.reachable())), Catch::Contains("DAPR_API_TOKEN"));
  }
  setenv("DAPR_API_TOKEN", "open-sesame", 1);
  Sidecar sidecar(config_for(daprd), metrics);
  unsetenv("DAPR_API_TOKEN");
  CHECK(sidecar.wait_until_reachable(kLong).ok());
}

TEST_CASE("a stream gives what is published, pauses, and ends as it was told") {
  Daprd daprd(options());
  Metrics metrics;
  Sidecar sidecar(config_for(daprd), metrics);
  REQUIRE(sidecar.wait_until_reachable(kLong).ok());
  Stream stream(sidecar);
  REQUIRE(eventually([&] { return stream.opened == 1; }, kLong));
  publish(sidecar, "1");
  REQUIRE(eventually([&] { return stream.seen().size() == 1; }, kLong));
  CHECK(stream.seen().front() == "1");
  stream.answer("1");

  stream.pausing = true;
  publish(sidecar, "2");
  REQUIRE(eventually([&] { return stream.seen().size() == 2; }, kLong));
  stream.answer("2");
  publish(sidecar, "3");
  CHECK_FALSE(eventually([&] { return stream.seen().size() > 2; }, milliseconds(200)));
  stream.stream->resume();
  REQUIRE(eventually([&] { return stream.seen().size() == 3; }, kLong));
  stream.answer("3");

  SECTION("closed by us") {
    stream.stream->close();
    REQUIRE(eventually([&] { return stream.ended.load(); }));
    CHECK(stream.end.code() == absl::StatusCode::kCancelled);
  }
  SECTION("let go of") {
    stream.stream.reset();
    REQUIRE(eventually([&] { return stream.ended.load(); }));
    CHECK(stream.end.code() == absl::StatusCode::kCancelled);
  }
  SECTION("the sidecar killed") {
    stream.stream->resume();
    daprd.kill();
    REQUIRE(eventually([&] { return stream.ended.load(); }));
    CHECK(stream.end.code() == absl::StatusCode::kUnavailable);
  }
  SECTION("the connection closed") {
    sidecar.close();
    CHECK(stream.ended);
    CHECK(stream.end.code() == absl::StatusCode::kCancelled);
  }
}

TEST_CASE("a subscription that the sidecar does not answer ends in time") {
  Daprd daprd(options());
  Metrics metrics;
  DaprConfig config = config_for(daprd);
  config.open_timeout = milliseconds(300);
  Sidecar sidecar(config, metrics);
  REQUIRE(sidecar.wait_until_reachable(kLong).ok());
  daprd.freeze();
  Stream stream(sidecar);
  const bool ended = eventually([&] { return stream.ended.load(); });
  daprd.thaw();
  REQUIRE(ended);
  CHECK(stream.end.code() == absl::StatusCode::kDeadlineExceeded);
}

TEST_CASE("calls and timers after the end are told, or dropped") {
  Daprd::Options away = options();
  away.start = false;
  Daprd daprd(away);
  Metrics metrics;
  std::atomic<int> told = 0, ran = 0;
  {
    Sidecar sidecar(config_for(daprd), metrics);
    const auto count = [&](const absl::StatusOr<runtime::GetStateResponse>& answer) {
      if (answer.status().code() == absl::StatusCode::kCancelled) ++told;
    };
    sidecar.call<runtime::GetStateResponse>("GetState", runtime::GetStateRequest(),
                                            {seconds(60), true}, count);
    sidecar.after(seconds(60), [&] { ++ran; });
    sidecar.after(milliseconds(1), [&] { ++ran; });
    REQUIRE(eventually([&] { return ran == 1; }));
    sidecar.close();
    CHECK(told == 1);
    sidecar.call<runtime::GetStateResponse>("GetState", runtime::GetStateRequest(), {seconds(1)},
                                            count);
    CHECK(told == 2);
    sidecar.after(milliseconds(1), [&] { ++ran; });
  }
  CHECK(ran == 1);
}

#include <google/protobuf/empty.pb.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <optional>

#include "bus/dapr/dapr_bus.h"
#include "conformance/support.h"
#include "conformance/under_test.h"
#include "core/metrics.h"
#include "dapr/daprd.h"
#include "dapr/docs_table.h"
#include "dapr/nats_server.h"
#include "dapr/proto/runtime/v1/dapr.pb.h"
#include "dapr/redis_client.h"

/// Pub/sub components of a real sidecar: in-memory, Redis and NATS JetStream.
namespace virtufin::testing {
namespace {

/// The roots that have a component of their own; all else is on `rest`.
const std::vector<std::string> kRoots{"sc", "dead", "act", "hyp", "rest"};

std::string component(const std::string& broker, const std::string& root) {
  return broker + "-" + root;
}

/// For some moments the sidecar reads on for a subscription that has ended, and on Redis takes
/// events away from the next one of that topic. So fixtures take turns with as many databases.
constexpr int kRedisDatabases = 8;
std::string redis(int database) { return "redis" + std::to_string(database); }

bool is_market(const std::string& root) { return root == "act" || root == "hyp"; }

/// The servers, started once.
struct World {
  RedisServer redis_server;
  int next_redis = 0;
  std::optional<NatsServer> nats;
  Daprd daprd;

  World() : nats(with_nats()), daprd(options()) {}

  static std::optional<NatsServer> with_nats() {
    if (dapr_tools().nats_server.empty()) return std::nullopt;
    return std::optional<NatsServer>(std::in_place);
  }
  Daprd::Options options() const {
    Daprd::Options options;
    for (const std::string& root : kRoots) {
      options.components.push_back({component("memory", root), "pubsub.in-memory", {}});
      for (int i = 0; i < kRedisDatabases; ++i) {
        options.components.push_back({component(testing::redis(i), root),
                                      "pubsub.redis",
                                      {{"redisHost", redis_server.address()},
                                       {"redisDB", std::to_string(i)},
                                       {"concurrency", "4096"},
                                       {"queueDepth", "4096"},
                                       {"processingTimeout", "5s"},
                                       {"redeliverInterval", "5s"},
                                       {"maxLenApprox", "100000"}}});
      }
      if (!nats) continue;
      Component jetstream{component("jetstream", root),
                          "pubsub.jetstream",
                          {{"natsURL", nats->url()},
                           {"deliverPolicy", "new"},
                           {"concurrency", is_market(root) ? "parallel" : "single"}}};
      if (root != "rest") {
        jetstream.metadata["streamName"] = root;
        jetstream.metadata["durableName"] = "virtufin-test-" + root;
      }
      options.components.push_back(jetstream);
    }
    options.components.push_back({"statestore", "state.in-memory", {}});
    return options;
  }
};

World& world() {
  static World world;
  return world;
}

class DaprBusUnderTest final : public BusUnderTest {
 public:
  explicit DaprBusUnderTest(const std::string& broker) : broker_(broker) {
    world();
    const bool jetstream = broker == "jetstream";
    synchronous = false;
    publisher_waits = false;
    wildcards = broker != "redis";
    any_topic = !jetstream;
    bare_roots = !jetstream;
    order_of_topics = false;
    one_at_a_time = jetstream;
    sees_earlier = broker == "redis";
    comes_again = broker != "memory";
    if (broker == "redis") {
      const int database = world().next_redis++ % kRedisDatabases;
      broker_ = testing::redis(database);
      RedisClient client(world().redis_server.port());
      client.command({"SELECT", std::to_string(database)});
      client.command({"FLUSHDB"});
    }
    if (jetstream) {
      // Topics of the suite that have no root of their own.
      const std::vector<std::string> rest{"*", "a.>", "m.>", "late.>", "nobody.>", "actor.>"};
      for (const std::string& root : kRoots) {
        world().nats->make_stream(root,
                                  root == "rest" ? rest : std::vector<std::string>{root + ".>"});
      }
    }
    DaprConfig config;
    config.endpoint = world().daprd.endpoint();
    config.probe = std::chrono::milliseconds(100);
    config.components.clear();
    for (const std::string& root : kRoots) {
      config.components[root == "rest" ? "default" : root] = component(broker_, root);
    }
    sidecar_.emplace(config, metrics_);
    REQUIRE(eventually([this] { return sidecar_->info() && sidecar_->reachable().ok(); },
                       std::chrono::seconds(30)));
    bus_.emplace(*sidecar_, clock_, bus::BusConfig(), metrics_);
  }

  bus::Bus& bus() override { return *bus_; }
  std::chrono::milliseconds block() const override { return std::chrono::milliseconds(0); }

  bool publish_from_outside(const std::string& topic, const std::string& json) override {
    dapr::proto::runtime::v1::PublishEventRequest request;
    const auto root = topic.substr(0, topic.find('.'));
    const bool known = std::find(kRoots.begin(), kRoots.end(), root) != kRoots.end();
    request.set_pubsub_name(component(broker_, known ? root : "rest"));
    request.set_topic(topic);
    request.set_data_content_type("application/cloudevents+json");
    request.set_data(json);
    std::atomic<int> done = 0;
    absl::Status result;
    using google::protobuf::Empty;
    sidecar_->call<Empty>("PublishEvent", request, {std::chrono::seconds(10)},
                          [&](absl::StatusOr<Empty> answer) {
                            result = answer.status();
                            ++done;
                          });
    REQUIRE(eventually([&] { return done == 1; }, std::chrono::seconds(15)));
    INFO(message(result));
    REQUIRE(result.ok());
    return true;
  }
  void reconnect() override {
    world().daprd.kill();
    world().daprd.start();
  }

 private:
  using DaprConfig = bus::DaprConfig;
  std::string broker_;
  Metrics metrics_;
  WallClock clock_;
  std::optional<bus::Sidecar> sidecar_;
  std::optional<bus::DaprBus> bus_;
};

}  // namespace

const std::vector<BusKind>& buses() {
  static const std::vector<BusKind> kBuses = [] {
    const auto kind = [](const std::string& name, const std::string& broker) {
      return BusKind{name, [broker] { return std::make_unique<DaprBusUnderTest>(broker); }};
    };
    std::vector<BusKind> kinds{kind("dapr, in-memory", "memory"), kind("dapr, Redis", "redis")};
    if (!dapr_tools().nats_server.empty()) {
      kinds.push_back(kind("dapr, JetStream", "jetstream"));
    } else {
      WARN("JetStream is left out: install the Debian package nats-server");
    }
    return kinds;
  }();
  return kBuses;
}

TEST_CASE("what each broker can and cannot do is as the docs say") {
  if (dapr_tools().nats_server.empty()) {
    WARN("not compared: JetStream is missing, install the Debian package nats-server");
    return;
  }
  std::vector<std::unique_ptr<BusUnderTest>> kinds;
  std::vector<std::string> columns;
  for (const BusKind& kind : buses()) {
    kinds.push_back(kind.make());
    columns.push_back(kind.name.substr(kind.name.find(' ') + 1));
  }
  const auto line = [&](const std::string& what, bool BusUnderTest::*can, const std::string& yes,
                        const std::string& no) {
    DocsLine made{what, {}};
    for (const auto& kind : kinds) made.answers.push_back(kind.get()->*can ? yes : no);
    return made;
  };
  const DocsLine always{
      "a publisher's order of a topic, in bulk too; retries that end; dead "
      "letters; events of other apps; nothing changed on the way",
      std::vector<std::string>(kinds.size(), "yes")};
  check_docs_table(
      "brokers", columns,
      {always,
       line("trailing wildcards, in roots with a component of their own", &BusUnderTest::wildcards,
            "yes", "UNIMPLEMENTED"),
       line("any non-empty topic", &BusUnderTest::any_topic, "yes",
            "NATS subjects, else INVALID_ARGUMENT"),
       line("a topic that is a root's first word alone (`act`)", &BusUnderTest::bare_roots, "yes",
            "UNAVAILABLE: no stream takes it"),
       line("what was published before a topic's first subscription", &BusUnderTest::sees_earlier,
            "is seen", "is not seen"),
       line("what is unanswered when the sidecar dies", &BusUnderTest::comes_again,
            "comes again, marked late", "is gone"),
       line("an unanswered event of a `block` subscription", &BusUnderTest::one_at_a_time,
            "holds up the others of its root, on `sc.` and infrastructure topics",
            "holds up nobody, until `queue_arrivals`"),
       line("a publisher waits for a full `block` subscription", &BusUnderTest::publisher_waits,
            "yes", "no: the broker keeps the events"),
       line("order of events of different topics", &BusUnderTest::order_of_topics, "kept",
            "not kept")});
}

}  // namespace virtufin::testing

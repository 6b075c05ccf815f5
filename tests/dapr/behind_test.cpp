#include <catch2/catch.hpp>
#include <future>
#include <mutex>
#include <optional>

#include "bus/dapr/dapr_bus.h"
#include "conformance/support.h"
#include "core/errors.h"
#include "core/event_codec.h"
#include "core/event_writer.h"
#include "core/metrics.h"
#include "core/time.h"
#include "dapr/daprd.h"
#include "dapr/nats_server.h"

/// What other programs on the broker see of us, and we of them: looked at with NATS' own client,
/// past the sidecar.
using namespace virtufin;
using namespace virtufin::testing;
using std::chrono::seconds;

namespace {

constexpr seconds kLong{30};

struct Rig {
  Rig() : daprd(options()) {
    nats.make_stream("sc", {"sc.>"});
    bus::DaprConfig config;
    config.endpoint = daprd.endpoint();
    config.components = {{"sc", "jetstream-sc"}};
    sidecar.emplace(config, metrics);
    const absl::Status reached = sidecar->wait_until_reachable(kLong);
    INFO(message(reached));
    REQUIRE(reached.ok());
    bus.emplace(*sidecar, clock, bus::BusConfig(), metrics);
  }
  Daprd::Options options() const {
    Daprd::Options options;
    options.components.push_back({"jetstream-sc",
                                  "pubsub.jetstream",
                                  {{"natsURL", nats.url()},
                                   {"streamName", "sc"},
                                   {"durableName", "virtufin-test-sc"},
                                   {"deliverPolicy", "new"},
                                   {"concurrency", "single"}}});
    return options;
  }

  NatsServer nats;
  Daprd daprd;
  Metrics metrics;
  WallClock clock;
  std::optional<bus::Sidecar> sidecar;
  std::optional<bus::DaprBus> bus;
};

/// The subscriber that an event from outside is to reach.
class Listener {
 public:
  Listener(bus::Bus& bus, const std::string& pattern) {
    bus::SubscribeOptions options;
    options.name = "listener";
    options.overflow = bus::Overflow::kBlock;
    options.on_ready = [this] { ready_ = true; };
    auto subscribed = bus.subscribe({pattern}, std::move(options),
                                    [this](const bus::Delivery& delivery, bus::Receipt receipt) {
                                      {
                                        std::lock_guard lock(mutex_);
                                        topics_.emplace_back(name(delivery.topic));
                                        events_.push_back(delivery.event);
                                      }
                                      std::move(receipt).answer(bus::Answer::kSuccess);
                                    });
    REQUIRE(subscribed.ok());
    subscription_ = std::move(*subscribed);
    REQUIRE(eventually([this] { return ready_.load(); }, kLong));
  }
  std::size_t count() const {
    std::lock_guard lock(mutex_);
    return events_.size();
  }
  EventPtr event(std::size_t index) const {
    std::lock_guard lock(mutex_);
    return events_.at(index);
  }
  std::string topic(std::size_t index) const {
    std::lock_guard lock(mutex_);
    return topics_.at(index);
  }

 private:
  std::atomic<bool> ready_{false};
  mutable std::mutex mutex_;
  std::vector<std::string> topics_;
  std::vector<EventPtr> events_;
  std::unique_ptr<bus::Subscription> subscription_;
};

bool nats_is_missing() {
  if (!dapr_tools().nats_server.empty()) return false;
  WARN("left out: install the Debian package nats-server");
  return true;
}

}  // namespace

TEST_CASE("what we publish stands in the stream with its envelope intact") {
  if (nats_is_missing()) return;
  Rig rig;
  const Extension extensions[] = {{"correlationid", "c-1"},
                                  {"scenarioid", "LIVE"},
                                  {"clocktype", "wall"},
                                  {"attempts", "3", AttributeKind::kInteger}};
  EventFields fields;
  fields.id = "order-1";
  fields.type = "com.virtufin.trading.order.requested";
  fields.source = "urn:com.virtufin.workmanager";
  fields.subject = "currency_pair/BTCUSDT";
  fields.time = "2026-01-02T03:04:05.123456789Z";
  fields.data_content_type = "application/json";
  fields.data = as_bytes(R"({"price":"1.50","qty":"2"})");
  fields.extensions = extensions;
  const auto event = make_event(fields);
  INFO(message(event.status()));
  REQUIRE(event.ok());
  std::promise<absl::Status> published;
  rig.bus->publish(rig.bus->topic("sc.LIVE.orders"), *event,
                   [&](absl::Status status) { published.set_value(std::move(status)); });
  auto done = published.get_future();
  REQUIRE(done.wait_for(kLong) == std::future_status::ready);
  const absl::Status status = done.get();
  INFO(message(status));
  REQUIRE(status.ok());

  const std::string stored = rig.nats.last_message("sc", "sc.LIVE.orders");
  INFO(stored);
  const auto seen = event_from_json(stored);
  REQUIRE(seen.ok());
  CHECK((*seen)->id() == "order-1");
  CHECK((*seen)->type() == fields.type);
  CHECK((*seen)->source() == fields.source);
  CHECK((*seen)->subject() == fields.subject);
  CHECK((*seen)->spec_version() == "1.0");
  CHECK((*seen)->time() == fields.time);
  CHECK((*seen)->data_content_type() == "application/json");
  CHECK(as_text((*seen)->data()) == R"({"price":"1.50","qty":"2"})");
  CHECK((*seen)->extension("correlationid") == "c-1");
  CHECK((*seen)->extension("scenarioid") == "LIVE");
  CHECK((*seen)->extension("attempts") == "3");
  // <instance, 16 hex>.<counter, 20 digits>
  const std::string order((*seen)->extension("busorder"));
  CHECK(order.size() == 16 + 1 + 20);
  CHECK(order.substr(0, 16).find_first_not_of("0123456789abcdef") == std::string::npos);
  CHECK(order.substr(17).find_first_not_of("0123456789") == std::string::npos);
}

TEST_CASE("an event that another program puts on the broker reaches a subscriber as it is") {
  if (nats_is_missing()) return;
  Rig rig;
  Listener listener(*rig.bus, "sc.LIVE.from_outside");
  // One subscription takes the whole root, and the sidecar tells no subject: an event says its
  // topic itself, as those do that come through Dapr.
  for (const char* id : {"theirs-1", "theirs-2"}) {
    rig.nats.publish("sc.LIVE.from_outside",
                     std::string(R"({"specversion":"1.0","id":")") + id +
                         R"(","source":"urn:elsewhere","type":"org.example.said",)"
                         R"("subject":"currency_pair/ETHUSDT","time":"2026-01-02T03:04:05Z",)"
                         R"("correlationid":"c-2","topic":"sc.LIVE.from_outside",)"
                         R"("datacontenttype":"application/json",)"
                         R"("data":{"word":"hello"}})");
  }
  REQUIRE(eventually([&] { return listener.count() == 2; }, kLong));
  CHECK(listener.event(1)->id() == "theirs-2");
  const EventPtr event = listener.event(0);
  CHECK(listener.topic(0) == "sc.LIVE.from_outside");
  CHECK(event->id() == "theirs-1");
  CHECK(event->source() == "urn:elsewhere");
  CHECK(event->type() == "org.example.said");
  CHECK(event->subject() == "currency_pair/ETHUSDT");
  CHECK(event->time() == "2026-01-02T03:04:05Z");
  CHECK(event->extension("correlationid") == "c-2");
  CHECK(as_text(event->data()) == R"({"word":"hello"})");
  // Nothing of Dapr's or of the bus' own is left on it.
  for (const char* name :
       {"busorder", "busmeta", "topic", "pubsubname", "traceid", "traceparent"}) {
    INFO(name);
    CHECK(event->extension(name).empty());
  }
}

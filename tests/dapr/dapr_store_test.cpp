#include "bus/dapr/dapr_store.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <future>

#include "conformance/support.h"
#include "core/metrics.h"
#include "dapr/daprd.h"
#include "dapr/redis_client.h"

/// What contract/dapr.md lists about state, over a real sidecar, and looked at behind it.
using namespace virtufin;
using namespace virtufin::testing;
using bus::DaprConfig;
using bus::DaprStore;
using bus::Erase;
using bus::IfAbsent;
using bus::IfEtag;
using bus::Item;
using bus::Save;
using bus::Sidecar;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr seconds kCallDeadline{30};

struct World {
  RedisServer redis;
  Daprd daprd{[this] {
    Daprd::Options options;
    options.components = {
        {"memory", "state.in-memory", {}},
        {"redis", "state.redis", {{"redisHost", redis.address()}, {"keyPrefix", "name"}}}};
    return options;
  }()};
};

World& world() {
  static World world;
  return world;
}

/// A store as one process has it.
struct Client {
  explicit Client(const std::string& name, DaprConfig given = {}) {
    given.endpoint = world().daprd.endpoint();
    given.state_store = name;
    config = given;
    sidecar.emplace(config, metrics);
    REQUIRE(sidecar->wait_until_reachable(kCallDeadline).ok());
    store.emplace(*sidecar, metrics);
  }

  template <class T>
  absl::StatusOr<T> wait(const std::function<void(bus::Done<T>)>& start) {
    std::promise<absl::StatusOr<T>> promise;
    auto future = promise.get_future();
    start([&](absl::StatusOr<T> result) { promise.set_value(std::move(result)); });
    REQUIRE(future.wait_for(kCallDeadline) == std::future_status::ready);
    return future.get();
  }
  absl::Status save(Save write) {
    return wait<std::string>([&](auto done) { store->save(std::move(write), std::move(done)); })
        .status();
  }
  absl::Status erase(Erase write) {
    return wait<std::monostate>([&](auto done) { store->erase(std::move(write), std::move(done)); })
        .status();
  }
  absl::StatusOr<Item> get(const std::string& key) {
    return wait<Item>([&](auto done) { store->get(key, std::move(done)); });
  }
  std::uint64_t calls(const std::string& method) {
    const std::string text = metrics.prometheus_text();
    const std::string series = "virtufin_dapr_calls_total{method=\"" + method + "\"} ";
    const auto at = text.find(series);
    REQUIRE(at != text.npos);
    return std::stoull(text.substr(at + series.size()));
  }

  DaprConfig config;
  Metrics metrics;
  std::optional<Sidecar> sidecar;
  std::optional<DaprStore> store;
};

}  // namespace

TEST_CASE("a record stands in Redis under component and key, with its etag and ttl") {
  Client client("redis");
  RedisClient behind(world().redis.port());
  REQUIRE(client.save({"ours.key", "value", {}, seconds(100)}).ok());
  const auto item = client.get("ours.key");
  REQUIRE(item.ok());
  auto fields = behind.hash("redis||ours.key");
  CHECK(fields["data"] == "value");
  CHECK(fields["version"] == item->etag);
  const auto left = behind.integer({"TTL", "redis||ours.key"});
  CHECK(left > 90);
  CHECK(left <= 100);
  REQUIRE(client.save({"ours.key", "again", {}, {}}).ok());
  CHECK(behind.integer({"TTL", "redis||ours.key"}) == -1);
  CHECK(behind.hash("redis||ours.key")["data"] == "again");
  REQUIRE(client.erase({"ours.key", {}}).ok());
  CHECK(behind.integer({"EXISTS", "redis||ours.key"}) == 0);
}

TEST_CASE("a lock is taken by one, also on Redis and over a key written plainly before") {
  const std::string store = GENERATE("memory", "redis");
  INFO(store);
  Client one(store), other(store);
  REQUIRE(one.erase({"lock", {}}).ok());
  REQUIRE(one.save({"lock", "plain", {}, {}}).ok());
  CHECK(one.save({"lock", "mine", IfAbsent{}, {}}).code() == absl::StatusCode::kAborted);
  CHECK(one.get("lock")->value == "plain");
  for (int round = 0; round < 20; ++round) {
    const std::string key = "lock." + std::to_string(round);
    std::atomic<int> won = 0, lost = 0;
    const auto count = [&](const absl::StatusOr<std::string>& result) {
      if (result.ok()) ++won;
      if (result.status().code() == absl::StatusCode::kAborted) ++lost;
    };
    one.store->save({key, "one", IfAbsent{}, {}}, count);
    other.store->save({key, "other", IfAbsent{}, {}}, count);
    REQUIRE(eventually([&] { return won + lost == 2; }, kCallDeadline));
    CHECK(won == 1);
  }
  // The one who holds it renews it, and lets it go; then the other one may.
  const Item held = *one.get("lock.0");
  REQUIRE(one.save({"lock.0", "renewed", IfEtag{held.etag}, {}}).ok());
  CHECK(other.save({"lock.0", "stolen", IfEtag{held.etag}, {}}).code() ==
        absl::StatusCode::kAborted);
  CHECK(other.save({"lock.0", "stolen", IfAbsent{}, {}}).code() == absl::StatusCode::kAborted);
  REQUIRE(one.erase({"lock.0", {}}).ok());
  CHECK(other.save({"lock.0", "theirs", IfAbsent{}, {}}).ok());
}

TEST_CASE("a plain write goes over a key that was a lock") {
  const std::string store = GENERATE("memory", "redis");
  INFO(store);
  Client client(store);
  REQUIRE(client.erase({"once.lock", {}}).ok());
  REQUIRE(client.save({"once.lock", "lock", IfAbsent{}, {}}).ok());
  REQUIRE(client.save({"once.lock", "plain", {}, {}}).ok());
  REQUIRE(client.save({"once.lock", "again", {}, {}}).ok());
  CHECK(client.get("once.lock")->value == "again");
  const absl::Status status =
      client
          .wait<std::monostate>([&](auto done) {
            client.store->transact({Save{"once.lock", "whole", {}, {}}}, std::move(done));
          })
          .status();
  INFO(message(status));
  CHECK(status.ok());
  CHECK(client.get("once.lock")->value == "whole");
}

TEST_CASE("an etag of another store's form is a conflict on every component") {
  const std::string store = GENERATE("memory", "redis");
  INFO(store);
  Client client(store);
  REQUIRE(client.save({"formed", "v", {}, {}}).ok());
  for (const std::string etag : {"no-number", "4711", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}) {
    CHECK(client.save({"formed", "w", IfEtag{etag}, {}}).code() == absl::StatusCode::kAborted);
    CHECK(client.erase({"formed", IfEtag{etag}}).code() == absl::StatusCode::kAborted);
    CHECK(client.save({"unformed", "w", IfEtag{etag}, {}}).code() == absl::StatusCode::kAborted);
  }
  CHECK(client.get("formed")->value == "v");
  CHECK(client.get("unformed")->etag.empty());
}

TEST_CASE("an unknown store is refused with those that there are") {
  Client client("nowhere");
  for (const absl::Status& status :
       {client.save({"k", "v", {}, {}}), client.get("k").status(), client.erase({"k", {}})}) {
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(message(status)),
               Catch::Contains("'nowhere'") && Catch::Contains("memory, redis"));
  }
  bool told = false;
  for (const auto& entry : client.sidecar->health()) {
    if (entry.name != "dapr state") continue;
    told = true;
    CHECK_FALSE(entry.status.ok());
    CHECK_THAT(std::string(message(entry.status)), Catch::Contains("nowhere"));
  }
  CHECK(told);
}

TEST_CASE("a query is refused with the store's name where it cannot be answered") {
  const std::string store = GENERATE("memory", "redis");
  Client client(store);
  const auto status = client
                          .wait<std::vector<Item>>(
                              [&](auto done) { client.store->query("{}", 0, std::move(done)); })
                          .status();
  CHECK(status.code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(message(status)), Catch::Contains("'" + store + "'"));
}

TEST_CASE("saves that wait go together, and a bad one spoils none of the others") {
  Client client("redis");
  constexpr int kSaves = 2000;
  REQUIRE(client.erase({"group.7", {}}).ok());
  REQUIRE(client.save({"group.7", "lock", IfAbsent{}, {}}).ok());
  const auto before = client.calls("SaveState");
  std::atomic<int> ok = 0, failed = 0;
  for (int i = 0; i < kSaves; ++i) {
    client.store->save({"group." + std::to_string(i), std::to_string(i), {}, {}},
                       [&](const auto& result) { ++(result.ok() ? ok : failed); });
  }
  REQUIRE(eventually([&] { return ok + failed == kSaves; }, kCallDeadline));
  CHECK(failed == 0);
  // Groups of 100, and one group again one by one because of the lock in it.
  CHECK(client.calls("SaveState") - before < 400);
  for (const int i : {0, 7, 1999}) {
    CHECK(client.get("group." + std::to_string(i))->value == std::to_string(i));
  }
}

TEST_CASE("operations that find no room fail at once, those that wait when their time is over") {
  DaprConfig config;
  config.queue_writes = 10;
  config.call_timeout = milliseconds(500);
  config.queue_wait = seconds(2);  // longer than twelve saves take on a busy machine
  config.probe = milliseconds(100);
  config.save_calls = 1;
  config.save_max = 2;
  Client client("memory", config);
  REQUIRE(client.save({"room", "v", {}, {}}).ok());

  world().daprd.freeze();
  std::atomic<int> unavailable = 0, other = 0;
  for (int i = 0; i < 12; ++i) {
    client.store->save({"room." + std::to_string(i), "v", {}, {}}, [&](const auto& result) {
      ++(result.status().code() == absl::StatusCode::kUnavailable ? unavailable : other);
    });
    if (i == 9) CHECK(unavailable == 0);
  }
  CHECK(unavailable == 2);
  const bool all = eventually([&] { return unavailable + other == 12; });
  const bool away = eventually([&] { return !client.sidecar->reachable().ok(); });
  const absl::Status health = client.store->health();
  world().daprd.thaw();
  CHECK(all);
  CHECK(other == 0);
  CHECK(away);
  CHECK(health.code() == absl::StatusCode::kUnavailable);

  CHECK(eventually([&] { return client.sidecar->reachable().ok(); }, kCallDeadline));
  CHECK(eventually([&] { return client.save({"room", "w", {}, {}}).ok(); }, kCallDeadline));
  CHECK(client.get("room")->value == "w");
  CHECK(client.store->health().ok());
}

TEST_CASE("a long line for one key fails as a whole, however its callers go on") {
  DaprConfig config;
  config.call_timeout = milliseconds(500);
  config.queue_wait = milliseconds(100);
  Client client("memory", config);
  constexpr int kWrites = 5000;
  world().daprd.freeze();
  std::atomic<int> unavailable = 0, other = 0;
  const auto count = [&](const absl::StatusOr<std::string>& result) {
    ++(result.status().code() == absl::StatusCode::kUnavailable ? unavailable : other);
  };
  for (int i = 0; i < kWrites; ++i) {
    client.store->save({"line", "v", {}, {}}, [&](const absl::StatusOr<std::string>& result) {
      count(result);
      client.store->save({"line", "again", {}, {}}, count);
    });
  }
  const bool all = eventually([&] { return unavailable + other == 2 * kWrites; }, kCallDeadline);
  world().daprd.thaw();
  CHECK(all);
  CHECK(other == 0);
}

TEST_CASE("a store that fails behind the sidecar is told, and used again when it is back") {
  Client client("redis");
  REQUIRE(client.save({"behind", "v", {}, {}}).ok());
  world().redis.child().kill();
  CHECK(client.save({"behind", "w", {}, {}}).code() == absl::StatusCode::kUnavailable);
  const auto failed = client.get("behind").status();
  CHECK(failed.code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(message(failed)), Catch::Contains("'redis'"));
  CHECK_FALSE(client.store->health().ok());
  world().redis.restart();
  CHECK(eventually([&] { return client.save({"behind", "x", {}, {}}).ok(); }, kCallDeadline));
  CHECK(eventually([&] { return client.get("behind").ok(); }, kCallDeadline));
  CHECK(client.store->health().ok());
}

TEST_CASE("what waits when the store is closed fails, and nothing is called later") {
  std::atomic<int> told = 0;
  {
    DaprConfig config;
    config.save_calls = 1;
    config.save_max = 1;
    Client client("memory", config);
    for (int i = 0; i < 50; ++i) {
      client.store->save({"closing." + std::to_string(i), "v", {}, {}},
                         [&](const auto&) { ++told; });
    }
    client.store->get("closing.0", [&](const auto&) { ++told; });
    client.store.reset();
    CHECK(told == 51);
  }
  CHECK(told == 51);
}

#include <catch2/catch.hpp>
#include <optional>

#include "bus/dapr/dapr_store.h"
#include "conformance/support.h"
#include "conformance/under_test.h"
#include "core/metrics.h"
#include "dapr/daprd.h"
#include "dapr/docs_table.h"
#include "dapr/redis_client.h"

/// State components of a real sidecar: in-memory and Redis.
namespace virtufin::testing {
namespace {

/// One in-memory component for each fixture of a run: none sees what another one saved.
constexpr int kInMemoryStores = 64;
constexpr char kRedisStore[] = "redis-state";

/// The servers, started once.
struct World {
  RedisServer redis;
  int next_in_memory = 0;
  Daprd daprd{[this] {
    Daprd::Options options;
    for (int i = 0; i < kInMemoryStores; ++i) {
      options.components.push_back({in_memory(i), "state.in-memory", {}});
    }
    options.components.push_back(
        {kRedisStore, "state.redis", {{"redisHost", redis.address()}, {"keyPrefix", "name"}}});
    return options;
  }()};

  static std::string in_memory(int i) { return "memory-" + std::to_string(i); }
};

World& world() {
  static World world;
  return world;
}

class DaprStoreUnderTest final : public StoreUnderTest {
 public:
  explicit DaprStoreUnderTest(bool redis) : redis_(redis) {
    queries = false;
    durable = true;
    tells_etag = false;
    etags_repeat = redis;
    ttl = std::chrono::seconds(6);
    config_.endpoint = world().daprd.endpoint();
    if (redis) {
      config_.state_store = kRedisStore;
      RedisClient(world().redis.port()).command({"FLUSHALL"});
    } else {
      REQUIRE(world().next_in_memory < kInMemoryStores);
      config_.state_store = World::in_memory(world().next_in_memory++);
    }
    open();
  }

  bus::StateStore& store() override { return *store_; }
  void reopen() override {
    store_.reset();
    sidecar_.reset();
    if (redis_) {
      world().daprd.stop();
      world().daprd.start();
    }
    open();
  }
  void pass(std::chrono::seconds time) override { std::this_thread::sleep_for(time); }

 private:
  void open() {
    sidecar_.emplace(config_, metrics_);
    REQUIRE(eventually([this] { return ready(); }, std::chrono::seconds(30)));
    store_ = std::make_unique<bus::DaprStore>(*sidecar_, metrics_);
  }
  bool ready() const {
    const auto info = sidecar_->info();
    return sidecar_->reachable().ok() && info && info->find("state", config_.state_store);
  }

  const bool redis_;
  bus::DaprConfig config_;
  Metrics metrics_;
  std::optional<bus::Sidecar> sidecar_;
  std::unique_ptr<bus::DaprStore> store_;
};

}  // namespace

const std::vector<StoreKind>& stores() {
  static const std::vector<StoreKind> kStores{
      {"dapr, in-memory", [] { return std::make_unique<DaprStoreUnderTest>(false); }},
      {"dapr, Redis", [] { return std::make_unique<DaprStoreUnderTest>(true); }},
  };
  return kStores;
}

TEST_CASE("what each store can and cannot do is as the docs say") {
  std::vector<std::unique_ptr<StoreUnderTest>> kinds;
  std::vector<std::string> columns;
  for (const StoreKind& kind : stores()) {
    kinds.push_back(kind.make());
    columns.push_back(kind.name.substr(kind.name.find(' ') + 1));
  }
  const auto line = [&](const std::string& what, bool StoreUnderTest::*can, const std::string& yes,
                        const std::string& no) {
    DocsLine made{what, {}};
    for (const auto& kind : kinds) made.answers.push_back(kind.get()->*can ? yes : no);
    return made;
  };
  const DocsLine always{"conditions, locks by first write, transactions, ttl, many keys at once",
                        std::vector<std::string>(kinds.size(), "yes")};
  check_docs_table("stores", columns,
                   {always, line("query", &StoreUnderTest::queries, "yes", "UNIMPLEMENTED"),
                    line("`save` answers the new etag", &StoreUnderTest::tells_etag, "yes",
                         "no: ask with `get`"),
                    line("the etag of a key that was erased and made again",
                         &StoreUnderTest::etags_repeat, "may be one that it had", "is new")});
}

}  // namespace virtufin::testing

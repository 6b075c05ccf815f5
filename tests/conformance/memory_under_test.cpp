#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "bus/memory/memory_bus.h"
#include "bus/memory/memory_store.h"
#include "conformance/under_test.h"
#include "core/errors.h"
#include "core/metrics.h"

/// The in-memory implementations: they can do everything.
namespace virtufin::testing {
namespace {

class MemoryBusUnderTest final : public BusUnderTest {
 public:
  bus::Bus& bus() override { return bus_; }
  std::chrono::milliseconds block() const override { return config().block_ms; }

 private:
  static bus::BusConfig config() {
    bus::BusConfig config;
    config.block_ms = std::chrono::milliseconds(100);
    return config;
  }
  Metrics metrics_;
  bus::MemoryBus bus_{config(), metrics_};
};

class MemoryStoreUnderTest final : public StoreUnderTest {
 public:
  explicit MemoryStoreUnderTest(std::string durability) {
    static int count = 0;
    config_.durability = std::move(durability);
    durable = config_.durability != "none";
    directory_ =
        std::filesystem::temp_directory_path() /
        ("virtufin-conformance-" + std::to_string(getpid()) + "-" + std::to_string(count++));
    std::filesystem::create_directories(directory_);
    config_.path = (directory_ / "state.db").string();
    config_.expire_ms = std::chrono::milliseconds(5);
    open();
  }
  ~MemoryStoreUnderTest() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  bus::StateStore& store() override { return *store_; }
  void reopen() override {
    store_.reset();
    open();
  }
  void pass(std::chrono::seconds time) override { clock_.advance_to(clock_.now() + time); }

 private:
  void open() {
    auto opened = bus::MemoryStore::open(config_, clock_, metrics_);
    INFO(message(opened.status()));
    REQUIRE(opened.ok());
    store_ = *std::move(opened);
  }

  std::filesystem::path directory_;
  bus::StateConfig config_;
  HistoricalClock clock_{TimePoint(std::chrono::hours(24 * 365 * 50))};
  Metrics metrics_;
  std::unique_ptr<bus::MemoryStore> store_;
};

}  // namespace

const std::vector<BusKind>& buses() {
  static const std::vector<BusKind> kBuses{
      {"memory", [] { return std::make_unique<MemoryBusUnderTest>(); }},
  };
  return kBuses;
}

const std::vector<StoreKind>& stores() {
  static const std::vector<StoreKind> kStores{
      {"memory, none", [] { return std::make_unique<MemoryStoreUnderTest>("none"); }},
      {"memory, batched", [] { return std::make_unique<MemoryStoreUnderTest>("batched"); }},
      {"memory, commit", [] { return std::make_unique<MemoryStoreUnderTest>("commit"); }},
  };
  return kStores;
}

}  // namespace virtufin::testing

#include "app/backbone.h"

#include <algorithm>
#include <chrono>

#include "bus/dapr/dapr_bus.h"
#include "bus/dapr/dapr_store.h"
#include "bus/dapr/sidecar.h"
#include "core/errors.h"

namespace virtufin::app {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// How long a stop may go unnoticed while waiting for a sidecar.
constexpr milliseconds kSlice{100};

class InMemory final : public Backbone {
 public:
  InMemory(const ProcessConfig& config, Metrics& metrics, std::unique_ptr<bus::MemoryStore> opened)
      : bus_(config.bus, metrics), store_(std::move(opened)) {}

  absl::Status await(const std::function<bool()>&) override { return absl::OkStatus(); }
  bus::Bus& bus() override { return bus_; }
  bus::StateStore& store() override { return *store_; }
  std::vector<HealthEntry> health() const override { return {{"state", store_->health()}}; }

 private:
  bus::MemoryBus bus_;
  const std::unique_ptr<bus::MemoryStore> store_;
};

class BehindSidecar final : public Backbone {
 public:
  BehindSidecar(const ProcessConfig& config, const Clock& clock, Metrics& metrics)
      : start_wait_(config.dapr.start_wait),
        sidecar_(config.dapr, metrics),
        bus_(sidecar_, clock, config.bus, metrics),
        store_(sidecar_, metrics) {}

  absl::Status await(const std::function<bool()>& stop_asked) override {
    const auto deadline = steady_clock::now() + start_wait_;
    for (;;) {
      const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
      absl::Status status =
          sidecar_.wait_until_reachable(std::clamp(left, milliseconds(0), kSlice));
      if (status.ok()) return status;
      if (stop_asked && stop_asked()) return cancelled("asked to stop before the sidecar was up");
      if (left <= milliseconds(0)) return status;
    }
  }

  bus::Bus& bus() override { return bus_; }
  bus::StateStore& store() override { return store_; }
  std::vector<HealthEntry> health() const override {
    std::vector<HealthEntry> all = sidecar_.health();
    for (HealthEntry& entry : bus_.health()) all.push_back(std::move(entry));
    all.push_back({"state", store_.health()});
    return all;
  }

 private:
  const milliseconds start_wait_;
  bus::Sidecar sidecar_;  // first: outlives what uses it
  bus::DaprBus bus_;
  bus::DaprStore store_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backbone>> Backbone::make(const ProcessConfig& config,
                                                         const Clock& clock, Metrics& metrics) {
  if (config.bus_kind == kBusDapr) {
    return std::make_unique<BehindSidecar>(config, clock, metrics);
  }
  auto opened = bus::MemoryStore::open(config.state, clock, metrics);
  if (!opened.ok()) return with_context(opened.status(), "state");
  return std::make_unique<InMemory>(config, metrics, std::move(*opened));
}

}  // namespace virtufin::app

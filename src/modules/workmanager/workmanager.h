#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "core/module.h"
#include "modules/platform.h"
#include "modules/workmanager/config.h"
#include "modules/workmanager/counters.h"

namespace virtufin::workmanager {

/// Loads workers, routes events to them, publishes and records what they return
/// (contract/workmanager.md). Serves `virtufin.WorkManager` in the method table.
///
/// Life: as Module; start() brings back the workers of the state store in their saved state. A
/// worker that cannot be loaded is reported and tried again, and holds up nothing.
/// Threads: totals() and health() from any; the methods run on the platform's blocking pool.
class WorkManagerModule final : public Module {
 public:
  WorkManagerModule(Platform& platform, WorkManagerConfig config);
  ~WorkManagerModule() override;

  std::string_view name() const override { return "workmanager"; }
  absl::Status start() override;
  void close_intake() override;
  void stop(std::chrono::steady_clock::time_point deadline) override;
  std::vector<HealthEntry> health() const override;

  /// Of all workers that ever lived in this process, deleted ones included.
  Totals totals() const;

 private:
  class Impl;
  rpc::MethodTable* methods_ = nullptr;
  std::shared_ptr<Impl> impl_;
};

}  // namespace virtufin::workmanager

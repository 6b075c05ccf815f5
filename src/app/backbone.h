#pragma once

#include <absl/status/statusor.h>

#include <functional>
#include <memory>
#include <vector>

#include "app/process_config.h"
#include "bus/bus.h"
#include "bus/state_store.h"
#include "core/metrics.h"
#include "core/module.h"
#include "core/time.h"

namespace virtufin::app {

/// Where the modules meet, as `bus.kind` says: bus and state store in this process's memory, or
/// both behind a Dapr sidecar. The one place that knows which.
///
/// Life: made, await(), then used; outlives the modules. Clock and metrics outlive it.
/// Threads: await() on the main thread, all else any.
class Backbone {
 public:
  /// Fails if the state file cannot be opened. A sidecar is only connected to.
  static absl::StatusOr<std::unique_ptr<Backbone>> make(const ProcessConfig& config,
                                                        const Clock& clock, Metrics& metrics);
  virtual ~Backbone() = default;

  /// Waits until it can be used: for a sidecar, at most `bus.dapr.start_wait_ms`, looking now and
  /// then whether `stop_asked` (CANCELLED). UNAVAILABLE with what to do.
  virtual absl::Status await(const std::function<bool()>& stop_asked) = 0;

  virtual bus::Bus& bus() = 0;
  virtual bus::StateStore& store() = 0;
  virtual std::vector<HealthEntry> health() const = 0;
};

}  // namespace virtufin::app

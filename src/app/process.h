#pragma once

#include <absl/status/status.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/process_config.h"
#include "modules/platform.h"

namespace virtufin {
namespace gateway {
class GatewayModule;
}
namespace venue {
class VenueModule;
}
namespace workmanager {
class WorkManagerModule;
}
namespace wsm {
class WsmModule;
}
}  // namespace virtufin

namespace virtufin::app {

/// Where one module is reached, with the ports that were chosen for 0.
struct ModuleAddress {
  std::string module;
  rpc::Endpoint http;
  rpc::Endpoint grpc;
};

/// All that runs in one process: the shared rooms, the enabled modules, the two servers.
///
/// Life: constructed, start(), stop(), destroyed; start() binds every port before anything starts,
/// so a port in use changes nothing. stop() is idempotent and also done by the destructor.
/// Threads: all methods on the thread that constructed it, the main one. `run`, the demo and tests
/// use it alike.
class Process {
 public:
  explicit Process(ProcessConfig config);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  /// UNAVAILABLE naming host and port for one in use, or a sidecar that does not come up; what a
  /// module says if it cannot start. CANCELLED if `stop_asked` while waiting for a sidecar; health
  /// is answered meanwhile.
  absl::Status start(const std::function<bool()>& stop_asked = {});

  /// Readiness flips, the intake closes, what is in hand finishes within `process.drain_ms`.
  void stop();

  const ProcessConfig& config() const;
  const std::string& instance_id() const;
  /// Of the modules with ports, in the order of start: the gateway first if it is enabled.
  const std::vector<ModuleAddress>& addresses() const;
  /// The shared rooms. After start().
  Platform& platform();

  /// Null if switched off, and before start().
  gateway::GatewayModule* gateway();
  workmanager::WorkManagerModule* workmanager();
  venue::VenueModule* venue();
  wsm::WsmModule* wsm();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace virtufin::app

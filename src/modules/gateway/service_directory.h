#pragma once

#include <absl/status/status.h>

#include <memory>
#include <vector>

#include "core/executor.h"
#include "modules/gateway/config.h"
#include "modules/gateway/service_spec.h"
#include "rpc/backends.h"

namespace virtufin::gateway {

/// Which services there are beyond this process: those of the config and those of services.json,
/// which is read again when it changes. What it says goes to the backends; a file that does not
/// parse, or is gone, changes nothing and is told in the log.
///
/// Life: start() when all modules have registered their methods; stop() before the backends close.
/// The backends, the loop and the pool outlive it. Threads: main, not a loop's; services() from
/// any.
class ServiceDirectory {
 public:
  ServiceDirectory(const GatewayConfig& config, rpc::Backends& backends, Loop& loop,
                   BlockingPool& blocking);
  ~ServiceDirectory();

  /// NOT_FOUND, INVALID_ARGUMENT for a services.json that cannot be used.
  absl::Status start();
  void stop();

  using Services = std::vector<ServiceSpec>;
  std::shared_ptr<const Services> services() const;

 private:
  struct Impl;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace virtufin::gateway

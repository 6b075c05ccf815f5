#pragma once

#include <absl/status/status.h>

#include "core/errors.h"
#include "rpc/health.h"

namespace virtufin::rpc {

/// Whether a call from outside may come in: the one place that both servers ask, before they look
/// for the method. Health, liveness and metrics are not asked for.
inline absl::Status admit(const Health& health) {
  if (health.serving()) return absl::OkStatus();
  return unavailable("this process is starting or stopping and takes no calls; try again shortly");
}

}  // namespace virtufin::rpc

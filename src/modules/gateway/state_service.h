#pragma once

#include "modules/gateway/config.h"
#include "modules/platform.h"

namespace virtufin::gateway {

/// State: records with etags over the platform's store, with notifications of change
/// (contract/gateway.md, State). The handlers are its only trace; they run on any thread.
void register_state_service(Platform& platform, const GatewayConfig& config);

}  // namespace virtufin::gateway

#pragma once

#include "modules/gateway/config.h"
#include "rpc/method.h"

namespace virtufin::gateway {

/// Config: where the registered services are. In one process all are behind the gateway's port.
void register_config_service(rpc::MethodTable& methods, const GatewayConfig& config);

}  // namespace virtufin::gateway

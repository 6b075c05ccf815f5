#pragma once

#include "modules/gateway/config.h"
#include "rpc/method.h"

namespace virtufin::gateway {

class ServiceDirectory;

/// Config: where the registered services are: those of this process behind the gateway's port,
/// those of others (`directory`, or null without any; outlives the table's rows) where they are.
void register_config_service(rpc::MethodTable& methods, const GatewayConfig& config,
                             const ServiceDirectory* directory = nullptr);

}  // namespace virtufin::gateway

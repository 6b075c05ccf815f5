#pragma once

#include "bus/bus.h"
#include "bus/state_store.h"
#include "core/metrics.h"
#include "core/time.h"
#include "modules/gateway/config.h"
#include "rpc/method.h"

namespace virtufin::gateway {

/// State: records with etags over the platform's store, with notifications of change
/// (contract/gateway.md, State). The handlers are its only trace; they run on any thread.
void register_state_service(rpc::MethodTable& methods, bus::StateStore& store, bus::Bus& bus,
                            const Clock& clock, Metrics& metrics, const GatewayConfig& config);

}  // namespace virtufin::gateway

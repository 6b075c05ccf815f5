#pragma once

#include <string>

#include "bus/bus.h"
#include "bus/state_store.h"
#include "core/executor.h"
#include "core/metrics.h"
#include "core/time.h"
#include "rpc/health.h"
#include "rpc/method.h"
#include "rpc/server.h"

namespace virtufin {

/// The shared rooms that every module is given. All outlive the modules.
struct Platform {
  const Clock& clock;
  bus::Bus& bus;
  bus::StateStore& store;
  rpc::MethodTable& methods;
  rpc::HttpServer& http;
  rpc::Health& health;
  Metrics& metrics;
  Loops& loops;
  BlockingPool& blocking;
  std::string instance_id;  ///< of this process, in records, lifecycle events and event ids
};

}  // namespace virtufin

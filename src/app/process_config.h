#pragma once

#include <absl/status/statusor.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "bus/dapr/dapr_config.h"
#include "bus/memory/memory_bus.h"
#include "bus/memory/memory_store.h"
#include "core/config.h"
#include "core/log.h"
#include "modules/gateway/config.h"
#include "modules/venue/config.h"
#include "modules/workmanager/config.h"
#include "modules/wsm/config.h"
#include "rpc/server.h"

namespace virtufin::app {

/// What `bus.kind` may be.
inline constexpr char kBusMemory[] = "memory";
inline constexpr char kBusDapr[] = "dapr";

/// Everything that a process can be told, each room's section in its own struct. The defaults are
/// those of `virtufin run` without a file: all on loopback, in memory.
struct ProcessConfig {
  std::size_t loops = 2;             ///< event loops, a thread each
  std::size_t blocking_threads = 2;  ///< for work that blocks: disk, dlopen
  std::size_t blocking_queue = 1024;
  std::string instance_id;  ///< empty: a random one
  std::chrono::milliseconds drain{10'000};

  bool gateway_enabled = true;
  bool wsm_enabled = true;
  bool workmanager_enabled = true;
  bool venue_enabled = false;

  LogConfig log;
  std::string bus_kind = kBusMemory;
  bus::BusConfig bus;
  bus::DaprConfig dapr;
  bus::StateConfig state;
  rpc::ServerLimits server;
  gateway::GatewayConfig gateway;
  wsm::WsmConfig wsm;
  workmanager::WorkManagerConfig workmanager;
  venue::VenueConfig venue;

  /// Reads every section, of modules that are switched off too: a wrong key is one anywhere.
  void read(Config& config);
};

struct LoadedConfig {
  ProcessConfig process;
  std::string effective;  ///< as TOML
};

/// From a file (empty: none) and the environment; all complaints at once.
absl::StatusOr<LoadedConfig> load_config(const std::string& path, Config::Environment environment);

/// One sentence per default that is convenient and not safe, for people to read at start.
std::vector<std::string> unsafe_settings(const ProcessConfig& config);

}  // namespace virtufin::app

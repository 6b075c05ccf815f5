#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "modules/gateway/service_spec.h"
#include "rpc/backends.h"

namespace virtufin::gateway {

/// Section `gateway`.
struct GatewayConfig {
  std::string host = "127.0.0.1";
  std::uint16_t http_port = 5001;
  std::uint16_t grpc_port = 5002;
  std::string advertised_host;  ///< what Config.GetService tells; empty: `host`

  std::size_t max_streams = 5000;
  std::size_t max_topics_per_stream = 256;
  std::size_t stream_queue_events = 4096;   ///< of a Subscribe that names no bound of its own
  std::size_t fanout_queue_events = 65536;  ///< between the bus and the streams' queues
  std::chrono::milliseconds sse_comment{15'000};

  std::size_t max_key_bytes = 1024;
  std::size_t max_value_bytes = 4 << 20;
  std::size_t max_bulk_keys = 1000;
  std::size_t max_query_items = 1000;

  /// Services of other processes, and a file with more of them that is read when it changes.
  std::vector<ServiceSpec> other_services;
  std::string services_file;
  std::chrono::milliseconds services_poll{1'000};
  rpc::BackendLimits backends;

  /// Registered beside `api`, `workmanager`, …: what `[state] services` holds, handed in by main.
  std::vector<std::string> services;
  /// What Config tells of the bus and the store; handed in by main.
  std::string bus_name = "memory";
  std::string store_name = "memory";

  void read(ConfigSection section);
};

/// The names that State takes as `service`: the four that always are, then the configured ones.
std::vector<std::string> registered_services(const GatewayConfig& config);

}  // namespace virtufin::gateway

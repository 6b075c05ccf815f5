#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace virtufin {
class ConfigSection;
}

namespace virtufin::bus {

/// Section `[bus.dapr]`: which sidecar, which of its components, and every bound of the adapter.
/// The token comes from `DAPR_API_TOKEN` alone and is no key.
struct DaprConfig {
  /// `host:port` of the sidecar's gRPC API. Empty: `DAPR_GRPC_ENDPOINT`, else 127.0.0.1 and
  /// `DAPR_GRPC_PORT`, else 50001.
  std::string endpoint;

  /// Pub/sub component by the first words of a topic (`sc`, `act`, …; a trailing dot is allowed);
  /// the longest match wins, `default` takes the rest.
  std::map<std::string, std::string> components{
      {"sc", "pubsub-sc"},
      {"dead", "pubsub-dead"},
      {"act", "pubsub-act"},
      {"hyp", "pubsub-hyp"},
      {"gateway", "pubsub-gateway"},
      {"websocketmanager", "pubsub-websocketmanager"},
      {"workmanager", "pubsub-workmanager"},
      {"command", "pubsub-command"},
      {"response", "pubsub-response"},
      {"state", "pubsub-state"},
      {"default", "pubsub"},
  };
  std::string state_store = "statestore";

  std::size_t bulk_max = 64;                    ///< events of one bulk; far below `concurrency`
  std::size_t bulk_bytes_max = 1u << 20;        ///< and their bytes; daprd takes 4 MiB by default
  std::size_t publish_calls = 256;              ///< calls that publish, one per topic, at once
  std::size_t queue_arrivals = 4096;            ///< here and not dealt with, of one stream
  std::chrono::milliseconds reorder_wait{200};  ///< for an event whose successors are here
  std::size_t reorder_events = 4096;            ///< that wait in one window
  std::size_t reorder_total = 65'536;           ///< that wait in all windows of a stream
  std::size_t publishers_max = 10'000;          ///< counters, and windows, kept at once
  std::chrono::milliseconds publisher_idle{600'000};  ///< after which one is dropped
  int replicas = 1;  ///< of this app id; order is restored only for 1

  std::size_t queue_publishes = 16'384;         ///< that wait for the sidecar, all topics
  std::size_t queue_publish_bytes = 64u << 20;  ///< and their bytes
  std::size_t queue_writes = 8192;              ///< state writes and reads that wait or are out
  std::size_t queue_write_bytes = 64u << 20;    ///< and their bytes
  std::size_t save_max = 100;                   ///< writes that go in one call
  std::size_t save_bytes_max = 1u << 20;        ///< and their bytes; daprd takes 4 MiB by default
  std::size_t save_calls = 4;                   ///< of these calls at once
  std::size_t state_calls = 64;                 ///< calls of all other state operations at once
  std::chrono::milliseconds queue_wait{5'000};  ///< how long one waits for a sidecar that is away
  std::size_t message_bytes_max = 16u << 20;    ///< of one message from the sidecar

  std::chrono::milliseconds call_timeout{5'000};   ///< of one call
  std::chrono::milliseconds open_timeout{10'000};  ///< until a subscription's first answer
  std::chrono::milliseconds reopen_first{50};    ///< before a lost stream is opened again; doubles
  std::chrono::milliseconds reopen_max{5'000};   ///< up to this, with jitter
  std::chrono::milliseconds probe{1'000};        ///< between two looks at the sidecar's metadata
  std::chrono::milliseconds start_wait{30'000};  ///< for a sidecar that is not up yet

  void read(ConfigSection section);

  /// `endpoint`, or what stands for it in the environment.
  std::string resolved_endpoint() const;
  /// The pub/sub component of a topic as it is on the broker; empty if the map has none.
  std::string_view component_of(std::string_view topic) const;
  /// The words of the map that matched, `default` included; empty if the map has none.
  std::string_view root_of(std::string_view topic) const;
  /// All pub/sub components of the map, each once, sorted.
  std::vector<std::string> pubsub_components() const;
};

}  // namespace virtufin::bus

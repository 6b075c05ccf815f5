#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "bus/bus.h"

namespace virtufin {
class ConfigSection;
class Metrics;
}  // namespace virtufin

namespace virtufin::bus {

/// Section `[bus]`.
struct BusConfig {
  /// How long a publish waits for room in a `block` subscription.
  std::chrono::milliseconds block_ms{1000};
  /// Where the doubling of retry delays ends.
  std::chrono::milliseconds retry_delay_max_ms{60'000};
  /// Of the jitter; 0: a random one. With a seed the delays are the same in every run.
  std::uint64_t seed = 0;

  void read(ConfigSection section);
};

namespace memory {
class Registry;
}

/// The bus in this process's memory: nothing to install, gone with the process.
///
/// Life: subscriptions and topics may outlive it. Its destructor ends the subscriptions that still
/// stand with UNAVAILABLE (on_end).
/// Threads: any; one of its own for back-off, block_ms and metrics.
class MemoryBus final : public Bus {
 public:
  MemoryBus(BusConfig config, Metrics& metrics);
  ~MemoryBus() override;

  TopicPtr topic(std::string_view name) override;
  void publish(const TopicPtr& topic, EventPtr event, PublishDone done = {}) override;
  absl::StatusOr<std::unique_ptr<Subscription>> subscribe(std::vector<std::string> patterns,
                                                          SubscribeOptions options,
                                                          Handler handler) override;

  /// What the bus holds, to show that nothing grows by what is published.
  struct Footprint {
    std::size_t topics = 0;         ///< alive
    std::size_t patterns = 0;       ///< distinct, of standing subscriptions
    std::size_t interned = 0;       ///< texts of filters
    std::size_t subscriptions = 0;  ///< standing
    std::size_t groups = 0;
  };
  Footprint footprint() const;

 private:
  std::shared_ptr<memory::Registry> registry_;
};

}  // namespace virtufin::bus

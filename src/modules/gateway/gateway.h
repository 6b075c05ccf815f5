#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "core/module.h"
#include "modules/gateway/config.h"
#include "modules/platform.h"

namespace virtufin::gateway {

class Fanout;
class PubsubService;
class ServiceDirectory;

/// The public services State, Pubsub and Config, their further HTTP routes, and the seed of the
/// scenario registry.
///
/// Life: as Module says. After close_intake() PublishEvent and Subscribe answer UNAVAILABLE; State
/// and Config go on. stop() writes what is queued to every stream, then ends the streams.
/// Threads: the main thread, but health().
class GatewayModule final : public Module {
 public:
  /// `directory`: the services of other processes; outlives it, null without any.
  GatewayModule(Platform& platform, GatewayConfig config,
                const ServiceDirectory* directory = nullptr);
  ~GatewayModule() override;

  std::string_view name() const override { return "gateway"; }
  absl::Status start() override;
  void close_intake() override;
  void stop(std::chrono::steady_clock::time_point deadline) override;
  std::vector<HealthEntry> health() const override;

 private:
  Platform& platform_;
  const GatewayConfig config_;
  std::shared_ptr<Fanout> fanout_;
  std::shared_ptr<PubsubService> pubsub_;
};

}  // namespace virtufin::gateway

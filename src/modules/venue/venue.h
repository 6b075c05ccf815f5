#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/module.h"
#include "modules/platform.h"
#include "modules/venue/config.h"
#include "modules/venue/server.h"

namespace virtufin::venue {

/// The simulated exchange as a module of the process; see VenueServer.
class VenueModule final : public Module {
 public:
  VenueModule(Platform& platform, VenueConfig config);

  /// Before the first start(): UNAVAILABLE naming host and port if it is in use.
  absl::Status bind() { return server_.bind(); }
  /// Of REST and WebSocket, both markets. After bind().
  std::uint16_t port() const { return server_.port(); }

  std::string_view name() const override { return "venue"; }
  absl::Status start() override;
  void close_intake() override;
  void stop(std::chrono::steady_clock::time_point deadline) override;
  std::vector<HealthEntry> health() const override;

  /// Frames, laps and connections. Any thread.
  VenueStatus status() const { return server_.status(); }
  VenueServer& server() { return server_; }

 private:
  VenueServer server_;
  std::atomic<bool> running_{false};
};

}  // namespace virtufin::venue

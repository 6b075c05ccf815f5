#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/module.h"
#include "modules/platform.h"
#include "modules/wsm/config.h"
#include "modules/wsm/counters.h"

namespace virtufin::wsm {

/// Owns every upstream connection: WebSocket clients with their reconnects, and the feeds that turn
/// their frames into market events. Serves `virtufin.WebSocketManager` of
/// contract/websocketmanager.md.
///
/// Life: as Module; the constructor registers the methods, the destructor takes them away. start()
/// restores the recorded connections and makes the configured ones, without waiting for them;
/// stop() closes all, and records stay. Threads: as Module; handlers run on any, each connection's
/// state on its own loop.
class WsmModule final : public Module {
 public:
  WsmModule(Platform& platform, WsmConfig config);
  ~WsmModule() override;

  std::string_view name() const override { return "wsm"; }
  absl::Status start() override;
  void close_intake() override;
  void stop(std::chrono::steady_clock::time_point deadline) override;
  std::vector<HealthEntry> health() const override;

  /// Sums over all connections that ever lived. Any thread. While frames arrive the sums may be a
  /// frame apart; after stop() they add up exactly.
  Totals totals() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace virtufin::wsm

#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <memory>

#include "core/metrics.h"
#include "core/time.h"
#include "modules/venue/config.h"
#include "modules/venue/status.h"

namespace virtufin::venue {

/// The simulated exchange: Binance's spot and USD-M futures market data, as combined streams and
/// REST depth, on one port and one thread of its own, so that it takes nothing from the loops of
/// what it is read by.
///
/// Life: constructed, bind(), start(), close_intake(), stop(), destroyed, all on one thread;
/// status() and port() from any.
class VenueServer {
 public:
  /// `clock` gives the moments that frames' times are moved to. Both outlive the server.
  VenueServer(const Clock& clock, Metrics& metrics, VenueConfig config);
  ~VenueServer();

  /// UNAVAILABLE naming host and port if it is in use.
  absl::Status bind();
  std::uint16_t port() const;

  /// Reads the recordings and begins to accept. Errors as read_recordings() and Playback::create().
  absl::Status start();

  /// Accepts no more; those that are connected go on.
  void close_intake();

  /// Ends playback and says goodbye to the clients; at the deadline without waiting for theirs.
  void stop(std::chrono::steady_clock::time_point deadline);

  /// Disconnects everybody, as an exchange does on its bad days; they may come back.
  void disconnect_clients();

  VenueStatus status() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace virtufin::venue

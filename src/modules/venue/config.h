#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"

namespace virtufin::venue {

/// Config section `venue`: the simulated exchange.
struct VenueConfig {
  std::string host = "127.0.0.1";
  std::uint16_t port = 9443;  ///< 0: a free one

  std::vector<std::string> markets{"binance", "binance-futures"};
  /// `auto`: each market's recording if there is one, else the synthetic market; `recording`;
  /// `synthetic`.
  std::string source = "auto";
  std::string recordings = "../shared/recordings";

  double speed = 1;          ///< times the market's own pace; 0: as fast as it is read
  std::int64_t rate = 0;     ///< frames a second of each market, instead of its own pace; 0: off
  std::uint64_t laps = 1;    ///< of a recording; 0: without end
  std::uint64_t frames = 0;  ///< each market ends after so many; 0: no limit
  bool keep_times = false;
  /// `connect`: playback begins with the first subscription; `now`: with the module.
  std::string start = "connect";
  /// With `connect`: how many connections must have subscribed.
  std::int64_t start_connections = 1;
  /// Frames due within so long go out in one write. 0: each when it is due.
  std::chrono::milliseconds batch{1};

  /// What happens when a client does not read: `wait`: playback waits for it, nothing is lost;
  /// `disconnect`; `auto`: `wait` with `speed = 0` or a `rate`, else `disconnect`.
  std::string slow_client = "auto";
  std::int64_t queue_bytes = 8 << 20;  ///< unsent, of one connection; more: it is slow

  // The synthetic market.
  std::vector<std::string> symbols{"BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"};
  std::uint64_t seed = 1;
  std::int64_t synthetic_rate = 200;  ///< frames a second of market time

  // Bounds of connections, as Binance has them.
  std::int64_t max_connections = 1000;
  std::int64_t max_streams = 1024;            ///< of one connection
  std::int64_t max_messages_per_second = 10;  ///< from one client; 0: any number
  std::int64_t max_message_bytes = 64 << 10;  ///< from a client
  std::int64_t max_header_bytes = 32 << 10;
  std::chrono::milliseconds header_timeout{10'000};
  std::chrono::milliseconds idle_timeout{60'000};  ///< of a kept HTTP connection
  std::chrono::milliseconds ping_interval{20'000};
  std::chrono::milliseconds pong_timeout{60'000};
  std::chrono::milliseconds close_timeout{5'000};  ///< for the other side's close frame

  void read(ConfigSection section);

  /// What `slow_client` comes to.
  bool waits_for_readers() const {
    return slow_client == "wait" || (slow_client == "auto" && (speed == 0 || rate > 0));
  }
};

}  // namespace virtufin::venue

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace virtufin::venue {

struct MarketStatus {
  std::string name;                  ///< `binance`, `binance-futures`
  std::string source;                ///< `recording`, `synthetic`
  std::vector<std::string> streams;  ///< all that it plays, in Binance's spelling
  std::uint64_t laps = 0;            ///< completed
  std::uint64_t frames_played = 0;   ///< written once, however many read them
  std::uint64_t frames_sent = 0;     ///< handed to the operating system, over all connections
  std::uint64_t frames_dropped = 0;  ///< queued for a connection that ended before they were sent
  std::uint64_t connections = 0;     ///< subscribed now
  bool finished = false;             ///< the last frame was played
};

struct ConnectionStatus {
  std::uint64_t id = 0;
  std::string remote;  ///< address and port
  std::string market;  ///< empty: not known yet
  std::uint64_t streams = 0;
  std::uint64_t frames_sent = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t queued_bytes = 0;
};

struct VenueStatus {
  std::vector<MarketStatus> markets;
  std::vector<ConnectionStatus> connections;  ///< WebSocket connections that are open
  std::uint64_t slow_clients = 0;             ///< disconnected for not reading
};

}  // namespace virtufin::venue

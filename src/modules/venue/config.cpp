#include "modules/venue/config.h"

#include <cmath>
#include <limits>
#include <string>

namespace virtufin::venue {

void VenueConfig::read(ConfigSection section) {
  section.value("host", host, "Address that the simulated exchange listens on.");
  section.value("port", port, "Its port for REST and WebSocket; 0: a free one.", {0, 65'535});
  section.value("markets", markets, "Which to play: binance, binance-futures.");
  section.choice(
      "source", source, {"auto", "recording", "synthetic"},
      "What is played: a recording, the synthetic market, or (auto) a recording if there "
      "is one.");
  section.value("recordings", recordings, "Folder of the recordings.");
  section.value("speed", speed, "Times the market's own pace; 0: as fast as it is read.");
  section.value("rate", rate, "Frames a second of each market, instead of its own pace; 0: off.",
                {0, 10'000'000});
  section.value("laps", laps, "How often a recording is played; 0: without end.",
                {0, 1'000'000'000});
  section.value("frames", frames, "Each market ends after so many frames; 0: no limit.",
                {0, std::numeric_limits<std::int64_t>::max()});
  section.value("keep_times", keep_times, "Frames keep their recorded times.");
  section.choice("start", start, {"connect", "now"},
                 "Playback begins with the first subscription, or at once.");
  section.value("start_connections", start_connections,
                "How many connections must have subscribed before playback begins.", {1, 1000});
  section.value("batch_ms", batch, "Frames due within so long go out in one write; 0: each alone.",
                {0, 1000});
  section.choice("slow_client", slow_client, {"auto", "wait", "disconnect"},
                 "A client that does not read: playback waits for it, or it is disconnected; auto: "
                 "wait with speed 0 or a rate.");
  section.value("queue_bytes", queue_bytes,
                "Unsent bytes of a connection before it counts as slow.", {64 << 10, 1 << 30});
  section.value("symbols", symbols, "Of the synthetic market.");
  section.value("seed", seed, "Of the synthetic market: the same seed plays the same.",
                {0, std::numeric_limits<std::int64_t>::max()});
  section.value("synthetic_rate", synthetic_rate,
                "Frames a second of the synthetic market, in its own time.", {1, 1'000'000});
  section.value("max_connections", max_connections, "Connections at a time.", {1, 100'000});
  section.value("max_streams", max_streams, "Streams of one connection.", {1, 100'000});
  section.value("max_messages_per_second", max_messages_per_second,
                "Messages and pings from one client; 0: any number.", {0, 1'000'000});
  section.value("max_message_bytes", max_message_bytes, "Of a message from a client.",
                {1 << 10, 16 << 20});
  section.value("max_header_bytes", max_header_bytes, "Of an HTTP request.", {1 << 10, 1 << 20});
  section.value("header_timeout_ms", header_timeout, "For an HTTP request to come in whole.",
                {1, 600'000});
  section.value("idle_timeout_ms", idle_timeout, "Of an HTTP connection between requests.",
                {1, 3'600'000});
  section.value("ping_interval_ms", ping_interval, "Between pings to a WebSocket client.",
                {1, 3'600'000});
  section.value("pong_timeout_ms", pong_timeout, "Without a sign of life a client is disconnected.",
                {1, 3'600'000});
  section.value("close_timeout_ms", close_timeout, "For the client's close frame after ours.",
                {1, 600'000});
  if (!std::isfinite(speed) || speed < 0 || speed > 1e6) {
    section.complain("speed", "must be from 0 to 1000000");
  }
  for (const std::string& market : markets) {
    if (market != "binance" && market != "binance-futures") {
      section.complain("markets", "'" + market + "' is none of binance, binance-futures");
    }
  }
  if (markets.empty()) section.complain("markets", "must name one market at least");
}

}  // namespace virtufin::venue

#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>
#include <vector>

#include "modules/wsm/feeds/feed.h"

/// Binance's names: `<symbol in lower case>@<channel>`, several of them in one URL.
/// https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
namespace virtufin::wsm::binance {

enum class Market : std::uint8_t { kSpot, kFutures };
enum class Channel : std::uint8_t { kDepth, kAggTrade, kTrade, kBookTicker, kKline };

struct Stream {
  std::string name;    ///< `btcusdt@depth@100ms`
  std::string symbol;  ///< `BTCUSDT`
  std::string suffix;  ///< `depth@100ms`
  Channel channel = Channel::kDepth;
  std::string interval;  ///< of kKline: `1m`
};

/// The venue's own bound of streams a connection.
inline constexpr std::size_t kMaxStreams = 1024;

/// The streams of a request: every channel of every symbol, without repetition. INVALID_ARGUMENT
/// names what the venue has not.
absl::StatusOr<std::vector<Stream>> streams_of(const FeedRequest& request);

/// The streams of a URL's `streams=` parameter, `a@depth/b@trade`.
absl::StatusOr<std::vector<Stream>> parse_streams(std::string_view list);

/// `/stream?streams=a@depth/b@trade`.
std::string combined_target(const std::vector<Stream>& streams);

}  // namespace virtufin::wsm::binance

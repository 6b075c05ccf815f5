#include "modules/wsm/feeds/binance/streams.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <unordered_set>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::wsm::binance {
namespace {

constexpr std::size_t kMaxSymbol = 32;
constexpr std::array<std::string_view, 4> kDefaultChannels = {"depth", "aggTrade", "bookTicker",
                                                              "kline_1m"};
constexpr std::array<std::string_view, 16> kIntervals = {"1s", "1m", "3m", "5m", "15m", "30m",
                                                         "1h", "2h", "4h", "6h", "8h",  "12h",
                                                         "1d", "3d", "1w", "1M"};

std::string mapped(std::string_view text, int (*map)(int)) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(map(static_cast<unsigned char>(c)));
  return out;
}

bool valid_symbol(std::string_view symbol) {
  return !symbol.empty() && symbol.size() <= kMaxSymbol &&
         std::all_of(symbol.begin(), symbol.end(), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
         });
}

absl::StatusOr<Stream> make_stream(std::string_view symbol, std::string_view channel) {
  constexpr std::string_view kKlinePrefix = "kline_";
  if (!valid_symbol(symbol)) {
    return invalid_argument(
        "feed.symbols: '{}' is not a symbol; give letters and digits, as BTCUSDT",
        printable(symbol));
  }
  Stream stream;
  stream.suffix = channel;
  if (channel == "depth") {
    stream.suffix = "depth@100ms";  // the fastest that the venue has
  } else if (channel == "depth@100ms" || channel == "depth@250ms" || channel == "depth@500ms" ||
             channel == "depth@1000ms") {
    stream.channel = Channel::kDepth;
  } else if (channel == "aggTrade") {
    stream.channel = Channel::kAggTrade;
  } else if (channel == "trade") {
    stream.channel = Channel::kTrade;
  } else if (channel == "bookTicker") {
    stream.channel = Channel::kBookTicker;
  } else if (channel.starts_with(kKlinePrefix) &&
             std::find(kIntervals.begin(), kIntervals.end(), channel.substr(kKlinePrefix.size())) !=
                 kIntervals.end()) {
    stream.channel = Channel::kKline;
    stream.interval = channel.substr(kKlinePrefix.size());
  } else {
    return invalid_argument(
        "feed.channels: '{}' is not known; give depth, aggTrade, trade, bookTicker or "
        "kline_<interval>",
        printable(channel));
  }
  stream.symbol = mapped(symbol, std::toupper);
  stream.name = mapped(symbol, std::tolower) + "@" + stream.suffix;
  return stream;
}

/// Keeps the first of each name, and the venue's bound.
absl::StatusOr<std::vector<Stream>> checked(std::vector<Stream> streams) {
  std::unordered_set<std::string> seen;
  std::erase_if(streams, [&](const Stream& stream) { return !seen.insert(stream.name).second; });
  if (streams.empty()) return invalid_argument("feed.symbols: no symbol was given");
  if (streams.size() > kMaxStreams) {
    return invalid_argument(
        "feed: {} streams asked for, a connection carries at most {}; split the "
        "symbols over several connections",
        streams.size(), kMaxStreams);
  }
  // A kept book follows one numbering.
  std::unordered_set<std::string> books;
  for (const Stream& stream : streams) {
    if (stream.channel == Channel::kDepth && !books.insert(stream.symbol).second) {
      return invalid_argument("feed.channels: depth of {} asked for at two speeds; give one",
                              stream.symbol);
    }
  }
  return streams;
}

}  // namespace

absl::StatusOr<std::vector<Stream>> streams_of(const FeedRequest& request) {
  std::vector<std::string> channels = request.channels;
  if (channels.empty()) channels.assign(kDefaultChannels.begin(), kDefaultChannels.end());
  std::vector<Stream> streams;
  for (const std::string& channel : channels) {
    for (const std::string& symbol : request.symbols) {
      auto stream = make_stream(symbol, channel);
      VIRTUFIN_RETURN_IF_ERROR(stream.status());
      streams.push_back(*std::move(stream));
    }
  }
  return checked(std::move(streams));
}

absl::StatusOr<std::vector<Stream>> parse_streams(std::string_view list) {
  std::vector<Stream> streams;
  while (!list.empty()) {
    const std::size_t slash = list.find('/');
    const std::string_view name = list.substr(0, slash);
    list = slash == std::string_view::npos ? std::string_view{} : list.substr(slash + 1);
    const std::size_t at = name.find('@');
    if (at == std::string_view::npos) {
      return invalid_argument("url: stream '{}' has no channel; write <symbol>@<channel>",
                              printable(name));
    }
    auto stream = make_stream(name.substr(0, at), name.substr(at + 1));
    VIRTUFIN_RETURN_IF_ERROR(stream.status());
    stream->name = name;  // the venue repeats it as it was asked for
    stream->suffix = name.substr(at + 1);
    streams.push_back(*std::move(stream));
  }
  return checked(std::move(streams));
}

std::string combined_target(const std::vector<Stream>& streams) {
  std::string target = "/stream?streams=";
  for (std::size_t i = 0; i < streams.size(); ++i) {
    if (i > 0) target.push_back('/');
    target.append(streams[i].name);
  }
  return target;
}

}  // namespace virtufin::wsm::binance

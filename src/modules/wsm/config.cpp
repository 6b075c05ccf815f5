#include "modules/wsm/config.h"

#include "core/errors.h"
#include "modules/wsm/feeds/market_shape.h"
#include "modules/wsm/feeds/registry.h"
#include "modules/wsm/net/address_guard.h"
#include "modules/wsm/net/url.h"

namespace virtufin::wsm {
namespace {

constexpr std::int64_t kMiB = 1 << 20;

FeedConfig read_feed(ConfigSection section, std::uint32_t dedup_window) {
  FeedConfig feed;
  section.value("venue", feed.venue, "Whose frames these are: binance or binance-futures.");
  section.value("url", feed.url,
                "Where to connect, ws:// or wss://; without a streams= parameter the "
                "path is composed from symbols and channels.");
  section.value(
      "rest_url", feed.rest_url,
      "Base URL of the venue's REST endpoint for book snapshots; empty: the venue's own.");
  section.value("symbols", feed.symbols, "Symbols as the venue writes them, in any case.");
  section.value(
      "channels", feed.channels,
      "depth, aggTrade, trade, bookTicker, kline_<interval>; empty: all but trade, kline_1m.");
  section.value("topic", feed.topic, "Head of the topics: act, or hyp.<selector>.");
  section.value("append_symbol", feed.append_symbol, "Put the symbol at the end of each topic.");
  section.value("ca_file", feed.ca_file, "Certificates to trust (PEM); empty: the system's.");

  const auto url = Url::parse(feed.url);
  if (!url.ok()) {
    section.complain("url", message(url.status()));
    return feed;
  }
  const FeedRequest request{feed.venue,    feed.symbols,       feed.channels,
                            feed.rest_url, feed.append_symbol, dedup_window};
  if (const auto codec = make_codec(request, url->query()); !codec.ok()) {
    section.complain("venue", message(codec.status()));
  }
  if (const auto head = MarketAddress::parse(feed.topic); !head.ok()) {
    section.complain("topic", message(head.status()));
  }
  return feed;
}

}  // namespace

void WsmConfig::read(ConfigSection section) {
  section.value("host", host, "Address that the module's own ports listen on.");
  section.value("http_port", http_port, "REST port of the module.", {0, 65'535});
  section.value("grpc_port", grpc_port, "gRPC port of the module.", {0, 65'535});
  section.value("connect_timeout_ms", connect_timeout,
                "From resolving the host to the end of the WebSocket upgrade.", {1, 600'000});
  section.value("close_timeout_ms", close_timeout,
                "How long a peer may take to answer our close before the socket is cut.",
                {1, 60'000});
  section.value("backoff_base_ms", backoff_base,
                "Bound of the second reconnect delay (the first retry is immediate); doubles each "
                "time, with full jitter.",
                {1, 600'000});
  section.value("backoff_max_ms", backoff_max, "Greatest bound of a reconnect delay.",
                {1, 3'600'000});
  section.value("backoff_attempts", backoff_attempts,
                "Reconnect attempts before giving up; 0: unlimited.", {0, 1'000'000});
  section.value("stable_ms", stable, "A connection that held this long starts the backoff anew.",
                {1, 3'600'000});
  section.value("idle_timeout_ms", idle_timeout,
                "A connection without data (pings are none) for this long is dropped; 0: never.");
  section.value("max_connections", max_connections, "Connections at once.", {1, 100'000});
  section.value("max_frame_bytes", max_frame_bytes, "Greatest message from a venue.",
                {1'024, 256 * kMiB});
  section.value("max_outstanding_publishes", max_outstanding_publishes,
                "Events of one connection that the bus has not yet taken; then its socket is not "
                "read until half are.",
                {1, 1'000'000});
  section.value("dedup_window", dedup_window,
                "Last sequence numbers of a stream in which a repeated one is dropped.",
                {1, 1'000'000});
  section.value("allow_private_hosts", allow_private_hosts,
                "Hosts, addresses and networks that may be loopback, private or link-local; all "
                "others must resolve to public addresses.");
  if (const auto guard = AddressGuard::create(allow_private_hosts); !guard.ok()) {
    section.complain("allow_private_hosts", message(guard.status()));
  }
  section.value("snapshot_interval_ms", snapshot_interval,
                "Between two published books of one symbol.", {10, 3'600'000});
  section.value("max_book_levels", max_book_levels,
                "Levels kept on each side of a book; the farthest from the best go first.",
                {16, 1'000'000});
  section.value("max_pending_updates", max_pending_updates,
                "Depth updates kept per book while its snapshot is fetched.", {16, 1'000'000});
  section.value("rest_timeout_ms", rest_timeout, "For one book snapshot over REST.", {1, 600'000});
  section.value("rest_interval_ms", rest_interval,
                "Mean time between two REST requests of one connection.", {1, 600'000});
  section.value("rest_burst", rest_burst, "REST requests of one connection that may come at once.",
                {1, 1'000});
  section.value("max_rest_bytes", max_rest_bytes, "Greatest REST answer.", {1'024, 256 * kMiB});
  for (ConfigSection& feed :
       section.tables("feeds",
                      "Feeds that are connected at start and kept, each with venue, url, symbols, "
                      "channels, and if need be rest_url, topic, append_symbol, ca_file.")) {
    feeds.push_back(read_feed(feed, dedup_window));
  }
}

}  // namespace virtufin::wsm

#pragma once

#include <boost/asio/ip/tcp.hpp>

#include "modules/venue/exchange.h"

namespace virtufin::venue {

/// Serves an accepted socket: REST requests, one after another, until the client upgrades to a
/// WebSocket, goes away, or is idle for too long. One connection more than `max_connections` is
/// closed at once.
///
/// WebSocket paths, as at Binance: `/stream?streams=a/b` (combined frames), `/ws/a/b` (raw frames),
/// and both without streams, to be subscribed later. The market is the one that plays the first
/// stream's symbol; `/spot` or `/futures` in front chooses it where both do.
///
/// Threads: the venue's loop. The session is held by its own operations and the Exchange's list.
void serve_http(Exchange& exchange, boost::asio::ip::tcp::socket socket);

}  // namespace virtufin::venue

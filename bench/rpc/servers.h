#pragma once

#include <string>

namespace virtufin::bench {

/// One server in a process of its own: prints `<port>` on standard output, then serves until its
/// standard input ends. Each byte that it reads there is a credit: `kEventsPerCredit` events for
/// the streams.
///
/// `grpc_floor`: a bare completion-queue generic service that answers `reply_bytes` bytes.
/// `stream_floor`: the same, each call a stream of `reply_bytes` bytes a message.
/// `http_floor`: a bare Beast server that answers `reply_bytes` bytes.
/// `grpc`, `http`: the gateway's services over the table of methods, state in memory.
int serve(const std::string& kind, std::size_t reply_bytes);

inline constexpr int kEventsPerCredit = 50;
inline constexpr char kTopic[] = "sc.BENCH.events";
inline constexpr char kKey[] = "sc.BENCH.trading.order.1";
inline constexpr std::size_t kValueBytes = 200;

}  // namespace virtufin::bench

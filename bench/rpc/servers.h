#pragma once

#include <string>

namespace virtufin::bench {

/// One server in a process of its own: prints `<port>` on standard output, then serves until its
/// standard input ends.
///
/// `grpc_floor`: a bare completion-queue generic service that answers `reply_bytes` bytes.
/// `http_floor`: a bare Beast server that answers `reply_bytes` bytes.
/// `grpc`, `http`: the gateway's services over the table of methods, state in memory.
int serve(const std::string& kind, std::size_t reply_bytes);

inline constexpr char kKey[] = "sc.BENCH.trading.order.1";
inline constexpr std::size_t kValueBytes = 200;

}  // namespace virtufin::bench

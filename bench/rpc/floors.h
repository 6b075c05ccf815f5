#pragma once

#include <cstddef>

namespace virtufin::bench {

/// See serve().
int serve_grpc_floor(std::size_t reply_bytes);
int serve_http_floor(std::size_t reply_bytes);

}  // namespace virtufin::bench

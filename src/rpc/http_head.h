#pragma once

#include <absl/status/status.h>

#include <boost/system/error_code.hpp>
#include <string>
#include <utility>

#include "rpc/http_route.h"
#include "rpc/server.h"

namespace virtufin::rpc {

struct HeadOptions {
  bool keep_alive = true;
  bool stream = false;   ///< its length is not known
  bool chunked = false;  ///< and it is sent in chunks
};

/// Appends status line and headers. A header with control characters in it is left out: it could
/// only be an attempt to write headers of one's own.
void append_head(std::string& out, const HttpResponse& response, std::size_t length,
                 const HeadOptions& options);

/// What a request is answered that Beast cannot read.
std::pair<int, absl::Status> parse_error(const boost::system::error_code& error,
                                         const ServerLimits& limits);

}  // namespace virtufin::rpc

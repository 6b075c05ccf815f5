#pragma once

#include <memory>

#include "modules/gateway/stream.h"
#include "rpc/http_route.h"
#include "rpc/method.h"

namespace virtufin::gateway {

/// Initial metadata of a Subscribe, and a header of a server-sent event stream.
inline constexpr const char* kSubscriptionIdHeader = "virtufin-subscription-id";

/// Subscribe over the table of methods: each event is the bytes that all streams share, but for the
/// first and those that tell of missed ones, which have fields of their own appended.
std::unique_ptr<StreamSink> make_method_sink(std::shared_ptr<rpc::ServerStream> stream);

/// Server-sent events: `id:` and `data:` one line each; comments on an idle stream.
std::unique_ptr<StreamSink> make_sse_sink(std::shared_ptr<rpc::HttpExchange> exchange);

}  // namespace virtufin::gateway

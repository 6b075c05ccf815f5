#pragma once

#include <memory>
#include <string>

#include "rpc/backend.h"
#include "rpc/method.h"

namespace virtufin::rpc {

/// How often a call may go from process to process before it is taken to go round in circles.
constexpr int kMaxHops = 4;

/// Calls a backend: one request, one reply. `path`: `/package.Service/Method`.
void call_unary(std::shared_ptr<Backend> backend, const std::string& path, CallPtr call,
                BytesPtr request, std::shared_ptr<ServerStream> replies);
/// One request, a stream of replies: the next is read when the one before was written on.
void call_stream(std::shared_ptr<Backend> backend, const std::string& path, CallPtr call,
                 BytesPtr request, std::shared_ptr<ServerStream> replies);

}  // namespace virtufin::rpc

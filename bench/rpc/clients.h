#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace virtufin::bench {

/// A closed loop of unary calls, 64 at once over four connections, one thread. Answers how many
/// were answered OK between the two moments at which `mark` is called.
std::int64_t grpc_load(int port, const std::string& path, const std::string& request,
                       std::chrono::milliseconds span, const std::function<void()>& mark);

/// The same over HTTP/1.1, 32 connections kept alive.
std::int64_t http_load(int port, const std::string& request, std::chrono::milliseconds span,
                       const std::function<void()>& mark);

/// One unary call's reply.
std::string grpc_once(int port, const std::string& path, const std::string& request);
/// One request's body.
std::string http_once(int port, const std::string& request);

}  // namespace virtufin::bench

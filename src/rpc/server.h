#pragma once

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "core/executor.h"
#include "core/metrics.h"
#include "rpc/health.h"
#include "rpc/http_route.h"
#include "rpc/method.h"

namespace virtufin::rpc {

/// Bounds of both servers; config section `server`.
struct ServerLimits {
  std::int64_t max_message_bytes = 4 << 20;
  std::int64_t max_header_bytes = 16 << 10;
  std::int64_t max_connections = 5000;  ///< of the HTTP server; one more is answered 503 and closed
  std::int64_t max_streams_per_connection = 1000;
  std::int64_t max_calls = 20'000;  ///< of the gRPC server; one more is RESOURCE_EXHAUSTED
  std::chrono::milliseconds header_timeout{10'000};
  std::chrono::milliseconds body_timeout{30'000};
  std::chrono::milliseconds idle_timeout{120'000};
  std::chrono::milliseconds call_timeout{30'000};  ///< of a REST call; a stream has none

  void read(ConfigSection section);
};

struct Endpoint {
  std::string host;
  std::uint16_t port;  ///< 0: a free one

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

/// The gRPC server: one generic service on one completion queue, over the method table; health and
/// reflection (v1, v1alpha) included. Metadata, deadlines, cancellation, flow control of streams.
/// Calls other than health and reflection are UNAVAILABLE while not Health::serving().
///
/// Life: constructed, bind() all, start(), drain(deadline), destroyed; on the main thread.
class GrpcServer {
 public:
  GrpcServer(MethodTable& methods, Health& health, Metrics& metrics, ServerLimits limits);
  ~GrpcServer();

  /// UNAVAILABLE naming host and port if it is in use, before anything starts.
  absl::StatusOr<std::uint16_t> bind(const Endpoint& endpoint);
  absl::Status start();
  /// Refuses new calls, lets running ones end until the deadline, then cancels them.
  void drain(std::chrono::steady_clock::time_point deadline);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The HTTP server: REST by transcoding from the methods' google.api.http annotations, the further
/// routes, `/health` and its kin, `/metrics`. All but these two are 503 while not
/// Health::serving().
///
/// Life: constructed, route() and bind() all, start(), drain(deadline), destroyed before the loops;
/// on the main thread.
class HttpServer {
 public:
  HttpServer(MethodTable& methods, Health& health, Metrics& metrics, Loops& loops,
             ServerLimits limits);
  ~HttpServer();

  /// `path_template` as in google.api.http: `/v1/pubsub/{topic}`, `{key=**}`. A route wins over a
  /// method's transcoding of the same shape; literals win over captures. Before start(). Throws
  /// std::invalid_argument for a template that is none or a route that exists.
  void route(std::string_view verb, std::string_view path_template, HttpHandler handler);

  absl::StatusOr<std::uint16_t> bind(const Endpoint& endpoint);
  absl::Status start();
  /// Takes no new connections, closes idle ones, lets running calls end until the deadline.
  void drain(std::chrono::steady_clock::time_point deadline);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace virtufin::rpc

#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/metrics.h"
#include "rpc/method.h"
#include "rpc/server.h"

namespace virtufin::rpc {

/// Another process whose methods are rows of our table.
struct BackendSpec {
  std::string name;
  std::vector<Endpoint> hosts;  ///< asked in turn
  /// Of the linked protos: callable before its reflection has answered (and then UNAVAILABLE rather
  /// than unknown). No other backend is given their methods.
  std::vector<std::string> known_services;

  friend bool operator==(const BackendSpec&, const BackendSpec&) = default;
};

/// Bounds of calls to other processes; config section `gateway.backends`.
struct BackendLimits {
  std::chrono::milliseconds timeout{30'000};  ///< of a unary call without a shorter deadline
  std::size_t retries = 3;                    ///< of a unary call, on UNAVAILABLE only
  std::chrono::milliseconds retry_delay{200};
  std::size_t breaker_calls = 5;
  std::chrono::milliseconds breaker{30'000};
  std::chrono::milliseconds descriptors_age{3'600'000};
  std::chrono::milliseconds descriptors_timeout{10'000};
  std::size_t max_descriptor_bytes = 16u << 20;
  std::size_t max_message_bytes = 16u << 20;
  std::chrono::milliseconds reconnect_max{2'000};
  std::chrono::milliseconds look{200};

  void read(ConfigSection section);
};

/// The other processes behind the table of methods: keeps a channel to each, which reconnects by
/// itself, asks its reflection (v1, else v1alpha) what it can do, and keeps a row for each of its
/// methods. A call goes through as bytes, with deadline, cancellation, flow control, and of the
/// metadata what is for tracing, and `correlationid`.
///
/// A unary call that ends UNAVAILABLE is tried again, and when half of a backend's calls fail none
/// is tried for a while, or until it has reconnected. Its errors come back as they are; those of
/// the way there name the backend and its address. A method that the table has already, local or
/// of another backend, stays what it is. Descriptors are asked for again when the connection is a
/// new one, when a method was UNIMPLEMENTED, and when they are old.
///
/// Life: close() when no server takes calls any more (also done by the destructor): calls that are
/// still out end CANCELLED. The table and the metrics outlive it. Threads: any.
class Backends {
 public:
  virtual ~Backends() = default;
  /// These and no others. Those that did not change keep their connections; a call under way to one
  /// that goes is brought to its end.
  virtual void set(std::vector<BackendSpec> specs) = 0;
  virtual void close() = 0;
};

std::unique_ptr<Backends> make_backends(MethodTable& methods, Metrics& metrics,
                                        BackendLimits limits);

}  // namespace virtufin::rpc

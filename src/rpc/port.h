#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "rpc/server.h"

namespace virtufin::rpc {

/// `host:port`, with brackets around an IPv6 address.
std::string to_string(const Endpoint& endpoint);

/// A port that is ours without listening on it yet: bound sockets, held until gRPC has bound its
/// own beside them. So a port in use is known before anything starts, and no other program is given
/// a free port that we chose.
class ReservedPort {
 public:
  /// UNAVAILABLE naming host and port if it is in use; INVALID_ARGUMENT for a host that is none.
  static absl::StatusOr<ReservedPort> reserve(const Endpoint& endpoint);

  ReservedPort(ReservedPort&& other) noexcept;
  ReservedPort& operator=(ReservedPort&&) = delete;
  ~ReservedPort();

  const Endpoint& endpoint() const { return endpoint_; }  ///< with the port that was chosen

 private:
  explicit ReservedPort(Endpoint endpoint) : endpoint_(std::move(endpoint)) {}
  Endpoint endpoint_;
  std::vector<int> sockets_;
};

/// What bind() failed with, as both servers say it.
absl::Status bind_error(const Endpoint& endpoint, int error_number);

}  // namespace virtufin::rpc

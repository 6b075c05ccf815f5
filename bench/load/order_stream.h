#pragma once

#include <absl/functional/any_invocable.h>

#include <cstddef>
#include <memory>
#include <string>

namespace virtufin::bench {

/// A bare gRPC client of one server stream: calls back for every message, parses nothing.
///
/// Threads: `on_message` runs on the client's own completion-queue thread. The destructor cancels
/// the call and joins.
class OrderStream {
 public:
  /// Blocks until the server's initial metadata has come: from then on nothing is missed.
  /// Throws std::runtime_error if it does not within ten seconds.
  OrderStream(const std::string& target, const std::string& method, std::string request,
              absl::AnyInvocable<void(std::size_t bytes)> on_message);
  ~OrderStream();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace virtufin::bench

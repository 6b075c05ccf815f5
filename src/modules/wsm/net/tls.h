#pragma once

#include <absl/status/statusor.h>

#include <boost/asio/ssl/context.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace virtufin::wsm {

using TlsContextPtr = std::shared_ptr<boost::asio::ssl::context>;

/// TLS client contexts, one for each file of trusted certificates: TLS 1.2 or later, the peer's
/// certificate verified; the host name is checked by each connection.
///
/// Threads: any.
class TlsContexts {
 public:
  /// `ca_file` PEM; empty: the system's roots. INVALID_ARGUMENT if it cannot be read.
  absl::StatusOr<TlsContextPtr> get(const std::string& ca_file);

 private:
  std::mutex mutex_;
  std::map<std::string, TlsContextPtr> contexts_;
};

}  // namespace virtufin::wsm

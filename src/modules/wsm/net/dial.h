#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/status.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <string_view>

#include "modules/wsm/net/address_guard.h"
#include "modules/wsm/net/url.h"

namespace virtufin::wsm {

/// Where a connection failed, as `error_type` of the lifecycle events has it.
struct NetFailure {
  std::string_view stage;  ///< resolve, address, connect, tls, handshake, read, timeout, idle, …
  absl::Status status;
};

/// Resolves a URL's host, checks every address, and connects to the first that answers. Nothing is
/// resolved again after the check.
///
/// Threads: the loop's. cancel() ends it without a callback.
class Dial {
 public:
  using Done = absl::AnyInvocable<void(NetFailure, boost::asio::ip::tcp::socket)>;

  /// `guard` must outlive it.
  static std::shared_ptr<Dial> start(boost::asio::io_context& io, const Url& url,
                                     const AddressGuard& guard, Done done);
  virtual ~Dial() = default;
  virtual void cancel() = 0;
};

}  // namespace virtufin::wsm

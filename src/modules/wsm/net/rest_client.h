#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/statusor.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "modules/wsm/net/address_guard.h"
#include "modules/wsm/net/tls.h"
#include "modules/wsm/net/url.h"

namespace virtufin::wsm {

struct RestAnswer {
  int status = 0;
  std::string reason;
  std::chrono::seconds retry_after{0};  ///< of 429 and 418; 0 if not given
  std::string body;
};

/// One HTTP GET over a connection of its own.
///
/// Threads: the loop's. cancel() ends it without a callback.
class RestRequest {
 public:
  struct Options {
    Url url;
    TlsContextPtr tls;
    std::chrono::milliseconds timeout{10'000};
    std::size_t max_bytes = 16U << 20;
  };
  /// UNAVAILABLE with the stage's own reason, PERMISSION_DENIED from the guard; any HTTP status is
  /// OK.
  using Done = absl::AnyInvocable<void(absl::StatusOr<RestAnswer>)>;

  static std::shared_ptr<RestRequest> start(boost::asio::io_context& io, Options options,
                                            const AddressGuard& guard, Done done);
  virtual ~RestRequest() = default;
  virtual void cancel() = 0;
};

}  // namespace virtufin::wsm

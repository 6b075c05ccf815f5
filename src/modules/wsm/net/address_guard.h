#pragma once

#include <absl/status/statusor.h>

#include <boost/asio/ip/address.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace virtufin::wsm {

/// Keeps callers from reaching into our own network by a URL: what a host resolves to must be a
/// public address, unless the host is on the allow-list.
///
/// The list has host names (exact, in any case), and addresses and networks (`127.0.0.0/8`) that
/// apply to hosts written as addresses. A name that merely resolves into a listed network is
/// refused: who owns a name chooses its address.
///
/// Threads: any; immutable.
class AddressGuard {
 public:
  /// INVALID_ARGUMENT names the entry that is neither.
  static absl::StatusOr<AddressGuard> create(const std::vector<std::string>& allowed_hosts);

  /// PERMISSION_DENIED if `host`, resolved to `address`, must not be connected to.
  absl::Status check(std::string_view host, const boost::asio::ip::address& address) const;

 private:
  struct Network {
    boost::asio::ip::address_v6 address;  ///< IPv4 as mapped
    unsigned prefix;
  };
  bool allows(std::string_view host) const;

  std::vector<std::string> names_;  ///< in lower case
  std::vector<Network> networks_;
};

/// Loopback, private, link-local, metadata, multicast, reserved: anything that is not one host of
/// the public internet.
bool is_private(const boost::asio::ip::address& address);

}  // namespace virtufin::wsm

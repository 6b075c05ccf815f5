#include "modules/wsm/net/address_guard.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::wsm {
namespace {

namespace ip = boost::asio::ip;

struct Block {
  const char* address;
  unsigned prefix;
};

// https://www.iana.org/assignments/iana-ipv4-special-registry and its IPv6 sibling. 169.254/16 and
// fd00:ec2::254 (in fc00::/7) are the clouds' metadata services.
constexpr Block kPrivate[] = {
    {"0.0.0.0", 8},      {"10.0.0.0", 8},     {"100.64.0.0", 10},   {"127.0.0.0", 8},
    {"169.254.0.0", 16}, {"172.16.0.0", 12},  {"192.0.0.0", 24},    {"192.0.2.0", 24},
    {"192.168.0.0", 16}, {"198.18.0.0", 15},  {"198.51.100.0", 24}, {"203.0.113.0", 24},
    {"224.0.0.0", 4},    {"240.0.0.0", 4},    {"::", 128},          {"::1", 128},
    {"64:ff9b::", 96},   {"64:ff9b:1::", 48}, {"100::", 64},        {"2001::", 23},
    {"2001:db8::", 32},  {"2002::", 16},      {"fc00::", 7},        {"fe80::", 10},
    {"fec0::", 10},      {"ff00::", 8}};

ip::address_v6 mapped(const ip::address& address) {
  return address.is_v4() ? ip::make_address_v6(ip::v4_mapped, address.to_v4()) : address.to_v6();
}

bool within(const ip::address_v6& address, const ip::address_v6& network, unsigned prefix) {
  const auto a = address.to_bytes(), n = network.to_bytes();
  for (unsigned i = 0; i < a.size() && prefix > 0; ++i) {
    const unsigned bits = std::min(prefix, 8U);
    const auto mask = static_cast<unsigned char>(0xff00U >> bits);
    if ((a[i] & mask) != (n[i] & mask)) return false;
    prefix -= bits;
  }
  return true;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::optional<ip::address> literal(std::string_view host) {
  boost::system::error_code error;
  const ip::address address = ip::make_address(std::string(host), error);
  return error ? std::nullopt : std::optional(address);
}

}  // namespace

bool is_private(const ip::address& address) {
  const ip::address_v6 wide = mapped(address);
  return std::any_of(std::begin(kPrivate), std::end(kPrivate), [&](const Block& block) {
    const ip::address network = ip::make_address(block.address);
    return within(wide, mapped(network), network.is_v4() ? block.prefix + 96 : block.prefix);
  });
}

absl::StatusOr<AddressGuard> AddressGuard::create(const std::vector<std::string>& allowed_hosts) {
  AddressGuard guard;
  for (const std::string& entry : allowed_hosts) {
    const std::size_t slash = entry.find('/');
    const std::string_view host = std::string_view(entry).substr(0, slash);
    const auto address = literal(host);
    if (!address) {
      if (host.empty() || slash != std::string::npos) {
        return invalid_argument(
            "wsm.allow_private_hosts: '{}' is no host, address or network; write 127.0.0.0/8",
            printable(entry));
      }
      guard.names_.push_back(lower(host));
      continue;
    }
    const unsigned width = address->is_v4() ? 32 : 128;
    unsigned prefix = width;
    if (slash != std::string::npos) {
      const char* const end = entry.data() + entry.size();
      const auto [at, error] = std::from_chars(entry.data() + slash + 1, end, prefix);
      if (error != std::errc{} || at != end || prefix > width) {
        return invalid_argument("wsm.allow_private_hosts: '{}' has no prefix between 0 and {}",
                                printable(entry), width);
      }
    }
    guard.networks_.push_back({mapped(*address), prefix + 128 - width});
  }
  return guard;
}

bool AddressGuard::allows(std::string_view host) const {
  if (const auto address = literal(host)) {
    return std::any_of(networks_.begin(), networks_.end(), [&](const Network& network) {
      return within(mapped(*address), network.address, network.prefix);
    });
  }
  return std::find(names_.begin(), names_.end(), lower(host)) != names_.end();
}

absl::Status AddressGuard::check(std::string_view host, const ip::address& address) const {
  if (!is_private(address) || allows(host)) return absl::OkStatus();
  return permission_denied(
      "url: host '{}' is at {}, which is not a public address; to allow it, add the host to "
      "wsm.allow_private_hosts",
      printable(host), address.to_string());
}

}  // namespace virtufin::wsm

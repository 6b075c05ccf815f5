#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace virtufin::wsm {

/// An absolute ws, wss, http or https URL, taken apart.
struct Url {
  bool tls = false;
  std::string host;  ///< an IPv6 address without its brackets
  std::uint16_t port = 0;
  std::string target;  ///< path and query, at least `/`

  /// INVALID_ARGUMENT for anything else, and for credentials in it: they belong into headers, which
  /// are never logged.
  static absl::StatusOr<Url> parse(std::string_view text);

  /// What follows `?`; empty if nothing does.
  std::string_view query() const;
  /// As the Host header has it: with brackets, and the port unless it is the scheme's own.
  std::string authority() const;
};

}  // namespace virtufin::wsm

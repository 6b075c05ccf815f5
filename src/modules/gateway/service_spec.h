#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>
#include <vector>

#include "rpc/server.h"

namespace virtufin::gateway {

/// A service that calls may name: where its process is, and what its bus and store are called.
struct ServiceSpec {
  std::string name;
  std::vector<rpc::Endpoint> hosts;  ///< empty: known, but no other process of ours to call
  std::string pubsub_name;           ///< empty: as the gateway's own
  std::string store_name;

  friend bool operator==(const ServiceSpec&, const ServiceSpec&) = default;
};

struct ServicesFile {
  std::vector<ServiceSpec> services;
  std::vector<std::string> ignored;  ///< members that mean nothing here, by path
};

/// The text of a services.json (shape: contract/gateway.md). INVALID_ARGUMENT naming the service
/// and the member that does not fit.
absl::StatusOr<ServicesFile> parse_services(std::string_view json);

/// `host:port`, `[v6]:port`.
absl::StatusOr<rpc::Endpoint> parse_host(std::string_view text);

/// Letters, digits, `-`, `_`, `.`; 1 to 100 of them.
bool valid_service_name(std::string_view name);

}  // namespace virtufin::gateway

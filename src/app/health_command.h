#pragma once

#include <absl/status/statusor.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <string>

#include "app/commands.h"
#include "app/process_config.h"
#include "rpc/server.h"

namespace virtufin::app {

/// `virtufin health`: asks the process that runs here with the same configuration whether it is
/// ready, as a container's health check does, where there is no curl. Exit codes: 0 ready; 1 not,
/// or no answer, with the reason on standard error; 2 for a wrong command line.
void add_health(CLI::App& cli, Command& command);

/// Where the process of this configuration answers HTTP from this machine: the gateway, else the
/// WorkManager, else the WebSocketManager; all show the health of the whole process. An address
/// that means all interfaces becomes loopback. FAILED_PRECONDITION if none of the three runs or the
/// port is one that the process chose by itself.
absl::StatusOr<rpc::Endpoint> health_endpoint(const ProcessConfig& config);

/// The body of `GET /health`; UNAVAILABLE with it if the answer is another than 200, or if none
/// came in time. Blocks; any thread.
absl::StatusOr<std::string> ask_health(const rpc::Endpoint& endpoint,
                                       std::chrono::milliseconds timeout);

}  // namespace virtufin::app

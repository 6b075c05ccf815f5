#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

#include "app/commands.h"
#include "app/process_config.h"

namespace virtufin::app {

/// One thing that was looked at. `next`: the step to take; empty if there is none.
struct Finding {
  enum class Level { kOk, kWarning, kBad };
  Level level = Level::kOk;
  std::string what;
  std::string found;
  std::string next;
};

struct DoctorOptions {
  std::string config;
  /// Publish one event through each component that has topics of its own, to see that the broker
  /// takes it: the only way to learn from a sidecar whether a stream is there.
  bool publish = false;
  /// host:port of the NATS server behind the sidecar, to look at its streams; empty: not looked at.
  /// The platform itself never goes there.
  std::string nats;
};

/// `virtufin doctor`: looks at all that a process of this configuration needs, and changes nothing
/// (but see `publish`): config, ports, state file, sidecar, its components, the services of other
/// processes, engines. Exit codes: 0; 1 if something is bad; 2 for a wrong command line.
void add_doctor(CLI::App& cli, Command& command);

/// All findings, in the order in which they are shown. Blocks for some seconds where nobody
/// answers.
std::vector<Finding> examine(const ProcessConfig& config, const DoctorOptions& options);

/// Those of the sidecar, for `bus.kind` dapr.
std::vector<Finding> examine_sidecar(const ProcessConfig& config, const DoctorOptions& options);

/// Whether each root of topics has a JetStream stream, and one with bounds.
std::vector<Finding> examine_streams(const bus::DaprConfig& config, const std::string& server);

/// A line each, and the next step under it.
std::string to_text(const std::vector<Finding>& findings);

}  // namespace virtufin::app

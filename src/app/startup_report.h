#pragma once

#include <string>
#include <vector>

#include "app/process.h"

namespace virtufin::app {

/// One aligned line a fact.
struct ReportLine {
  std::string what;
  std::string where;
};

/// Where things are: REST, gRPC, health, metrics, further ports, bus, state; then what is unsafe.
std::vector<ReportLine> startup_report(const ProcessConfig& config,
                                       const std::vector<ModuleAddress>& addresses);

/// With the second column aligned, a newline after each.
std::string aligned(const std::vector<ReportLine>& lines);

}  // namespace virtufin::app

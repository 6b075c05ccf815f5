#include "app/startup_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "rpc/port.h"

namespace virtufin::app {
namespace {

std::string url(const rpc::Endpoint& endpoint) {
  return fmt::format("http://{}", rpc::to_string(endpoint));
}

std::string state_line(const bus::StateConfig& state) {
  if (state.durability == "none") return "in memory";
  return fmt::format("in memory and {} ({})", state.path, state.durability);
}

}  // namespace

std::vector<ReportLine> startup_report(const ProcessConfig& config,
                                       const std::vector<ModuleAddress>& addresses) {
  std::vector<ReportLine> lines;
  for (const ModuleAddress& address : addresses) {
    if (&address == &addresses.front()) {
      // The public face: the gateway where there is one.
      lines.push_back({"REST", url(address.http)});
      lines.push_back({"gRPC", rpc::to_string(address.grpc)});
      lines.push_back(
          {"API", fmt::format("grpcurl -plaintext {} list", rpc::to_string(address.grpc))});
      lines.push_back({"health", url(address.http) + "/health"});
      lines.push_back({"metrics", url(address.http) + "/metrics"});
      lines.push_back({"version", url(address.http) + "/version"});
    } else {
      lines.push_back({address.module, fmt::format("{}, gRPC {}", url(address.http),
                                                   rpc::to_string(address.grpc))});
    }
  }
  if (config.bus_kind == kBusDapr) {
    lines.push_back({"bus", fmt::format("Dapr sidecar at {}", config.dapr.resolved_endpoint())});
    lines.push_back({"state", fmt::format("Dapr component {}", config.dapr.state_store)});
  } else {
    lines.push_back({"bus", "in memory"});
    lines.push_back({"state", state_line(config.state)});
  }
  for (std::string& text : unsafe_settings(config)) lines.push_back({"unsafe", std::move(text)});
  return lines;
}

std::string aligned(const std::vector<ReportLine>& lines) {
  std::size_t width = 0;
  for (const ReportLine& line : lines) width = std::max(width, line.what.size());
  std::string text;
  for (const ReportLine& line : lines) {
    text += fmt::format("{:<{}}  {}\n", line.what, width, line.where);
  }
  return text;
}

}  // namespace virtufin::app

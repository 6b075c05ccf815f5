#include "app/doctor.h"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "app/health_command.h"
#include "core/errors.h"
#include "core/log.h"
#include "modules/gateway/service_spec.h"
#include "rpc/port.h"

namespace virtufin::app {
namespace {

namespace fs = std::filesystem;
using Level = Finding::Level;
using Findings = std::vector<Finding>;

constexpr std::chrono::seconds kPatience{2};

/// Whether a process of this configuration runs here; then its ports are in use, as they should be.
bool examine_running(const ProcessConfig& config, Findings& findings) {
  const auto endpoint = health_endpoint(config);
  if (!endpoint.ok()) return false;
  const auto answer = ask_health(*endpoint, kPatience);
  if (answer.ok()) {
    findings.push_back({Level::kOk, "process",
                        fmt::format("runs and is ready at {}", rpc::to_string(*endpoint)), ""});
    return true;
  }
  // One of ours answers with its state even when it is not ready.
  const std::string_view told = message(answer.status());
  if (told.find("\"entries\"") == std::string_view::npos) return false;
  findings.push_back({Level::kBad, "process",
                      fmt::format("runs and is not ready at {}: {}", rpc::to_string(*endpoint),
                                  printable(told, 2000)),
                      "what it says of its parts is what to mend"});
  return true;
}

void examine_port(const std::string& key, const rpc::Endpoint& endpoint, Findings& findings) {
  const auto port = rpc::ReservedPort::reserve(endpoint);
  if (port.ok()) {
    findings.push_back(
        {Level::kOk, key,
         endpoint.port == 0 ? "any free port" : fmt::format("{} is free", rpc::to_string(endpoint)),
         ""});
    return;
  }
  findings.push_back({Level::kBad, key, std::string(message(port.status())),
                      fmt::format("end what listens there (ss -ltnp), or give another {}", key)});
}

void examine_ports(const ProcessConfig& config, Findings& findings) {
  const auto both = [&](bool enabled, const std::string& module, const auto& section) {
    if (!enabled) return;
    examine_port(module + ".http_port", {section.host, section.http_port}, findings);
    examine_port(module + ".grpc_port", {section.host, section.grpc_port}, findings);
  };
  both(config.gateway_enabled, "gateway", config.gateway);
  both(config.workmanager_enabled, "workmanager", config.workmanager);
  both(config.wsm_enabled, "wsm", config.wsm);
  if (config.venue_enabled) {
    examine_port("venue.port", {config.venue.host, config.venue.port}, findings);
  }
}

void examine_state_file(const ProcessConfig& config, Findings& findings) {
  if (config.state.durability == "none") {
    findings.push_back({Level::kOk, "state", "in memory only, gone with the process", ""});
    return;
  }
  const fs::path path(config.state.path);
  const fs::path folder = path.parent_path().empty() ? fs::path(".") : path.parent_path();
  const bool there = ::access(path.c_str(), F_OK) == 0;
  const bool writable = there ? ::access(path.c_str(), R_OK | W_OK) == 0 : true;
  if (!writable || ::access(folder.c_str(), W_OK | X_OK) != 0) {
    findings.push_back(
        {Level::kBad, "state", fmt::format("{} cannot be written", path.string()),
         fmt::format("make the folder {} writable, or give another state.path", folder.string())});
    return;
  }
  findings.push_back({Level::kOk, "state",
                      fmt::format("{} ({}){}", path.string(), config.state.durability,
                                  there ? "" : ", made at the first start"),
                      ""});
}

bool connects(const rpc::Endpoint& endpoint) {
  boost::asio::io_context io;
  boost::asio::ip::tcp::resolver resolver(io);
  boost::beast::tcp_stream stream(io);
  boost::system::error_code failed = boost::asio::error::not_found;
  resolver.async_resolve(endpoint.host, std::to_string(endpoint.port),
                         [&](boost::system::error_code error, const auto& found) {
                           failed = error;
                           if (error) return;
                           stream.expires_after(kPatience);
                           stream.async_connect(found, [&](boost::system::error_code connected,
                                                           const auto&) { failed = connected; });
                         });
  // A resolver that hangs is not waited for longer than twice that.
  io.run_for(2 * kPatience);
  return !failed;
}

void examine_services(const ProcessConfig& config, Findings& findings) {
  std::vector<gateway::ServiceSpec> services = config.gateway.other_services;
  if (const std::string& path = config.gateway.services_file; !path.empty()) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    auto parsed = file ? gateway::parse_services(text.str())
                       : absl::StatusOr<gateway::ServicesFile>(not_found("cannot be read"));
    if (!parsed.ok()) {
      findings.push_back({Level::kBad, "services",
                          fmt::format("{}: {}", path, message(parsed.status())),
                          "correct the file, or gateway.services_file"});
    } else {
      for (gateway::ServiceSpec& spec : parsed->services) services.push_back(std::move(spec));
    }
  }
  for (const gateway::ServiceSpec& spec : services) {
    for (const rpc::Endpoint& host : spec.hosts) {
      if (connects(host)) {
        findings.push_back({Level::kOk, "service " + spec.name,
                            fmt::format("somebody listens at {}", rpc::to_string(host)), ""});
      } else {
        findings.push_back({Level::kWarning, "service " + spec.name,
                            fmt::format("nobody listens at {}", rpc::to_string(host)),
                            "start it; its calls are UNAVAILABLE until then, and it is found "
                            "by itself"});
      }
    }
  }
}

/// Native workers are loaded from private copies, which must be executable where they lie.
void examine_engines(const ProcessConfig& config, Findings& findings) {
  if (!config.workmanager_enabled) return;
  std::error_code error;
  const fs::path folder = config.workmanager.code_dir.empty()
                              ? fs::temp_directory_path(error)
                              : fs::path(config.workmanager.code_dir);
  struct statvfs mounted {};
  if (statvfs(folder.c_str(), &mounted) != 0 || ::access(folder.c_str(), W_OK | X_OK) != 0) {
    findings.push_back({Level::kBad, "engine native",
                        fmt::format("{} cannot be written", folder.string()),
                        "give a folder that can be, as workmanager.code_dir"});
  } else if ((mounted.f_flag & ST_NOEXEC) != 0) {
    findings.push_back(
        {Level::kBad, "engine native",
         fmt::format("{} is mounted noexec: no library loads from there", folder.string()),
         "give a folder elsewhere, as workmanager.code_dir"});
  } else {
    findings.push_back(
        {Level::kOk, "engine native",
         fmt::format("loads shared libraries, copied to {}; no runtime needed", folder.string()),
         ""});
  }
}

int run_doctor(const DoctorOptions& options) {
  const std::string source = options.config.empty() ? "defaults and environment" : options.config;
  auto loaded = load_config(options.config, Config::process_environment());
  if (!loaded.ok()) {
    fmt::print("{}", to_text({{Level::kBad, "config", std::string(message(loaded.status())),
                               "correct it; virtufin config --effective lists every key"}}));
    return 1;
  }
  LogConfig quiet = loaded->process.log;
  quiet.level = "off";  // what matters is a finding
  quiet.levels.clear();
  configure_logging(quiet);
  Findings findings{{Level::kOk, "config", source, ""}};
  for (const std::string& line : unsafe_settings(loaded->process)) {
    findings.push_back({Level::kWarning, "config", line, ""});
  }
  for (Finding& finding : examine(loaded->process, options)) {
    findings.push_back(std::move(finding));
  }
  fmt::print("{}", to_text(findings));
  const bool bad = std::any_of(findings.begin(), findings.end(),
                               [](const Finding& finding) { return finding.level == Level::kBad; });
  return bad ? 1 : 0;
}

}  // namespace

std::vector<Finding> examine(const ProcessConfig& config, const DoctorOptions& options) {
  Findings findings;
  if (!examine_running(config, findings)) examine_ports(config, findings);
  if (config.bus_kind == kBusDapr) {
    for (Finding& finding : examine_sidecar(config, options)) {
      findings.push_back(std::move(finding));
    }
  } else {
    findings.push_back({Level::kOk, "bus", "in memory", ""});
    examine_state_file(config, findings);
  }
  examine_services(config, findings);
  examine_engines(config, findings);
  return findings;
}

std::string to_text(const std::vector<Finding>& findings) {
  std::size_t width = 0;
  for (const Finding& finding : findings) width = std::max(width, finding.what.size());
  std::string text;
  for (const Finding& finding : findings) {
    const char* level = finding.level == Level::kOk        ? "ok"
                        : finding.level == Level::kWarning ? "warning"
                                                           : "BAD";
    text += fmt::format("{:<7}  {:<{}}  {}\n", level, finding.what, width, finding.found);
    if (!finding.next.empty()) text += fmt::format("{:>{}}-> {}\n", "", 11 + width, finding.next);
  }
  return text;
}

void add_doctor(CLI::App& cli, Command& command) {
  CLI::App* subcommand = cli.add_subcommand(
      "doctor", "Look at all that the platform needs, and say what to do about what is not there");
  auto options = std::make_shared<DoctorOptions>();
  subcommand->add_option("--config", options->config, "TOML file; without one the defaults stand")
      ->type_name("FILE");
  subcommand->add_flag("--publish", options->publish,
                       "Also publish one event, on <root>.doctor.probe, through each component of "
                       "the sidecar, to see whether its broker takes it");
  subcommand
      ->add_option("--nats", options->nats,
                   "Also look at the streams of this NATS server, past the sidecar")
      ->type_name("HOST:PORT");
  subcommand->callback(
      [options, &command] { command = [options] { return run_doctor(*options); }; });
}

}  // namespace virtufin::app

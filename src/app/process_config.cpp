#include "app/process_config.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>

#include "core/errors.h"

namespace virtufin::app {
namespace {

constexpr std::size_t kMaxInstanceId = 64;

bool valid_instance_id(const std::string& id) {
  return id.size() <= kMaxInstanceId && std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-';
         });
}

bool is_loopback(const std::string& host) {
  if (host == "localhost") return true;
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(host, error);
  return !error && address.is_loopback();
}

}  // namespace

void ProcessConfig::read(Config& config) {
  ConfigSection process = config.section("process");
  process.value("loops", loops, "Event loops, each with a thread; a connection lives on one.",
                {1, 256});
  process.value("blocking_threads", blocking_threads,
                "Threads for work that blocks: disk, loading of libraries.", {1, 64});
  process.value("blocking_queue", blocking_queue,
                "Tasks that may wait for them; what comes beyond is refused.", {1, 1'000'000});
  process.value("instance_id", instance_id,
                "Name of this process in records, events and heartbeats; empty: a random one.");
  process.value("drain_ms", drain,
                "At SIGTERM: how long what is in hand may take to finish. A second signal ends the "
                "process at once.",
                {0, 3'600'000});
  if (!valid_instance_id(instance_id)) {
    process.complain("instance_id",
                     fmt::format("must be at most {} characters of [A-Za-z0-9_-]", kMaxInstanceId));
  }

  ConfigSection modules = config.section("modules");
  modules.value("gateway", gateway_enabled, "The public services: state, pub/sub, config.");
  modules.value("wsm", wsm_enabled, "Exchange connections and their market data.");
  modules.value("workmanager", workmanager_enabled, "Strategies and other workers.");
  modules.value("venue", venue_enabled, "A simulated exchange, for demos and tests.");
  if (!gateway_enabled && !wsm_enabled && !workmanager_enabled && !venue_enabled) {
    modules.complain("gateway", "all modules are switched off; switch one on");
  }

  log.read(config.section("log"));
  server.read(config.section("server"));
  ConfigSection meeting = config.section("bus");
  meeting.choice("kind", bus_kind, {kBusMemory, kBusDapr},
                 "Where the modules meet. memory: bus and state store in this process; dapr: both "
                 "behind a Dapr sidecar, as bus.dapr says, and [state] keeps nothing.");
  bus.read(meeting);
  dapr.read(config.section("bus.dapr"));
  state.read(config.section("state"));
  gateway.read(config.section("gateway"));
  gateway.backends.read(config.section("gateway.backends"));
  gateway.services = state.services;
  if (bus_kind == kBusDapr) {
    gateway.bus_name = dapr.component_of("");
    gateway.store_name = dapr.state_store;
  }
  wsm.read(config.section("wsm"));
  workmanager.read(config.section("workmanager"));
  venue.read(config.section("venue"));
}

absl::StatusOr<LoadedConfig> load_config(const std::string& path, Config::Environment environment) {
  auto config = Config::load(path, std::move(environment));
  if (!config.ok()) return config.status();
  LoadedConfig loaded;
  loaded.process.read(*config);
  VIRTUFIN_RETURN_IF_ERROR(config->finish());
  loaded.effective = config->effective();
  return loaded;
}

std::vector<std::string> unsafe_settings(const ProcessConfig& config) {
  std::vector<std::string> lines;
  if (config.bus_kind == kBusMemory && config.state.durability == "none") {
    lines.push_back(
        "state is gone when the process ends: state.durability is none; batched survives a kill, "
        "commit a power loss");
  }
  const auto listens = [&lines](bool enabled, std::string_view module, const std::string& host) {
    if (!enabled || is_loopback(host)) return;
    lines.push_back(fmt::format(
        "whoever reaches {} may call everything: {}.host is not loopback, and no call is "
        "authenticated",
        host, module));
  };
  listens(config.gateway_enabled, "gateway", config.gateway.host);
  listens(config.wsm_enabled, "wsm", config.wsm.host);
  listens(config.workmanager_enabled, "workmanager", config.workmanager.host);
  listens(config.venue_enabled, "venue", config.venue.host);
  return lines;
}

}  // namespace virtufin::app

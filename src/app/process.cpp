#include "app/process.h"

#include <chrono>
#include <future>
#include <optional>

#include "app/backbone.h"
#include "app/build_info.h"
#include "app/version.h"
#include "core/errors.h"
#include "core/log.h"
#include "core/uuid.h"
#include "modules/gateway/gateway.h"
#include "modules/gateway/service_directory.h"
#include "modules/venue/venue.h"
#include "modules/workmanager/workmanager.h"
#include "modules/wsm/wsm.h"
#include "rpc/backends.h"

namespace virtufin::app {

using std::chrono::steady_clock;

struct Process::Impl {
  explicit Impl(ProcessConfig given)
      : config(std::move(given)),
        instance_id(config.instance_id.empty() ? std::string(random_uuid().view())
                                               : config.instance_id),
        loops(config.loops),
        blocking("blocking", config.blocking_threads, config.blocking_queue),
        http(methods, health, metrics, loops, config.server),
        grpc(methods, health, metrics, config.server) {
    if (config.gateway.other_services.empty() && config.gateway.services_file.empty()) return;
    backends = rpc::make_backends(methods, metrics, config.gateway.backends);
    directory = std::make_unique<gateway::ServiceDirectory>(config.gateway, *backends, loops.at(0),
                                                            blocking);
  }

  absl::Status start(const std::function<bool()>& stop_asked);
  absl::Status build_modules();
  absl::Status bind_ports();
  absl::Status bind(std::string_view module, const std::string& host, std::uint16_t http_port,
                    std::uint16_t grpc_port);
  void add_version_route();
  void stop();

  /// The enabled ones, in the order of start.
  std::vector<Module*> modules() {
    std::vector<Module*> all;
    const auto add = [&all](Module* module) {
      if (module) all.push_back(module);
    };
    add(gateway.get());
    add(workmanager.get());
    add(venue.get());
    add(wsm.get());
    return all;
  }

  const ProcessConfig config;
  const std::string instance_id;
  const Logger log = logger("app");

  /// When destroyed, nothing runs on the loops any more, while they are still there to be posted
  /// to.
  struct LoopsEnd {
    Loops& all;
    ~LoopsEnd();
  };

  // Destroyed from the last to the first: the modules, the servers, then the threads that may still
  // hold something of theirs, and only then what all of them use.
  WallClock clock;
  Metrics metrics;
  Loops loops;
  std::unique_ptr<Backbone> backbone;
  rpc::MethodTable methods;
  rpc::Health health;
  LoopsEnd loops_end{loops};
  BlockingPool blocking;
  rpc::HttpServer http;
  rpc::GrpcServer grpc;
  std::unique_ptr<rpc::Backends> backends;               ///< null: no services of other processes
  std::unique_ptr<gateway::ServiceDirectory> directory;  ///< with them
  std::optional<Platform> platform;
  std::shared_ptr<Gauge> build_info;
  std::vector<ModuleAddress> addresses;

  std::unique_ptr<gateway::GatewayModule> gateway;
  std::unique_ptr<workmanager::WorkManagerModule> workmanager;
  std::unique_ptr<venue::VenueModule> venue;
  std::unique_ptr<wsm::WsmModule> wsm;

  std::vector<Module*> started;
  bool serving = false;  ///< the servers run
};

Process::Impl::LoopsEnd::~LoopsEnd() {
  for (std::size_t i = 0; i < all.size(); ++i) {
    Loop& loop = all.at(i);
    std::promise<void> ended;
    // From inside, so that no other task runs after it.
    loop.post([&loop, &ended] {
      loop.io().stop();
      ended.set_value();
    });
    ended.get_future().wait();
  }
}

absl::Status Process::Impl::start(const std::function<bool()>& stop_asked) {
  auto made = Backbone::make(config, clock, metrics);
  if (!made.ok()) return made.status();
  backbone = std::move(*made);
  platform.emplace(Platform{clock, backbone->bus(), backbone->store(), methods, http, health,
                            metrics, loops, blocking, instance_id});
  build_info = metrics.gauge("virtufin_build_info", "1; what runs is in the labels.",
                             {{"version", std::string(kVersion)},
                              {"commit", std::string(kCommit)},
                              {"build", std::string(kBuildType)}});
  build_info->set(1);

  VIRTUFIN_RETURN_IF_ERROR(build_modules());
  add_version_route();
  // After the modules: a method that this process has itself stays its own.
  if (directory) VIRTUFIN_RETURN_IF_ERROR(directory->start());
  VIRTUFIN_RETURN_IF_ERROR(bind_ports());

  // Health is answered from here on, everything else when all modules have started.
  serving = true;
  VIRTUFIN_RETURN_IF_ERROR(http.start());
  VIRTUFIN_RETURN_IF_ERROR(grpc.start());
  VIRTUFIN_RETURN_IF_ERROR(backbone->await(stop_asked));
  for (Module* module : modules()) {
    started.push_back(module);
    VIRTUFIN_RETURN_IF_ERROR(with_context(module->start(), module->name()));
  }
  health.set_serving(true);
  log->info("{} serves as instance {}", version_line(), instance_id);
  return absl::OkStatus();
}

absl::Status Process::Impl::build_modules() {
  health.add([this] { return backbone->health(); });
  if (config.gateway_enabled) {
    gateway = std::make_unique<gateway::GatewayModule>(*platform, config.gateway, directory.get());
  }
  if (config.workmanager_enabled) {
    workmanager = std::make_unique<workmanager::WorkManagerModule>(*platform, config.workmanager);
  }
  if (config.venue_enabled) {
    venue = std::make_unique<venue::VenueModule>(*platform, config.venue);
  }
  if (config.wsm_enabled) wsm = std::make_unique<wsm::WsmModule>(*platform, config.wsm);
  for (Module* module : modules()) {
    health.add([module] { return module->health(); });
  }
  return absl::OkStatus();
}

absl::Status Process::Impl::bind_ports() {
  if (gateway) {
    const auto& own = config.gateway;
    VIRTUFIN_RETURN_IF_ERROR(bind("gateway", own.host, own.http_port, own.grpc_port));
  }
  if (workmanager) {
    const auto& own = config.workmanager;
    VIRTUFIN_RETURN_IF_ERROR(bind("workmanager", own.host, own.http_port, own.grpc_port));
  }
  if (wsm) {
    const auto& own = config.wsm;
    VIRTUFIN_RETURN_IF_ERROR(bind("wsm", own.host, own.http_port, own.grpc_port));
  }
  if (venue) VIRTUFIN_RETURN_IF_ERROR(with_context(venue->bind(), "venue.port"));
  return absl::OkStatus();
}

absl::Status Process::Impl::bind(std::string_view module, const std::string& host,
                                 std::uint16_t http_port, std::uint16_t grpc_port) {
  const auto http_bound = http.bind({host, http_port});
  if (!http_bound.ok()) {
    return with_context(http_bound.status(), fmt::format("{}.http_port", module));
  }
  const auto grpc_bound = grpc.bind({host, grpc_port});
  if (!grpc_bound.ok()) {
    return with_context(grpc_bound.status(), fmt::format("{}.grpc_port", module));
  }
  addresses.push_back({std::string(module), {host, *http_bound}, {host, *grpc_bound}});
  return absl::OkStatus();
}

void Process::Impl::add_version_route() {
  std::vector<std::string> names;
  for (const Module* module : modules()) names.emplace_back(module->name());
  http.route("GET", "/version",
             [body = version_json(names)](std::shared_ptr<rpc::HttpExchange> exchange) {
               rpc::HttpResponse response;
               response.body = body;
               exchange->reply(std::move(response));
             });
}

void Process::Impl::stop() {
  if (!serving) return;
  serving = false;
  const auto begun = steady_clock::now();
  const auto deadline = begun + config.drain;
  log->info("stopping, within {} ms", config.drain.count());
  health.set_serving(false);
  for (Module* module : started) module->close_intake();
  for (auto module = started.rbegin(); module != started.rend(); ++module) {
    (*module)->stop(deadline);
  }
  started.clear();
  http.drain(deadline);
  grpc.drain(deadline);
  if (directory) directory->stop();
  if (backends) backends->close();
  const auto took =
      std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - begun);
  log->info("stopped in {} ms", took.count());
}

Process::Process(ProcessConfig config) : impl_(std::make_unique<Impl>(std::move(config))) {}

Process::~Process() { stop(); }

absl::Status Process::start(const std::function<bool()>& stop_asked) {
  const absl::Status status = impl_->start(stop_asked);
  if (!status.ok()) stop();
  return status;
}

void Process::stop() { impl_->stop(); }

const ProcessConfig& Process::config() const { return impl_->config; }
const std::string& Process::instance_id() const { return impl_->instance_id; }
const std::vector<ModuleAddress>& Process::addresses() const { return impl_->addresses; }
Platform& Process::platform() { return *impl_->platform; }
gateway::GatewayModule* Process::gateway() { return impl_->gateway.get(); }
workmanager::WorkManagerModule* Process::workmanager() { return impl_->workmanager.get(); }
venue::VenueModule* Process::venue() { return impl_->venue.get(); }
wsm::WsmModule* Process::wsm() { return impl_->wsm.get(); }

}  // namespace virtufin::app

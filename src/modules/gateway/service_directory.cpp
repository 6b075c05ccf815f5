#include "modules/gateway/service_directory.h"

#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <future>
#include <mutex>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::gateway {
namespace {

constexpr std::size_t kMaxFileBytes = 1 << 20;

/// What tells that a file is another one than before, without reading it.
struct Stamp {
  std::int64_t seconds = 0, nanoseconds = 0, size = -1;
  std::uint64_t inode = 0;
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

absl::StatusOr<Stamp> stamp_of(const std::string& path) {
  struct stat seen {};
  if (stat(path.c_str(), &seen) != 0) {
    return not_found("{}: {}", path, std::strerror(errno));
  }
  return Stamp{seen.st_mtim.tv_sec, seen.st_mtim.tv_nsec, seen.st_size, seen.st_ino};
}

absl::StatusOr<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxFileBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad() || (file.fail() && !file.eof())) return unavailable("{}: cannot be read", path);
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMaxFileBytes) {
    return invalid_argument("{}: is larger than {} bytes", path, kMaxFileBytes);
  }
  return text;
}

/// Our own services, known by the linked protos before their process has answered.
std::vector<std::string> known_services(const std::string& name) {
  if (name == "workmanager") return {"virtufin.WorkManager"};
  if (name == "websocketmanager") return {"virtufin.WebSocketManager"};
  if (name == "api") return {"virtufin.State", "virtufin.Pubsub", "virtufin.Config"};
  return {};
}

}  // namespace

struct ServiceDirectory::Impl : std::enable_shared_from_this<Impl> {
  Impl(const GatewayConfig& config, rpc::Backends& table, Loop& timers, BlockingPool& pool)
      : configured(config.other_services),
        path(config.services_file),
        poll(config.services_poll),
        backends(table),
        loop(timers),
        blocking(pool),
        timer(timers.io()) {}

  absl::Status load();
  void apply(const std::vector<ServiceSpec>& of_file);
  void watch();
  void look();
  bool has_stopped() const {
    std::lock_guard lock(mutex);
    return stopped;
  }

  const std::vector<ServiceSpec> configured;
  const std::string path;
  const std::chrono::milliseconds poll;
  rpc::Backends& backends;
  Loop& loop;
  BlockingPool& blocking;
  const Logger log = logger("gateway");
  boost::asio::steady_timer timer;  ///< on the loop

  mutable std::mutex mutex;  // of what follows
  bool stopped = false;
  Stamp stamp;
  std::string complaint;  ///< the last one told, so that it is told once
  std::shared_ptr<const Services> services = std::make_shared<const Services>();
};

void ServiceDirectory::Impl::apply(const std::vector<ServiceSpec>& of_file) {
  Services all = configured;
  for (const ServiceSpec& spec : of_file) {
    const bool twice = std::any_of(all.begin(), all.end(),
                                   [&](const ServiceSpec& has) { return has.name == spec.name; });
    if (twice) {
      log->warn("{}: service {} stands in the config too, which counts", path, spec.name);
    } else {
      all.push_back(spec);
    }
  }
  std::vector<rpc::BackendSpec> specs;
  for (const ServiceSpec& spec : all) {
    if (!spec.hosts.empty()) specs.push_back({spec.name, spec.hosts, known_services(spec.name)});
  }
  services = std::make_shared<const Services>(std::move(all));
  backends.set(std::move(specs));
}

absl::Status ServiceDirectory::Impl::load() {
  if (path.empty()) {
    apply({});
    return absl::OkStatus();
  }
  const auto now = stamp_of(path);
  if (!now.ok()) return now.status();
  if (*now == stamp) return absl::OkStatus();
  stamp = *now;
  const auto text = read_file(path);
  if (!text.ok()) return text.status();
  const auto file = parse_services(*text);
  if (!file.ok()) return with_context(file.status(), path);
  for (const std::string& member : file->ignored) {
    log->warn("{}: {} means nothing here and is ignored", path, member);
  }
  apply(file->services);
  log->info("{}: {} services", path, file->services.size());
  return absl::OkStatus();
}

void ServiceDirectory::Impl::watch() {
  timer.expires_after(poll);
  timer.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (error || self->has_stopped()) return;
    // Reading may block, which the loop must not. With the pool full, the next time will do.
    if (!self->blocking.post([self] { self->look(); })) self->watch();
  });
}

void ServiceDirectory::Impl::look() {
  std::lock_guard lock(mutex);
  if (stopped) return;
  const absl::Status loaded = load();
  if (loaded.ok()) {
    complaint.clear();
  } else if (complaint != message(loaded)) {
    complaint = message(loaded);
    log->error("{}; what it said before stands", complaint);
  }
  loop.post([self = shared_from_this()] { self->watch(); });
}

ServiceDirectory::ServiceDirectory(const GatewayConfig& config, rpc::Backends& backends, Loop& loop,
                                   BlockingPool& blocking)
    : impl_(std::make_shared<Impl>(config, backends, loop, blocking)) {}

ServiceDirectory::~ServiceDirectory() { stop(); }

absl::Status ServiceDirectory::start() {
  std::lock_guard lock(impl_->mutex);
  VIRTUFIN_RETURN_IF_ERROR(with_context(impl_->load(), "gateway.services_file"));
  if (!impl_->path.empty()) impl_->loop.post([impl = impl_] { impl->watch(); });
  return absl::OkStatus();
}

void ServiceDirectory::stop() {
  {
    std::lock_guard lock(impl_->mutex);
    if (std::exchange(impl_->stopped, true)) return;
  }
  // From inside: when that has run, the timer will not ask the pool for anything any more.
  std::promise<void> ended;
  impl_->loop.post([this, &ended] {
    impl_->timer.cancel();
    ended.set_value();
  });
  ended.get_future().wait();
}

std::shared_ptr<const ServiceDirectory::Services> ServiceDirectory::services() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->services;
}

}  // namespace virtufin::gateway

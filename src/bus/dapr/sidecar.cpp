#include "bus/dapr/sidecar.h"

#include <google/protobuf/message_lite.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>

#include "bus/dapr/sidecar_channel.h"
#include "core/errors.h"
#include "core/log.h"
#include "core/metrics.h"
#include "dapr/proto/runtime/v1/dapr.pb.h"

namespace virtufin::bus {
namespace {

using google::protobuf::MessageLite;
using std::chrono::milliseconds;

/// Probes without an answer until the sidecar counts as away.
constexpr int kSilentProbes = 3;

const Logger& log() {
  static const Logger kLogger = logger("dapr");
  return kLogger;
}

}  // namespace

bool SidecarInfo::Component::can(std::string_view capability) const {
  return std::find(capabilities.begin(), capabilities.end(), capability) != capabilities.end();
}

const SidecarInfo::Component* SidecarInfo::find(std::string_view kind,
                                                std::string_view name) const {
  for (const Component& component : components) {
    if (component.name == name && component.type.rfind(std::string(kind) + '.', 0) == 0) {
      return &component;
    }
  }
  return nullptr;
}

std::string SidecarInfo::names(std::string_view kind) const {
  std::vector<std::string> found;
  for (const Component& component : components) {
    if (component.type.rfind(std::string(kind) + '.', 0) == 0) found.push_back(component.name);
  }
  std::sort(found.begin(), found.end());
  if (found.empty()) return "none";
  return fmt::format("{}", fmt::join(found, ", "));
}

struct Sidecar::Impl {
  Impl(const DaprConfig& config, Metrics& metrics)
      : channel(config, metrics),
        up(metrics.gauge("virtufin_dapr_sidecar_up", "1 while the sidecar answers")) {}

  void probe();
  void probed(absl::StatusOr<dapr::proto::runtime::v1::GetMetadataResponse> answer);
  absl::Status reachable_locked() const;

  sidecar::SidecarChannel channel;
  const std::shared_ptr<Gauge> up;

  mutable std::mutex mutex;
  mutable std::condition_variable answered;
  std::shared_ptr<const SidecarInfo> info;
  absl::Status last_probe = unavailable("not asked yet");

  bool told_away = false;  // on the thread: that it was not there at start has been logged
};

void Sidecar::Impl::probe() {
  auto response = std::make_unique<dapr::proto::runtime::v1::GetMetadataResponse>();
  MessageLite& filled = *response;
  channel.start_call("GetMetadata", dapr::proto::runtime::v1::GetMetadataRequest(), filled,
                     {channel.config().probe * kSilentProbes},
                     [this, response = std::move(response)](const absl::Status& status) mutable {
                       if (status.ok()) {
                         probed(std::move(*response));
                       } else {
                         probed(status);
                       }
                       channel.after(channel.config().probe, [this] { probe(); });
                     });
}

void Sidecar::Impl::probed(absl::StatusOr<dapr::proto::runtime::v1::GetMetadataResponse> answer) {
  if (absl::IsCancelled(answer.status())) return;  // by close()
  std::shared_ptr<SidecarInfo> told;
  if (answer.ok()) {
    told = std::make_shared<SidecarInfo>();
    told->app_id = answer->id();
    told->runtime_version = answer->runtime_version();
    for (const auto& component : answer->registered_components()) {
      told->components.push_back(
          {component.name(),
           component.type(),
           component.version(),
           {component.capabilities().begin(), component.capabilities().end()}});
    }
  }
  bool was_up = false;
  {
    std::lock_guard lock(mutex);
    was_up = last_probe.ok();
    last_probe = answer.status();
    if (told) info = told;
  }
  up->set(answer.ok() ? 1 : 0);
  if (told && !was_up) {
    answered.notify_all();
    log()->info("sidecar {} answers: app '{}', Dapr {}", channel.endpoint(),
                printable(told->app_id), printable(told->runtime_version));
  } else if (!told && (was_up || !std::exchange(told_away, true))) {
    log()->warn("sidecar {} does not answer: {}", channel.endpoint(), message(answer.status()));
  }
}

absl::Status Sidecar::Impl::reachable_locked() const {
  if (last_probe.ok()) return absl::OkStatus();
  if (last_probe.code() == absl::StatusCode::kUnauthenticated ||
      last_probe.code() == absl::StatusCode::kPermissionDenied) {
    return with_context(last_probe, fmt::format("sidecar {} refuses us; set DAPR_API_TOKEN to its "
                                                "token",
                                                channel.endpoint()));
  }
  return unavailable(
      "sidecar {} does not answer ({}): is daprd running, and is this its gRPC port?",
      channel.endpoint(), message(last_probe));
}

Sidecar::Sidecar(const DaprConfig& config, Metrics& metrics)
    : impl_(std::make_unique<Impl>(config, metrics)) {
  impl_->channel.start();
  impl_->probe();
}

Sidecar::~Sidecar() { close(); }

void Sidecar::close() { impl_->channel.close(); }

const DaprConfig& Sidecar::config() const { return impl_->channel.config(); }
const std::string& Sidecar::endpoint() const { return impl_->channel.endpoint(); }

void Sidecar::start_call(const char* method, const MessageLite& request, MessageLite& response,
                         CallOptions options, absl::AnyInvocable<void(const absl::Status&)> done) {
  impl_->channel.start_call(method, request, response, options, std::move(done));
}

std::shared_ptr<SidecarStream> Sidecar::start_stream(
    const char* method, const MessageLite& first, MessageLite& response,
    absl::AnyInvocable<bool()> on_message, absl::AnyInvocable<void(absl::Status)> on_end) {
  return impl_->channel.start_stream(method, first, response, std::move(on_message),
                                     std::move(on_end));
}

void Sidecar::after(milliseconds delay, absl::AnyInvocable<void()> task) {
  impl_->channel.after(delay, std::move(task));
}

std::shared_ptr<const SidecarInfo> Sidecar::info() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->info;
}

absl::Status Sidecar::reachable() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->reachable_locked();
}

absl::Status Sidecar::wait_until_reachable(milliseconds limit) const {
  std::unique_lock lock(impl_->mutex);
  impl_->answered.wait_for(lock, limit, [this] { return impl_->last_probe.ok(); });
  return impl_->reachable_locked();
}

std::vector<HealthEntry> Sidecar::health() const {
  std::vector<HealthEntry> entries{{"sidecar", reachable()}};
  const auto told = info();
  if (!told) return entries;
  std::vector<std::string> missing;
  for (const std::string& name : config().pubsub_components()) {
    if (!told->find("pubsub", name)) missing.push_back(name);
  }
  absl::Status pubsub;
  if (!missing.empty()) {
    pubsub = failed_precondition(
        "the sidecar has no pub/sub component {} (it has: {}): add its file to the sidecar's "
        "resources, or change bus.dapr.components",
        fmt::join(missing, ", "), told->names("pubsub"));
  }
  entries.push_back({"dapr pubsub", std::move(pubsub)});
  absl::Status state;
  const auto* store = told->find("state", config().state_store);
  if (!store) {
    state = failed_precondition(
        "the sidecar has no state component {} (it has: {}): add its file to the sidecar's "
        "resources, or change bus.dapr.state_store",
        config().state_store, told->names("state"));
  }
  entries.push_back({"dapr state", std::move(state)});
  return entries;
}

// --- Backoff ------------------------------------------------------------------------------------

Backoff::Backoff(milliseconds first, milliseconds max)
    : first_(std::max(first, milliseconds(1))), max_(std::max(max, first_)) {}

milliseconds Backoff::next() {
  // 2^20 times any first wait is beyond any max that the config takes.
  const auto doubled = first_.count() << std::min(attempt_, 20);
  ++attempt_;
  const auto full = std::min<std::int64_t>(doubled, max_.count());
  thread_local std::minstd_rand random{std::random_device{}()};
  const std::int64_t floor = std::max<std::int64_t>(1, full / 2);
  return milliseconds(std::uniform_int_distribution<std::int64_t>(floor, full)(random));
}

}  // namespace virtufin::bus

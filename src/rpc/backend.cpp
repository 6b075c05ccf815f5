#include "rpc/backend.h"

#include <grpcpp/create_channel.h>

#include <algorithm>

#include "core/errors.h"
#include "core/log.h"
#include "rpc/port.h"

namespace virtufin::rpc {
namespace {

/// A connection that is lost is tried for again after so long; doubles up to `reconnect_max_ms`.
constexpr int kFirstReconnectMs = 100;
/// For one attempt, which a peer that accepts and never answers would use up.
constexpr int kConnectMs = 5'000;
/// A quiet peer is asked whether it lives as often as every gRPC server allows.
constexpr int kKeepaliveMs = 300'000;

std::shared_ptr<grpc::Channel> connect(const std::string& address, const BackendLimits& limits) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(limits.max_message_bytes));
  arguments.SetMaxSendMessageSize(-1);  // the backend's own limit answers
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // retried here, where it is bounded
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
                   static_cast<int>(limits.reconnect_max.count()));
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

bool is_failure(absl::StatusCode code) {
  return code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kDeadlineExceeded;
}

}  // namespace

absl::Status from_grpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return make_status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

Backend::Host::Host(const Endpoint& endpoint, const BackendLimits& limits)
    : address(to_string(endpoint)), channel(connect(address, limits)), stub(channel) {}

Backend::Backend(BackendSpec spec, std::shared_ptr<ClientQueue> queue, const BackendLimits& limits,
                 Metrics& metrics)
    : spec_(std::move(spec)),
      limits_(limits),
      queue_(std::move(queue)),
      up_(metrics.gauge("virtufin_rpc_backend_hosts_up", "Hosts of a backend that are connected",
                        {{"backend", spec_.name}})),
      breaker_(limits.breaker_calls, limits.breaker) {
  for (const Endpoint& host : spec_.hosts) hosts_.push_back(std::make_unique<Host>(host, limits));
}

absl::Status Backend::admit() {
  std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (breaker_.allows(now)) return absl::OkStatus();
  return unavailable(
      "backend {} failed at half of the last calls; none is tried for {} ms or until it has "
      "reconnected",
      where(), breaker_.closed_in(now).count());
}

Backend::Host& Backend::next() {
  const std::size_t first = turn_.fetch_add(1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < hosts_.size(); ++i) {
    Host& host = *hosts_[(first + i) % hosts_.size()];
    if (hosts_.size() == 1) return host;
    if (host.channel->GetState(true) != GRPC_CHANNEL_TRANSIENT_FAILURE) return host;
  }
  return *hosts_[first % hosts_.size()];
}

void Backend::record(absl::StatusCode code) {
  if (code == absl::StatusCode::kUnimplemented) doubted_.store(true);
  std::lock_guard lock(mutex_);
  breaker_.record(is_failure(code), std::chrono::steady_clock::now());
}

Backend::Seen Backend::look() {
  bool connected = false, lost = false;
  std::int64_t up = 0;
  for (const auto& host : hosts_) {
    const bool ready = host->channel->GetState(true) == GRPC_CHANNEL_READY;
    if (ready) ++up;
    if (ready != host->connected) (ready ? connected : lost) = true;
    host->connected = ready;
  }
  up_->set(up);
  if (connected) {
    std::lock_guard lock(mutex_);
    breaker_.reset();
  }
  return connected ? Seen::kConnected : lost ? Seen::kLost : Seen::kSame;
}

absl::Status Backend::describe(const Host& host, absl::Status status) const {
  if (!is_failure(status.code())) return status;
  return make_status(status.code(), "backend {} at {}: {}", spec_.name, host.address,
                     message(status));
}

std::string Backend::where() const {
  std::string text = spec_.name + " at ";
  for (const auto& host : hosts_) {
    if (&host != &hosts_.front()) text += ", ";
    text += host->address;
  }
  return text;
}

}  // namespace virtufin::rpc

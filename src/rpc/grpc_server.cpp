#include <grpc/support/time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>

#include "core/errors.h"
#include "core/executor.h"
#include "core/log.h"
#include "rpc/admission.h"
#include "rpc/grpc_call.h"
#include "rpc/grpc_services.h"
#include "rpc/port.h"
#include "rpc/server.h"

namespace virtufin::rpc {
namespace {

/// Calls that wait for the next client, so that a burst does not wait for us.
constexpr int kWaitingCalls = 32;
/// A dead peer is found within keepalive time and timeout: under a minute.
constexpr int kKeepaliveMs = 30'000;
constexpr int kKeepaliveTimeoutMs = 15'000;
constexpr int kClientPingMs = 5'000;  ///< clients that ping more often are told to calm down
/// How often watchers of health are told what changed.
constexpr int kHealthTickMs = 500;

gpr_timespec after_ms(int milliseconds) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_millis(milliseconds, GPR_TIMESPAN));
}

gpr_timespec to_gpr(std::chrono::steady_clock::time_point time) {
  const auto left = time - std::chrono::steady_clock::now();
  if (left > std::chrono::hours(24 * 365)) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(left).count();
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(ns, GPR_TIMESPAN));
}

}  // namespace

struct GrpcServer::Impl {
  Impl(MethodTable& table, Health& process_health, Metrics& process_metrics, ServerLimits bounds)
      : methods(table),
        health(process_health),
        limits(bounds),
        own(table, process_health),
        calls(process_metrics, "grpc"),
        in_flight(process_metrics.gauge("virtufin_rpc_calls_in_flight", "Calls that run now",
                                        {{"protocol", "grpc"}})) {}

  /// Runs a member function on the completion queue's thread, at a time or at once.
  struct Timer final : CompletionTag {
    Timer(Impl* impl, void (Impl::*function)()) : owner(impl), fired(function) {}
    void set(gpr_timespec when) {
      alarm.Set(owner->shared->queue.get(), when, static_cast<CompletionTag*>(this));
    }
    void run(bool ok) override {
      if (ok) (owner->*fired)();
    }
    Impl* const owner;
    void (Impl::*const fired)();
    grpc::Alarm alarm;
  };

  void arrived(const std::shared_ptr<GrpcCall>& call);
  std::shared_ptr<MethodStats> stats_of(std::string_view name);
  void on_tick();
  void on_drain();
  void on_caught_up();
  void close_queue();  ///< of a server that did not start
  void run();

  MethodTable& methods;
  Health& health;
  const ServerLimits limits;
  const std::shared_ptr<GrpcShared> shared = std::make_shared<GrpcShared>();
  OwnServices own;  // on the queue's thread, like the next four
  CallMetrics calls;
  StringMap<std::shared_ptr<MethodStats>> stats;
  const std::shared_ptr<Gauge> in_flight;
  bool ticking = false;
  Timer tick{this, &Impl::on_tick};
  Timer draining{this, &Impl::on_drain};
  Timer caught_up{this, &Impl::on_caught_up};
  std::atomic<bool> has_caught_up{false};

  std::vector<ReservedPort> reserved;
  std::unique_ptr<grpc::Server> server;
  std::thread thread;
};

void GrpcServer::Impl::arrived(const std::shared_ptr<GrpcCall>& call) {
  in_flight->set(shared->live.load(std::memory_order_relaxed));
  std::string_view name = call->path();
  if (!name.empty() && name.front() == '/') name.remove_prefix(1);
  if (own.serve(name, call)) {
    if (!ticking) {
      ticking = true;
      tick.set(after_ms(kHealthTickMs));
    }
    return;
  }
  if (auto status = admit(health); !status.ok()) {
    call->measure(stats_of("refused"));
    return call->finish(std::move(status));
  }
  if (shared->live.load(std::memory_order_relaxed) > limits.max_calls) {
    call->measure(stats_of("refused"));
    return call->finish(resource_exhausted(
        "this process runs {} calls at once and takes no more (server.max_calls); try again later",
        limits.max_calls));
  }
  MethodPtr method = methods.find_exact(name);
  if (method == nullptr || method->descriptor()->client_streaming()) {
    call->measure(stats_of("unknown"));
    if (method != nullptr) {
      return call->finish(unimplemented("{}: streams of requests are not served", name));
    }
    // A shorter name is no name on the wire, but the caller is told the whole one.
    const auto found = methods.find(name);
    return call->finish(
        found.ok() ? unimplemented("no method {}; it is {}", printable(name), (*found)->full_name())
                   : unimplemented("{}", message(found.status())));
  }
  call->measure(stats_of(name));
  call->serve(std::move(method));
}

std::shared_ptr<MethodStats> GrpcServer::Impl::stats_of(std::string_view name) {
  auto found = stats.find(name);
  if (found == stats.end()) found = stats.emplace(std::string(name), calls.of(name)).first;
  return found->second;
}

void GrpcServer::Impl::on_tick() {
  in_flight->set(shared->live.load(std::memory_order_relaxed));
  // Only while there are watchers: they are calls, so the queue is open.
  ticking = own.tick();
  if (ticking) tick.set(after_ms(kHealthTickMs));
}

void GrpcServer::Impl::on_drain() { own.drain(); }

void GrpcServer::Impl::on_caught_up() {
  has_caught_up.store(true);
  has_caught_up.notify_all();
}

void GrpcServer::Impl::close_queue() {
  if (server != nullptr) server->Shutdown(gpr_now(GPR_CLOCK_MONOTONIC));
  shared->queue->Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (shared->queue->Next(&tag, &ok)) {
  }
}

void GrpcServer::Impl::run() {
  set_thread_name("grpc");
  void* tag = nullptr;
  bool ok = false;
  while (shared->queue->Next(&tag, &ok)) static_cast<CompletionTag*>(tag)->run(ok);
}

GrpcServer::GrpcServer(MethodTable& methods, Health& health, Metrics& metrics, ServerLimits limits)
    : impl_(std::make_unique<Impl>(methods, health, metrics, limits)) {}

GrpcServer::~GrpcServer() { drain(std::chrono::steady_clock::now()); }

absl::StatusOr<std::uint16_t> GrpcServer::bind(const Endpoint& endpoint) {
  auto port = ReservedPort::reserve(endpoint);
  if (!port.ok()) return port.status();
  const std::uint16_t number = port->endpoint().port;
  impl_->reserved.push_back(*std::move(port));
  return number;
}

absl::Status GrpcServer::start() {
  const ServerLimits& limits = impl_->limits;
  grpc::ServerBuilder builder;
  std::vector<int> bound(impl_->reserved.size(), 0);
  for (std::size_t i = 0; i < bound.size(); ++i) {
    builder.AddListeningPort(to_string(impl_->reserved[i].endpoint()),
                             grpc::InsecureServerCredentials(), &bound[i]);
  }
  builder.RegisterAsyncGenericService(&impl_->shared->service);
  builder.SetMaxReceiveMessageSize(static_cast<int>(limits.max_message_bytes));
  const auto argument = [&](const char* name, std::int64_t value) {
    builder.AddChannelArgument(name, static_cast<int>(value));
  };
  argument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  argument(GRPC_ARG_MAX_METADATA_SIZE, limits.max_header_bytes);
  argument(GRPC_ARG_MAX_CONCURRENT_STREAMS, limits.max_streams_per_connection);
  argument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, limits.header_timeout.count());
  argument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  argument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  argument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  argument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kClientPingMs);
  impl_->shared->queue = builder.AddCompletionQueue();
  impl_->shared->arrived = [impl = impl_.get()](const std::shared_ptr<GrpcCall>& call) {
    impl->arrived(call);
  };
  impl_->server = builder.BuildAndStart();
  const auto failed = std::find(bound.begin(), bound.end(), 0);
  if (impl_->server == nullptr || failed != bound.end()) {
    impl_->close_queue();
    if (failed == bound.end()) return internal_error("the gRPC server did not start");
    const auto index = static_cast<std::size_t>(failed - bound.begin());
    return bind_error(impl_->reserved[index].endpoint(), EADDRINUSE);
  }
  impl_->reserved.clear();
  for (int i = 0; i < kWaitingCalls; ++i) GrpcCall::accept(impl_->shared);
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
  return absl::OkStatus();
}

void GrpcServer::drain(std::chrono::steady_clock::time_point deadline) {
  if (!impl_->thread.joinable()) return;
  impl_->draining.set(gpr_now(GPR_CLOCK_MONOTONIC));
  impl_->server->Shutdown(to_gpr(deadline));
  // What gRPC has queued by now includes every call that ever arrived. When the last of them knows
  // that it is over, no operation can start any more, and the queue may close.
  impl_->caught_up.set(gpr_now(GPR_CLOCK_MONOTONIC));
  impl_->has_caught_up.wait(false);
  std::atomic<std::int64_t>& live = impl_->shared->live;
  for (std::int64_t now = live.load(); now != 0; now = live.load()) live.wait(now);
  impl_->shared->queue->Shutdown();
  impl_->tick.alarm.Cancel();
  impl_->thread.join();
}

}  // namespace virtufin::rpc

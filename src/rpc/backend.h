#pragma once

#include <absl/status/status.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/metrics.h"
#include "rpc/backends.h"
#include "rpc/breaker.h"
#include "rpc/client_queue.h"

namespace virtufin::rpc {

/// One other process: its channels, which of its hosts is next, and whether calls are tried.
/// Outlives the table's rows as long as calls are out.
///
/// Threads: any.
class Backend {
 public:
  struct Host {
    Host(const Endpoint& endpoint, const BackendLimits& limits);
    const std::string address;
    const std::shared_ptr<grpc::Channel> channel;
    grpc::GenericStub stub;
    bool connected = false;  ///< when last looked; by look() alone
  };

  Backend(BackendSpec spec, std::shared_ptr<ClientQueue> queue, const BackendLimits& limits,
          Metrics& metrics);

  const BackendSpec& spec() const { return spec_; }
  const BackendLimits& limits() const { return limits_; }
  ClientQueue& queue() { return *queue_; }

  /// UNAVAILABLE while calls are not tried.
  absl::Status admit();
  /// The next in turn of those that are not known to be away, if any is not.
  Host& next();
  /// How a call ended.
  void record(absl::StatusCode code);

  enum class Seen { kSame, kConnected, kLost };
  /// What became of the connections since the last look; keeps them connecting. On one thread.
  Seen look();
  bool connected() const { return up_->value() != 0; }
  /// Whether a method was UNIMPLEMENTED since this was last asked: its descriptors may be old.
  bool take_doubt() { return doubted_.exchange(false); }

  /// An error of the way there, with the backend's name and address in it; other errors are as they
  /// came.
  absl::Status describe(const Host& host, absl::Status status) const;
  /// `workmanager at 127.0.0.1:25002`.
  std::string where() const;

 private:
  const BackendSpec spec_;
  const BackendLimits limits_;
  const std::shared_ptr<ClientQueue> queue_;
  std::vector<std::unique_ptr<Host>> hosts_;
  const std::shared_ptr<Gauge> up_;
  std::atomic<std::size_t> turn_{0};
  std::atomic<bool> doubted_{false};
  std::mutex mutex_;
  Breaker breaker_;
};

absl::Status from_grpc(const grpc::Status& status);

}  // namespace virtufin::rpc

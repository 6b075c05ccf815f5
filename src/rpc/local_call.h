#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rpc/method.h"

namespace virtufin::rpc {

/// The cancelling half of a call, for whoever implements one. Each callback runs once, on the
/// thread that cancels, or at once if that has happened; end() forgets those that did not, because
/// what they hold may hold the call.
///
/// Threads: any.
class Cancellation {
 public:
  bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }
  void on_cancel(absl::AnyInvocable<void()> callback);
  void cancel();
  void end();

 private:
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  bool ended_ = false;
  std::vector<absl::AnyInvocable<void()>> callbacks_;
};

/// A call that comes from this process: a worker's `gateway_call`, Invoke, a test.
///
/// Threads: any.
class LocalCall final : public Call {
 public:
  using Metadata = std::vector<std::pair<std::string, std::string>>;  ///< keys in lower case

  explicit LocalCall(
      std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max(),
      Metadata metadata = {})
      : deadline_(deadline), metadata_(std::move(metadata)) {}

  std::chrono::steady_clock::time_point deadline() const override { return deadline_; }
  std::string_view metadata(std::string_view key) const override;
  bool cancelled() const override { return cancellation_.cancelled(); }
  void on_cancel(absl::AnyInvocable<void()> callback) override {
    cancellation_.on_cancel(std::move(callback));
  }
  void cancel() { cancellation_.cancel(); }
  /// The call is answered: what on_cancel() was given is let go.
  void end() { cancellation_.end(); }

 private:
  const std::chrono::steady_clock::time_point deadline_;
  const Metadata metadata_;
  Cancellation cancellation_;
};

}  // namespace virtufin::rpc

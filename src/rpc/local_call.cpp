#include "rpc/local_call.h"

namespace virtufin::rpc {

void Cancellation::on_cancel(absl::AnyInvocable<void()> callback) {
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    if (!cancelled()) {
      callbacks_.push_back(std::move(callback));
      return;
    }
  }
  callback();
}

void Cancellation::cancel() {
  std::vector<absl::AnyInvocable<void()>> callbacks;
  {
    std::lock_guard lock(mutex_);
    if (ended_ || cancelled()) return;
    cancelled_.store(true, std::memory_order_release);
    callbacks.swap(callbacks_);
  }
  for (auto& callback : callbacks) callback();
}

void Cancellation::end() {
  std::vector<absl::AnyInvocable<void()>> callbacks;
  std::lock_guard lock(mutex_);
  ended_ = true;
  callbacks.swap(callbacks_);
}

std::string_view LocalCall::metadata(std::string_view key) const {
  for (const auto& [name, value] : metadata_) {
    if (name == key) return value;
  }
  return {};
}

}  // namespace virtufin::rpc

#include "rpc/call_metrics.h"

namespace virtufin::rpc {

MethodStats::MethodStats(Metrics& metrics, std::string_view protocol, std::string_view method)
    : metrics_(metrics),
      labels_{{"protocol", std::string(protocol)}, {"method", std::string(method)}},
      duration_(metrics.histogram("virtufin_rpc_call_duration_seconds",
                                  "From the call's arrival to its last answer", labels_)) {}

void MethodStats::record(absl::StatusCode code, std::chrono::steady_clock::duration took) {
  duration_->record_ns(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count());
  const auto index = static_cast<std::size_t>(code) < kCodes
                         ? static_cast<std::size_t>(code)
                         : static_cast<std::size_t>(absl::StatusCode::kUnknown);
  Counter* counter = counters_[index].load(std::memory_order_acquire);
  if (counter == nullptr) {
    std::lock_guard lock(mutex_);
    if (owned_[index] == nullptr) {
      Labels labels = labels_;
      labels["code"] = code_name(static_cast<absl::StatusCode>(index));
      owned_[index] = metrics_.counter("virtufin_rpc_calls_total",
                                       "Calls that ended, by method and gRPC code", labels);
      counters_[index].store(owned_[index].get(), std::memory_order_release);
    }
    counter = owned_[index].get();
  }
  counter->add();
}

std::shared_ptr<MethodStats> CallMetrics::of(std::string_view method) {
  std::lock_guard lock(mutex_);
  auto found = methods_.find(method);
  if (found == methods_.end()) {
    found = methods_
                .emplace(std::string(method),
                         std::make_shared<MethodStats>(metrics_, protocol_, method))
                .first;
  }
  return found->second;
}

}  // namespace virtufin::rpc

#pragma once

#include <absl/status/status.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "core/errors.h"
#include "core/metrics.h"

namespace virtufin::rpc {

/// How often a method was called over one protocol, with which outcome, and how long it took.
///
/// Threads: any; counting locks only for the first call with a code.
class MethodStats {
 public:
  MethodStats(Metrics& metrics, std::string_view protocol, std::string_view method);
  void record(absl::StatusCode code, std::chrono::steady_clock::duration took);

 private:
  static constexpr std::size_t kCodes = 17;
  Metrics& metrics_;
  const Labels labels_;
  const std::shared_ptr<Histogram> duration_;
  std::array<std::atomic<Counter*>, kCodes> counters_{};
  std::mutex mutex_;
  std::array<std::shared_ptr<Counter>, kCodes> owned_;
};

/// The stats of one server, by method. What is not in the table counts as `unknown`, so that
/// callers cannot make series.
///
/// Threads: any; of() locks, so keep what it answers. The stats live as long as a holder.
class CallMetrics {
 public:
  CallMetrics(Metrics& metrics, std::string_view protocol)
      : metrics_(metrics), protocol_(protocol) {}
  std::shared_ptr<MethodStats> of(std::string_view method);

 private:
  Metrics& metrics_;
  const std::string protocol_;
  std::mutex mutex_;
  StringMap<std::shared_ptr<MethodStats>> methods_;
};

}  // namespace virtufin::rpc

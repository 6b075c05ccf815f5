#pragma once

#include <absl/functional/any_invocable.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/module.h"

namespace virtufin::rpc {

/// What readiness is made of, for `/health` and `grpc.health.v1`. Ready: serving, and every entry
/// OK.
///
/// Threads: any.
class Health {
 public:
  using Probe = absl::AnyInvocable<std::vector<HealthEntry>() const>;

  void add(Probe probe);  ///< cheap, from any thread
  /// False at start and from SIGTERM on.
  void set_serving(bool serving);
  bool serving() const;

  std::vector<HealthEntry> entries() const;
  bool ready() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<const Probe>> probes_;
  std::atomic<bool> serving_{false};
};

}  // namespace virtufin::rpc

#pragma once

#include <absl/status/statusor.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "bus/state_store.h"
#include "core/scenario.h"
#include "modules/workmanager/worker_spec.h"

namespace virtufin::workmanager {

/// The workers' records in the state store: `workmanager.worker.<id>` and, listing them,
/// `workmanager.worker.index`, changed under its etag.
///
/// Threads: those that may wait: every call blocks until the store has answered, at most kPatience.
class WorkerRecords {
 public:
  static constexpr std::string_view kIndexKey = "workmanager.worker.index";
  static constexpr std::chrono::seconds kPatience{30};

  explicit WorkerRecords(bus::StateStore& store) : store_(store) {}

  absl::Status save(const WorkerSpec& spec);
  absl::Status add_to_index(const std::string& id);
  /// Record and entry of the index. OK if they were not there.
  absl::Status erase(const std::string& id);

  absl::StatusOr<std::vector<std::string>> index();
  absl::StatusOr<WorkerSpec> load(const std::string& id);

  /// FAILED_PRECONDITION if the scenario is not registered.
  absl::StatusOr<Scenario> scenario(const std::string& id, TimePoint now);

 private:
  template <class Change>
  absl::Status change_index(Change&& change);

  bus::StateStore& store_;
};

}  // namespace virtufin::workmanager

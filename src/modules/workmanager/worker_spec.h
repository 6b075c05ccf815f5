#pragma once

#include <absl/status/statusor.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bus/bus.h"
#include "core/time.h"
#include "modules/workmanager/config.h"
#include "virtufin/workmanager.pb.h"

namespace virtufin::workmanager {

enum class Dispatch {
  kPool,    ///< on the threads that workers share
  kThread,  ///< on a thread of its own
  kInline,  ///< on the publisher's thread: the shortest path, for trusted code
};

/// What a worker is, as it was asked for. Kept in the state store as JSON, code included.
struct WorkerSpec {
  std::string id;
  std::string mime_type;
  std::vector<std::string> topics;
  std::map<std::string, std::string> config;
  std::map<std::string, std::string> tags;
  std::string group;
  bus::Filter filter;
  std::string scenario = "LIVE";
  std::optional<bus::Overflow> overflow;  ///< none: by topic
  Dispatch dispatch = Dispatch::kPool;
  int concurrency = 1;
  std::chrono::milliseconds timeout{30'000};
  bus::RetryPolicy retry;
  std::size_t queue_events = 65'536;
  TimePoint created_at;
  bool running = false;  ///< the saved state: what a restart brings back
  std::string code;      ///< inline content
};

/// Checks a request and fills in the defaults; everything but id, created_at and running.
/// INVALID_ARGUMENT naming the field.
absl::StatusOr<WorkerSpec> spec_from_request(const CreateWorkerRequest& request,
                                             const WorkManagerConfig& config);

/// The record at `workmanager.worker.<id>`.
std::string to_json(const WorkerSpec& spec);
absl::StatusOr<WorkerSpec> spec_from_json(std::string_view json);

}  // namespace virtufin::workmanager

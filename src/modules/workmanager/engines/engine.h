#pragma once

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/event.h"
#include "core/event_fields.h"

namespace virtufin::workmanager {

/// Takes what one call of Process puts out, while the engine's buffers are valid.
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  /// One event to publish. An error fails the call: the event is not one.
  virtual absl::Status output(const EventFields& fields) = 0;
  /// The worker's own report beside its output; the event does not fail.
  virtual void report(std::string_view message) = 0;
};

/// A worker's code, loaded. Shared by the worker and by a call that hangs in it, so that it is
/// unloaded by whoever leaves last.
class WorkerCode {
 public:
  virtual ~WorkerCode() = default;
  /// Blocks for as long as the worker's code runs. Threads: as many at once as the worker's
  /// concurrency says.
  virtual absl::Status process(const Event& event, OutputSink& sink) = 0;
};

struct LoadRequest {
  std::string_view worker_id;
  std::string_view first_topic;
  std::span<const std::uint8_t> code;
  /// Runs on the publisher's thread: what blocks is refused.
  bool inline_dispatch = false;
  std::chrono::milliseconds timeout{30'000};  ///< of what the worker calls
};

/// A way to run code, chosen by MIME type. Threads: any; load() may block.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual bool accepts(std::string_view mime_type) const = 0;
  virtual std::string_view mime_type() const = 0;  ///< the first one, for lists
  virtual std::string_view label() const = 0;      ///< `Native`
  /// INVALID_ARGUMENT with the loader's own words, FAILED_PRECONDITION for another architecture.
  virtual absl::StatusOr<std::shared_ptr<WorkerCode>> load(const LoadRequest& request) = 0;
};

}  // namespace virtufin::workmanager

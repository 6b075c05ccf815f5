#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "modules/workmanager/worker.h"

namespace virtufin::workmanager {

/// The place of one event between its delivery and its answer. Private to Worker.
struct Worker::Slot {
  enum class State : std::uint8_t { kFree, kReady, kProcessing, kDone, kFinished };

  State state = State::kFree;
  EventPtr event;  ///< while it waits; Call::input during the call
  std::optional<bus::Receipt> receipt;
  int attempts = 0;              ///< calls of Process so far
  std::vector<Pending> outputs;  ///< keeps its memory
  std::size_t next_output = 0;
  std::string_view dead;  ///< why an output of it was dead-lettered
};

/// One call of Process at a time, and what a watcher sees of it.
struct Worker::Call {
  std::atomic<std::uint64_t> entries{0};  ///< odd: inside the worker's code
  std::size_t slot_index = 0;
  std::shared_ptr<WorkerCode> code;
  WorkerPool::ThreadPtr thread;
  EventPtr input;
  std::vector<Output> outputs;
  OutputTopics topics;
  std::string report;
  std::atomic<bool> given_up{false};  ///< set under the mutex
  /// Of an inline call that was given up: only the handler that hangs may end them.
  std::vector<std::unique_ptr<bus::Subscription>> subscriptions;

  std::uint64_t seen_entries = 0;
  std::chrono::steady_clock::time_point seen_at;
};

}  // namespace virtufin::workmanager

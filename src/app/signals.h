#pragma once

#include <chrono>
#include <optional>

namespace virtufin::app {

/// SIGTERM and SIGINT as something to wait for. The first ends the process in order, the second at
/// once.
///
/// Life: constructed on the main thread before any other thread starts, because threads inherit
/// that the signals are blocked. A broken pipe is an error of its write from here on, not a signal.
/// Threads: main.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// Waits for the first, which it answers. From then on one more has its default effect.
  int wait();
  /// The same for a limited time; nothing if none came.
  std::optional<int> wait_for(std::chrono::milliseconds time);

 private:
  void unblock();
};

}  // namespace virtufin::app

#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "bus/memory/spin_lock.h"

namespace virtufin::bus::memory {

/// The lock of a subscription, with a short cut for the commonest case: nothing of it waits or
/// runs, the publisher runs the handler himself, and it answers with success at once. That *short
/// run* costs one exchange to begin and one to end, and touches nothing else that the lock guards.
///
/// Who takes the lock during a short run is told, and enters it in the books: from then on it is a
/// run as any other, and its end is refused as a short one.
class TurnLock {
 public:
  /// Only from idle.
  bool begin_short_run() {
    auto idle = State::kIdle;
    return state_.compare_exchange_strong(idle, State::kShortRun, std::memory_order_acquire,
                                          std::memory_order_relaxed);
  }
  /// False: somebody has entered it in the books.
  bool end_short_run() {
    auto running = State::kShortRun;
    return state_.compare_exchange_strong(running, State::kIdle, std::memory_order_release,
                                          std::memory_order_relaxed);
  }

  /// True: there is a short run that is in no book yet.
  bool lock() {
    for (int i = 0;; ++i) {
      State seen = state_.load(std::memory_order_relaxed);
      if (seen != State::kHeld &&
          state_.compare_exchange_weak(seen, State::kHeld, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
        return seen == State::kShortRun;
      }
      if (i < SpinLock::kSpins) {
        relax();
      } else {
        std::this_thread::yield();
      }
    }
  }
  /// `idle`: a short run may begin. The last thing that touches the lock.
  void unlock(bool idle) {
    state_.store(idle ? State::kIdle : State::kBusy, std::memory_order_release);
  }

 private:
  enum class State : std::uint8_t { kBusy, kIdle, kHeld, kShortRun };
  std::atomic<State> state_{State::kBusy};
};

}  // namespace virtufin::bus::memory

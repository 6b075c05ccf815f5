#pragma once

#include <chrono>
#include <cstddef>

namespace virtufin::rpc {

/// A circuit breaker: when at least `min_calls` calls ended within one window and half of them or
/// more failed, no call is tried for `open_for`; then it counts anew. A window is as long.
///
/// Threads: one at a time.
class Breaker {
 public:
  using Time = std::chrono::steady_clock::time_point;

  Breaker(std::size_t min_calls, std::chrono::milliseconds open_for)
      : min_calls_(min_calls), open_for_(open_for) {}

  bool allows(Time now) const { return now >= open_until_; }
  /// How long none will be tried.
  std::chrono::milliseconds closed_in(Time now) const {
    return now >= open_until_ ? std::chrono::milliseconds(0)
                              : std::chrono::ceil<std::chrono::milliseconds>(open_until_ - now);
  }

  void record(bool failed, Time now) {
    if (now - window_began_ >= open_for_) {
      window_began_ = now;
      calls_ = failures_ = 0;
    }
    ++calls_;
    if (failed) ++failures_;
    if (failed && calls_ >= min_calls_ && failures_ * 2 >= calls_) {
      open_until_ = now + open_for_;
      calls_ = failures_ = 0;
    }
  }

  /// The other side is known to be back.
  void reset() {
    open_until_ = Time();
    calls_ = failures_ = 0;
  }

 private:
  const std::size_t min_calls_;
  const std::chrono::milliseconds open_for_;
  Time window_began_;
  Time open_until_;
  std::size_t calls_ = 0, failures_ = 0;
};

}  // namespace virtufin::rpc

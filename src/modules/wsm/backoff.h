#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>

namespace virtufin::wsm {

/// When to try again: at once the first time, then after a random time (full jitter) under a bound
/// that doubles from `base` to `max`.
///
/// The jitter is never less than an eighth of the bound's start, so that no client spins. A
/// connection that lived longer than `base` earns the immediate retry again; the bound itself
/// starts anew only by reset(), after a stable time, so that a peer that takes and drops us is not
/// stormed. Threads: one.
class Backoff {
 public:
  struct Limits {
    std::chrono::milliseconds base, max;
    std::uint32_t attempts;  ///< failures in a row; 0: unlimited
  };

  Backoff(Limits limits, std::uint64_t seed) : limits_(limits), random_(seed) {}

  /// The delay before the next attempt; nothing if the attempts are used up.
  std::optional<std::chrono::milliseconds> next();
  /// A connection ended after it had stood for so long.
  void succeeded(std::chrono::milliseconds lived);
  void reset();

  std::uint32_t attempt() const { return attempt_; }  ///< in a row, counting the last next()

 private:
  const Limits limits_;
  std::mt19937_64 random_;
  std::uint32_t attempt_ = 0;
  std::uint32_t doublings_ = 0;
  bool immediate_ = true;
};

}  // namespace virtufin::wsm

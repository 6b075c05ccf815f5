#pragma once

#include <atomic>
#include <thread>

namespace virtufin::bus::memory {

/// Tells the processor that this is a waiting loop.
inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Guards a few instructions on the path of every event: half the price of a mutex, because letting
/// go is a plain store. Nothing that can wait, and no callback, runs under it. A holder that the
/// system has put aside is waited for by yielding.
class SpinLock {
 public:
  static constexpr int kSpins = 64;

  void lock() {
    while (held_.exchange(true, std::memory_order_acquire)) {
      for (int i = 0; held_.load(std::memory_order_relaxed); ++i) {
        if (i < kSpins) {
          relax();
        } else {
          std::this_thread::yield();
        }
      }
    }
  }
  /// The last thing that touches the lock: who sees it free may destroy it.
  void unlock() { held_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> held_{false};
};

}  // namespace virtufin::bus::memory

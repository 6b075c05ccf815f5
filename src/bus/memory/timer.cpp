#include "bus/memory/timer.h"

#include <algorithm>
#include <utility>

namespace virtufin::bus::memory {

Timer::Timer(std::string name, std::chrono::milliseconds interval, Task every_interval)
    : interval_(interval),
      every_interval_(std::move(every_interval)),
      thread_([this, name = std::move(name)] { run(name); }) {}

Timer::~Timer() { stop(); }

void Timer::at(TimePoint due, Task task) {
  bool first;
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    first = heap_.empty() || due < heap_.front().due;
    heap_.push_back({due, next_order_++, std::move(task)});
    std::push_heap(heap_.begin(), heap_.end());
  }
  if (first) wake_.notify_one();
}

void Timer::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  // Outside the lock: a task may hold the last share of something that has a lot to say at its end.
  std::vector<Entry> dropped;
  std::lock_guard lock(mutex_);
  dropped.swap(heap_);
}

void Timer::run(const std::string& name) {
  set_thread_name(name);
  auto tick = std::chrono::steady_clock::now() + interval_;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto now = std::chrono::steady_clock::now();
    if (!heap_.empty() && heap_.front().due <= now) {
      std::pop_heap(heap_.begin(), heap_.end());
      Task task = std::move(heap_.back().task);
      heap_.pop_back();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    } else if (tick <= now) {
      tick = now + interval_;
      lock.unlock();
      every_interval_();
      lock.lock();
    } else {
      // By value: wait_until() looks at it again after the wait, when the heap may have moved.
      const TimePoint until = heap_.empty() ? tick : std::min(tick, heap_.front().due);
      wake_.wait_until(lock, until);
    }
  }
}

}  // namespace virtufin::bus::memory

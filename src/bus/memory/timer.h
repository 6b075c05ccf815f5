#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/executor.h"

namespace virtufin::bus::memory {

/// One thread that runs tasks when they are due, and one task at a fixed interval. On steady_clock:
/// a jump of the time of day changes nothing.
///
/// Life: stop() joins; what is scheduled then or later is dropped without being run.
/// Threads: any, but stop() not from a task.
class Timer {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  Timer(std::string name, std::chrono::milliseconds interval, Task every_interval);
  ~Timer();
  void at(TimePoint due, Task task);
  void stop();

 private:
  struct Entry {
    TimePoint due;
    std::uint64_t order;  // equal times run in the order of scheduling
    Task task;
    bool operator<(const Entry& other) const {
      return due != other.due ? due > other.due : order > other.order;
    }
  };
  void run(const std::string& name);

  const std::chrono::milliseconds interval_;
  Task every_interval_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Entry> heap_;
  std::uint64_t next_order_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace virtufin::bus::memory

#pragma once

#include <absl/functional/any_invocable.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace virtufin {

using Task = absl::AnyInvocable<void()>;

/// Runs what is posted to it, in order, one at a time: a loop, a pool's strand, a worker's thread.
/// Threads: post() from any thread.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void post(Task task) = 0;
};

/// One asio event loop with its thread. A connection lives on one loop; what runs here must not
/// block.
class Loop : public Executor {
 public:
  explicit Loop(std::string name);
  ~Loop() override;  ///< stops and joins
  void post(Task task) override;
  boost::asio::io_context& io() { return io_; }

 private:
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::thread thread_;
};

/// The process's event loops; their number is fixed. next() hands them out in turn.
class Loops {
 public:
  explicit Loops(std::size_t count);
  Loop& next();
  Loop& at(std::size_t index) { return *loops_[index]; }
  std::size_t size() const { return loops_.size(); }

 private:
  std::vector<std::unique_ptr<Loop>> loops_;
  std::atomic<std::size_t> next_{0};
};

/// A few threads for work that blocks: dlopen, disk, downloads. Bounded: post() answers false when
/// `queue_bound` tasks wait.
///
/// Threads: any. The destructor runs what is queued and joins.
class BlockingPool {
 public:
  BlockingPool(std::string name, std::size_t threads, std::size_t queue_bound);
  ~BlockingPool();
  [[nodiscard]] bool post(Task task);

 private:
  void run();

  const std::size_t queue_bound_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

/// Shown by debuggers and top; at most 15 characters count.
void set_thread_name(const std::string& name);

}  // namespace virtufin

#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "core/executor.h"

namespace virtufin::workmanager {

/// The threads that run workers' code. A thread that hangs in a worker can be given up: it is
/// replaced at once, and ends by itself when the worker lets go of it.
///
/// What is queued is bounded by its users: a worker has at most one task of its own and one of its
/// subscription in the queue.
/// Life: the destructor runs what is queued and joins; threads that were given up are left behind.
/// Threads: any.
class WorkerPool {
  struct State;

 public:
  /// One of the pool's threads, as abandon() wants it.
  class Thread;
  using ThreadPtr = std::shared_ptr<Thread>;

  WorkerPool(std::string name, std::size_t threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void post(Task task);
  /// Runs what is posted to it in order, one at a time, on the pool's threads. It may outlive the
  /// pool, and then runs nothing.
  std::shared_ptr<Executor> strand();

  /// The pool's thread that this is; null on any other.
  static ThreadPtr current();
  /// Replaces a thread that hangs. Once a thread.
  static void abandon(const ThreadPtr& thread);
  std::size_t abandoned() const;

 private:
  class Strand;
  std::shared_ptr<State> state_;
};

}  // namespace virtufin::workmanager

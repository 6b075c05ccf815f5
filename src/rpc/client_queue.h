#pragma once

#include <absl/container/flat_hash_set.h>
#include <absl/functional/any_invocable.h>
#include <grpcpp/completion_queue.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "rpc/completion_tag.h"

namespace virtufin::rpc {

/// The completion queue of calls to other processes, and the thread that runs all they bring.
///
/// Life: runs from construction to close(), which ends every operation and waits for it.
/// Threads: any; close() not from the queue's own.
class ClientQueue {
 public:
  /// A call or a wait: known until it has ended, so that close() ends all.
  class Operation {
   public:
    virtual void cancel() = 0;  ///< any thread; it ends soon

   protected:
    ~Operation() = default;
  };

  ClientQueue();
  ~ClientQueue() { close(); }
  ClientQueue(const ClientQueue&) = delete;
  ClientQueue& operator=(const ClientQueue&) = delete;

  void close();
  grpc::CompletionQueue* get() { return &queue_; }

  /// False once closing: the operation must not begin.
  [[nodiscard]] bool enter(Operation* operation);
  void leave(Operation* operation);

  /// Runs `task` on the thread: true when the time has come, false if the queue closes before. At
  /// once, on the caller's thread, if it closed already.
  void after(std::chrono::milliseconds delay, absl::AnyInvocable<void(bool)> task);

 private:
  class Timer;
  void run();

  grpc::CompletionQueue queue_;
  std::mutex mutex_;
  std::condition_variable idle_;  ///< no operation is left
  absl::flat_hash_set<Operation*> operations_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace virtufin::rpc

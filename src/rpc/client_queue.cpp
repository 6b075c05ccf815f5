#include "rpc/client_queue.h"

#include <grpc/support/time.h>
#include <grpcpp/alarm.h>

#include <memory>

#include "core/executor.h"

namespace virtufin::rpc {

class ClientQueue::Timer final : public CompletionTag, public Operation {
 public:
  Timer(ClientQueue& queue, absl::AnyInvocable<void(bool)> task)
      : queue_(queue), task_(std::move(task)) {}
  /// Under the queue's lock, so that one that is known can be cancelled.
  void set(std::chrono::milliseconds delay) {
    alarm_.Set(queue_.get(),
               gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                            gpr_time_from_millis(delay.count(), GPR_TIMESPAN)),
               static_cast<CompletionTag*>(this));
  }
  void cancel() override { alarm_.Cancel(); }
  void run(bool ok) override {
    task_(ok);
    task_ = nullptr;
    queue_.leave(this);
    delete this;
  }

 private:
  ClientQueue& queue_;
  absl::AnyInvocable<void(bool)> task_;
  grpc::Alarm alarm_;
};

ClientQueue::ClientQueue() : thread_([this] { run(); }) {}

void ClientQueue::run() {
  set_thread_name("backends");
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) static_cast<CompletionTag*>(tag)->run(ok);
}

void ClientQueue::close() {
  {
    std::unique_lock lock(mutex_);
    if (closing_) return;
    closing_ = true;
    for (Operation* operation : operations_) operation->cancel();
    idle_.wait(lock, [this] { return operations_.empty(); });
  }
  queue_.Shutdown();
  thread_.join();
}

bool ClientQueue::enter(Operation* operation) {
  std::lock_guard lock(mutex_);
  if (closing_) return false;
  operations_.insert(operation);
  return true;
}

void ClientQueue::leave(Operation* operation) {
  std::lock_guard lock(mutex_);
  operations_.erase(operation);
  if (closing_ && operations_.empty()) idle_.notify_all();
}

void ClientQueue::after(std::chrono::milliseconds delay, absl::AnyInvocable<void(bool)> task) {
  {
    std::lock_guard lock(mutex_);
    if (!closing_) {
      auto* timer = new Timer(*this, std::move(task));  // deletes itself when it has run
      operations_.insert(timer);
      timer->set(delay);
      return;
    }
  }
  task(false);
}

}  // namespace virtufin::rpc

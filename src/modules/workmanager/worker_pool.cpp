#include "modules/workmanager/worker_pool.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace virtufin::workmanager {
namespace {

constexpr int kTurn = 64;  // tasks of a strand before the others have their turn

}  // namespace

class WorkerPool::Thread {
 public:
  std::weak_ptr<State> pool;
  std::thread thread;
  bool abandoned = false;  // under the pool's mutex
};

struct WorkerPool::State : std::enable_shared_from_this<State> {
  std::string name;
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Task> queue;
  std::vector<ThreadPtr> threads;
  std::size_t abandoned = 0;
  bool stopping = false;

  void spawn(std::size_t index);  // with the mutex
  void run(const ThreadPtr& self);
  void post(Task task) {
    {
      std::lock_guard lock(mutex);
      if (stopping) return;
      queue.push_back(std::move(task));
    }
    wake.notify_one();
  }
};

namespace {
thread_local std::shared_ptr<void> current_thread;
}  // namespace

void WorkerPool::State::spawn(std::size_t index) {
  const auto thread = std::make_shared<Thread>();
  thread->pool = weak_from_this();
  threads[index] = thread;
  thread->thread =
      std::thread([state = shared_from_this(), thread, label = name + "-" + std::to_string(index)] {
        set_thread_name(label);
        current_thread = thread;
        state->run(thread);
        current_thread = nullptr;
      });
}

void WorkerPool::State::run(const ThreadPtr& self) {
  std::unique_lock lock(mutex);
  while (!self->abandoned) {
    wake.wait(lock, [this] { return stopping || !queue.empty(); });
    if (queue.empty()) return;
    Task task = std::move(queue.front());
    queue.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
  }
}

WorkerPool::WorkerPool(std::string name, std::size_t threads) : state_(std::make_shared<State>()) {
  state_->name = std::move(name);
  state_->threads.resize(threads);
  std::lock_guard lock(state_->mutex);
  for (std::size_t i = 0; i < threads; ++i) state_->spawn(i);
}

WorkerPool::~WorkerPool() {
  std::vector<ThreadPtr> threads;
  {
    std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    threads.swap(state_->threads);
  }
  state_->wake.notify_all();
  for (auto& thread : threads) {
    // The last user of a pool may let go of it from a task of its own.
    if (thread->thread.get_id() == std::this_thread::get_id()) {
      thread->thread.detach();
    } else {
      thread->thread.join();
    }
  }
}

void WorkerPool::post(Task task) { state_->post(std::move(task)); }

WorkerPool::ThreadPtr WorkerPool::current() {
  return std::static_pointer_cast<Thread>(current_thread);
}

void WorkerPool::abandon(const ThreadPtr& thread) {
  const auto state = thread->pool.lock();
  if (state == nullptr) return;
  std::lock_guard lock(state->mutex);
  if (thread->abandoned || state->stopping) return;
  thread->abandoned = true;
  ++state->abandoned;
  thread->thread.detach();
  for (std::size_t i = 0; i < state->threads.size(); ++i) {
    if (state->threads[i] == thread) return state->spawn(i);
  }
}

std::size_t WorkerPool::abandoned() const {
  std::lock_guard lock(state_->mutex);
  return state_->abandoned;
}

class WorkerPool::Strand final : public Executor, public std::enable_shared_from_this<Strand> {
 public:
  explicit Strand(std::weak_ptr<State> pool) : pool_(std::move(pool)) {}

  void post(Task task) override {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(std::move(task));
      if (scheduled_) return;
      scheduled_ = true;
    }
    schedule();
  }

 private:
  void schedule() {
    if (const auto pool = pool_.lock()) {
      pool->post([self = shared_from_this()] { self->turn(); });
    }
  }

  void turn() {
    std::unique_lock lock(mutex_);
    for (int i = 0; i < kTurn; ++i) {
      if (queue_.empty()) {
        scheduled_ = false;
        return;
      }
      Task task = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    }
    lock.unlock();
    schedule();
  }

  std::weak_ptr<State> pool_;
  std::mutex mutex_;
  std::deque<Task> queue_;
  bool scheduled_ = false;
};

std::shared_ptr<Executor> WorkerPool::strand() { return std::make_shared<Strand>(state_); }

}  // namespace virtufin::workmanager

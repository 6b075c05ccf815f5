#include "core/executor.h"

#include <pthread.h>

#include <boost/asio/post.hpp>

namespace virtufin {

void set_thread_name(const std::string& name) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

Loop::Loop(std::string name)
    : work_(boost::asio::make_work_guard(io_)), thread_([this, name = std::move(name)] {
        set_thread_name(name);
        io_.run();
      }) {}

Loop::~Loop() {
  work_.reset();
  io_.stop();
  thread_.join();
}

void Loop::post(Task task) { boost::asio::post(io_, std::move(task)); }

Loops::Loops(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    loops_.push_back(std::make_unique<Loop>("loop-" + std::to_string(i)));
  }
}

Loop& Loops::next() { return *loops_[next_.fetch_add(1, std::memory_order_relaxed) % size()]; }

BlockingPool::BlockingPool(std::string name, std::size_t threads, std::size_t queue_bound)
    : queue_bound_(queue_bound) {
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this, label = name + "-" + std::to_string(i)] {
      set_thread_name(label);
      run();
    });
  }
}

BlockingPool::~BlockingPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

bool BlockingPool::post(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (queue_.size() >= queue_bound_) return false;
    queue_.push_back(std::move(task));
  }
  wake_.notify_one();
  return true;
}

void BlockingPool::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    Task task = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
  }
}

}  // namespace virtufin

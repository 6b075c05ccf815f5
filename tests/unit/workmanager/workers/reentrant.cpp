// A worker for concurrency: a call returns when four have come, the later ones first.

#include <atomic>
#include <chrono>
#include <thread>

#include "virtufin/worker.h"

namespace {

std::atomic<int> inside{0}, left{0};

void on_event(const virtufin::worker::Event& event, virtufin::worker::Context& context) {
  ++inside;
  const int own = std::stoi(std::string(event.data_text()));
  while (inside < 4 || left < 3 - own) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  context.publish({.type = "com.example.reentrant", .data = event.data_text()});
  ++left;
}

}  // namespace

VIRTUFIN_WORKER(on_event)

#include "rpc/health.h"

#include <algorithm>

namespace virtufin::rpc {

void Health::add(Probe probe) {
  std::lock_guard lock(mutex_);
  probes_.push_back(std::make_shared<const Probe>(std::move(probe)));
}

void Health::set_serving(bool serving) { serving_.store(serving, std::memory_order_release); }

bool Health::serving() const { return serving_.load(std::memory_order_acquire); }

std::vector<HealthEntry> Health::entries() const {
  std::vector<std::shared_ptr<const Probe>> probes;
  {
    std::lock_guard lock(mutex_);
    probes = probes_;
  }
  std::vector<HealthEntry> all;
  for (const auto& probe : probes) {
    for (HealthEntry& entry : (*probe)()) all.push_back(std::move(entry));
  }
  return all;
}

bool Health::ready() const {
  if (!serving()) return false;
  const std::vector<HealthEntry> all = entries();
  return std::all_of(all.begin(), all.end(),
                     [](const HealthEntry& entry) { return entry.status.ok(); });
}

}  // namespace virtufin::rpc

#include "modules/venue/venue.h"

#include <utility>

#include "core/errors.h"

namespace virtufin::venue {

VenueModule::VenueModule(Platform& platform, VenueConfig config)
    : server_(platform.clock, platform.metrics, std::move(config)) {}

absl::Status VenueModule::start() {
  const absl::Status started = server_.start();
  running_.store(started.ok(), std::memory_order_relaxed);
  return started;
}

void VenueModule::close_intake() {
  running_.store(false, std::memory_order_relaxed);
  server_.close_intake();
}

void VenueModule::stop(std::chrono::steady_clock::time_point deadline) {
  running_.store(false, std::memory_order_relaxed);
  server_.stop(deadline);
}

std::vector<HealthEntry> VenueModule::health() const {
  return {{"venue", running_.load(std::memory_order_relaxed)
                        ? absl::OkStatus()
                        : unavailable("the simulated exchange accepts no connections")}};
}

}  // namespace virtufin::venue

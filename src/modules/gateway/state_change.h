#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bus/bus.h"
#include "core/metrics.h"
#include "core/time.h"

namespace virtufin::gateway {

/// What a write did, as a change event tells it.
struct StateChange {
  std::string_view service;
  bool saved = true;     ///< else deleted
  std::string_view key;  ///< or, of a bulk call:
  const std::vector<std::string>* keys = nullptr;
  const std::string* value = nullptr;  ///< if it is to be told
  std::string_view correlation_id;     ///< of the call that wrote
};

/// Publishes that records changed. A notification that fails is logged and counted; the write it
/// tells of has happened.
///
/// Threads: any.
class StateNotifier {
 public:
  StateNotifier(bus::Bus& bus, const Clock& clock, Metrics& metrics);

  /// The default event, to `state.change`.
  void notify(const StateChange& change) const;
  /// The caller's own.
  void publish(std::string_view topic, EventPtr event) const;

 private:
  bus::Bus& bus_;
  const Clock& clock_;
  const bus::TopicPtr topic_;
  const std::shared_ptr<Counter> failed_;
};

}  // namespace virtufin::gateway

#pragma once

#include <absl/status/status.h>

#include <chrono>

#include "bus/state_store.h"
#include "core/time.h"

namespace virtufin::gateway {

/// Writes the reserved scenario LIVE and lists it in `scenario.index`, each if absent; what is
/// there stays. Blocks for at most `timeout`; DEADLINE_EXCEEDED after it, else the store's error.
/// Threads: the main thread, at start.
absl::Status seed_scenarios(bus::StateStore& store, const Clock& clock,
                            std::chrono::milliseconds timeout);

}  // namespace virtufin::gateway

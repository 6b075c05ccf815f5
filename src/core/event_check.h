#pragma once

#include <absl/status/status.h>

#include <cstddef>
#include <string_view>

#include "core/event_fields.h"
#include "core/time.h"

namespace virtufin {

/// The rules of contract/envelope.md for an event's parts, and what the header keeps of them.
/// Private to core.
struct CheckedEvent {
  static constexpr std::size_t kNone = ~std::size_t{0};

  std::size_t correlation = kNone;  ///< index of `correlationid` in the extensions, as given
  std::size_t scenario = kNone;     ///< index of `scenarioid`
  ClockType clock = ClockType::kWall;
  TimePoint event_time{}, wall_time{};
};

/// INVALID_ARGUMENT naming the attribute, as make_event says.
absl::Status check_event(const EventFields& fields, CheckedEvent& out);

}  // namespace virtufin

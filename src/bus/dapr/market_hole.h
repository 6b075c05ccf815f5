#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>

#include "bus/dapr/subscription_stream.h"
#include "core/event.h"
#include "core/time.h"

namespace virtufin::bus {

/// A `feed.gap` event and where it goes.
struct GapEvent {
  std::string topic;
  EventPtr event;
};

/// Tells a hole in a market topic as the feeds tell theirs: on `….feed.gap` of the same market and
/// venue, with the scenario and the times of the event behind the hole. `expected` and `received`
/// count one publisher's events of `topic`; which symbols are missing nobody knows, so there is no
/// subject. Pure.
absl::StatusOr<GapEvent> make_gap(const Hole& hole, std::string_view component, const Event& next,
                                  TimePoint now);

}  // namespace virtufin::bus

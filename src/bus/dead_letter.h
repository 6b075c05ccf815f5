#pragma once

#include <absl/status/statusor.h>

#include <string_view>

#include "core/event.h"

namespace virtufin::bus {

/// `deadletterreason` of an event that was retried as often as its subscription allows.
inline constexpr std::string_view kRetriesExhausted = "retries exhausted";

/// The dead letter of an event that `worker` failed on: the original with `deadletterreason`,
/// `deadletterworker`, `deadletterattempts`, `deadlettertopic`, and, because brokers drop an id
/// that they have seen, an id of its own with the original's in `deadletterid`. To be published to
/// `<topic>-dead`. Every implementation of the bus makes them here.
absl::StatusOr<EventPtr> make_dead_letter(const Event& original, std::string_view topic,
                                          std::string_view worker, std::string_view reason,
                                          int attempts);

}  // namespace virtufin::bus

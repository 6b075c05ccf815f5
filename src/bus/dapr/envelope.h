#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/event.h"

namespace dapr::proto::runtime::v1 {
class TopicEventRequest;
}

/// An event on its way through the sidecar, and back to what it was. Pure; threads: any.
///
/// The sidecar takes a structured CloudEvent apart and changes it: it adds `time`, overwrites
/// `traceparent`, drops what has expired, loses data that is neither JSON nor base64. So what it
/// would touch travels in the extension `busmeta`, and data that is not JSON, or has numbers that
/// floating point does not hold, in base64. JSON data comes back equal as JSON, not byte for byte;
/// extensions come back in the order of their names.
namespace virtufin::bus {

inline constexpr std::string_view kBusOrder = "busorder";
inline constexpr std::string_view kBusMeta = "busmeta";
inline constexpr std::string_view kBusLate = "buslate";

/// An event's place among those that one publisher has sent to one topic.
struct BusOrder {
  std::uint64_t instance = 0;  ///< random; of one publisher and topic, begun anew after a pause
  std::uint64_t counter = 0;   ///< from 1
};
/// `<16 hex>.<20 digits>`.
std::string to_text(BusOrder order);
/// Nothing if the text is none.
std::optional<BusOrder> parse_bus_order(std::string_view text);

/// The structured CloudEvent that is given to the sidecar.
std::string encode_envelope(const Event& event, BusOrder order);

/// What the sidecar delivered.
struct Arrived {
  EventPtr event;                 ///< as it was published
  std::optional<BusOrder> order;  ///< none: from an app that is not ours
  std::string topic;              ///< on the broker, as published
};
/// Takes the message's content. INVALID_ARGUMENT for what can be no event.
absl::StatusOr<Arrived> decode_envelope(::dapr::proto::runtime::v1::TopicEventRequest& message);

/// The same event with the extension `buslate`.
absl::StatusOr<EventPtr> mark_late(const Event& event);

}  // namespace virtufin::bus

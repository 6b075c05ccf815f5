#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "core/event.h"
#include "core/event_fields.h"

namespace virtufin {

/// Builds an event in one pass: sums the sizes, allocates once, writes root to leaf. The result
/// passes the FlatBuffers verifier. `correlationid` moves to the front of the extensions, which
/// otherwise keep their order.
///
/// Errors: INVALID_ARGUMENT naming the attribute: a required one (id, source, type, specversion)
/// missing, an extension's name outside [a-z0-9] or given twice (names that the platform's contract
/// accepts, as the dotted spellings and worker config keys, pass), a time that is not RFC 3339, a
/// control character.
/// Threads: any.
absl::StatusOr<EventPtr> make_event(const EventFields& fields);

/// Takes a FlatBuffer `CloudEvent` from outside (a worker's output, a journal): verified, checked
/// like make_event, copied once.
absl::StatusOr<EventPtr> parse_event(std::span<const std::uint8_t> flatbuffer);

/// An event's parts, for making a changed copy. The views live as long as the event and `storage`.
EventFields fields_of(const Event& event, std::vector<Extension>& storage);

}  // namespace virtufin

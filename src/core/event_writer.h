#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/event.h"
#include "core/event_fields.h"

namespace Virtufin::Worker::FlatBuffers {
struct CloudEvent;
}

namespace virtufin {

/// What one event may hold; beyond it making one is INVALID_ARGUMENT. Ports and queues have lower
/// limits of their own in the config.
inline constexpr std::size_t kMaxEventBytes = std::size_t{64} << 20;
inline constexpr std::size_t kMaxExtensions = 1024;
inline constexpr std::size_t kMaxExtensionName = 128;

/// Builds an event in one pass: sums the sizes, allocates once, writes root to leaf. The result
/// passes the FlatBuffers verifier. `correlationid` moves to the front of the extensions, which
/// otherwise keep their order.
///
/// Errors: INVALID_ARGUMENT naming the attribute: a required one (id, source, type, specversion)
/// missing, a specversion other than 1.0, an extension's name outside [a-z0-9] (the dotted
/// spellings of contract/envelope.md pass, worker config keys with EventFields::config_names), one
/// given twice or named like an attribute, a time (`time`, `eventtime`, `walltime`) that is not RFC
/// 3339, a `clocktype` that is none, a value that is not of its kind, text that is not UTF-8 or
/// holds a control character.
/// Threads: any.
absl::StatusOr<EventPtr> make_event(const EventFields& fields);

/// Takes a FlatBuffer `CloudEvent` from outside (a worker's output, a journal): verified, checked
/// like make_event (with config_names: a worker may return what it was given), copied once into the
/// layout that all our events have.
absl::StatusOr<EventPtr> parse_event(std::span<const std::uint8_t> flatbuffer);

/// An event's parts, for making a changed copy. The views live as long as the event and `storage`.
EventFields fields_of(const Event& event, std::vector<Extension>& storage);
/// The same of a table in a buffer that the verifier has accepted, as a worker's `result_event`.
EventFields fields_of(const Virtufin::Worker::FlatBuffers::CloudEvent& verified,
                      std::vector<Extension>& storage);

}  // namespace virtufin

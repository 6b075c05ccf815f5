#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "core/event.h"
#include "core/event_fields.h"
#include "core/uuid.h"

namespace virtufin {

/// Makes many events of one shape, as feeds do: the buffer is built once with the payload vector
/// last; an event is then one allocation, one memcpy of the prefix, patching id, time, eventtime
/// and walltime in place (fixed width, see time.h and uuid.h), and the payload.
///
/// Threads: make() from any thread. Events own their bytes and may outlive the template.
class EventTemplate {
 public:
  /// `shape` gives everything but id, time, eventtime, walltime and data, which are added as fixed
  /// slots: what it says of id, time and data is not used; eventtime or walltime among its
  /// extensions is INVALID_ARGUMENT. Other errors as make_event.
  static absl::StatusOr<EventTemplate> create(const EventFields& shape);

  EventTemplate(EventTemplate&&) noexcept;
  EventTemplate& operator=(EventTemplate&&) noexcept;
  ~EventTemplate();

  /// The payload is the caller's to keep under kMaxEventBytes (event_writer.h).
  EventPtr make(const UuidText& id, TimePoint event_time, TimePoint wall_time,
                std::span<const std::uint8_t> payload) const;

  /// The payload written where it stays: `write(char* out)` is given `capacity` bytes and returns
  /// how many it used. The event keeps the memory of all of them.
  template <class Write>
  EventPtr make(const UuidText& id, TimePoint event_time, TimePoint wall_time, std::size_t capacity,
                Write&& write) const {
    Draft draft = begin(id, event_time, wall_time, capacity);
    const std::size_t used = std::forward<Write>(write)(draft.payload);
    return finish(std::move(draft), used);
  }

 private:
  /// An event whose payload is missing; freed if it is never finished.
  struct Draft {
    boost::intrusive_ptr<Event> event;
    char* payload;
    std::size_t capacity;
  };
  struct Prefix;

  explicit EventTemplate(std::unique_ptr<const Prefix> prefix);
  Draft begin(const UuidText& id, TimePoint event_time, TimePoint wall_time,
              std::size_t capacity) const;
  EventPtr finish(Draft draft, std::size_t used) const;

  std::unique_ptr<const Prefix> prefix_;
};

}  // namespace virtufin

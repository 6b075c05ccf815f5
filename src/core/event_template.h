#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "core/event.h"
#include "core/event_fields.h"
#include "core/uuid.h"

namespace virtufin {

/// Makes many events of one shape, as feeds do: the buffer is built once with the payload vector
/// last; an event is then one allocation, one memcpy of the prefix, patching id, time, eventtime
/// and walltime in place (fixed width, see time.h and uuid.h), and the payload.
///
/// Threads: make() from any thread; the template must outlive nothing (events own their bytes).
class EventTemplate {
 public:
  /// `shape` gives everything but id, time, eventtime, walltime and data, which are added as fixed
  /// slots. Errors as make_event.
  static absl::StatusOr<EventTemplate> create(const EventFields& shape);

  EventTemplate(EventTemplate&&) noexcept;
  EventTemplate& operator=(EventTemplate&&) noexcept;
  ~EventTemplate();

  EventPtr make(const UuidText& id, TimePoint event_time, TimePoint wall_time,
                std::span<const std::uint8_t> payload) const;

  /// The payload written where it stays: `write(char* out)` is given `capacity` bytes and returns
  /// how many it used.
  template <class Write>
  EventPtr make(const UuidText& id, TimePoint event_time, TimePoint wall_time, std::size_t capacity,
                Write&& write) const {
    Draft draft = begin(id, event_time, wall_time, capacity);
    return finish(draft, std::forward<Write>(write)(draft.payload));
  }

 private:
  struct Draft {
    Event* event;
    char* payload;
    std::size_t capacity;
  };
  struct Prefix;

  explicit EventTemplate(std::unique_ptr<Prefix> prefix);
  Draft begin(const UuidText& id, TimePoint event_time, TimePoint wall_time,
              std::size_t capacity) const;
  EventPtr finish(const Draft& draft, std::size_t used) const;

  std::unique_ptr<Prefix> prefix_;
};

}  // namespace virtufin

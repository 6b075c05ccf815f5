#include "core/event_template.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/errors.h"
#include "core/event_layout.h"
#include "core/event_writer.h"

namespace virtufin {
namespace {

using Layout = EventLayout;

std::uint32_t place_of(const Event& event, std::string_view text) {
  return static_cast<std::uint32_t>(as_bytes(text).data() - event.bytes().data());
}

}  // namespace

struct EventTemplate::Prefix {
  EventPtr event;      ///< with an empty payload, which is the end of its bytes
  std::uint32_t size;  ///< up to where the payload begins
  // Where the fixed-width texts begin.
  std::uint32_t id, time, event_time, wall_time;
};

EventTemplate::EventTemplate(std::unique_ptr<const Prefix> prefix) : prefix_(std::move(prefix)) {}
EventTemplate::EventTemplate(EventTemplate&&) noexcept = default;
EventTemplate& EventTemplate::operator=(EventTemplate&&) noexcept = default;
EventTemplate::~EventTemplate() = default;

absl::StatusOr<EventTemplate> EventTemplate::create(const EventFields& shape) {
  const std::string id(std::tuple_size_v<decltype(UuidText::chars)>, '0');
  const std::string time = format_time(TimePoint{});
  std::vector<Extension> extensions(shape.extensions.begin(), shape.extensions.end());
  for (const Extension& extension : extensions) {
    if (extension.name == "eventtime" || extension.name == "walltime") {
      return invalid_argument("extension '{}' is each event's own; leave it out of the shape",
                              extension.name);
    }
  }
  extensions.push_back({"eventtime", time});
  extensions.push_back({"walltime", time});
  EventFields fields = shape;
  fields.id = id;
  fields.time = time;
  fields.extensions = extensions;
  fields.data.emplace();
  absl::StatusOr<EventPtr> made = make_event(fields);
  if (!made.ok()) return made.status();

  auto prefix = std::make_unique<Prefix>();
  const Event& event = **made;
  prefix->size = static_cast<std::uint32_t>(event.bytes().size());
  prefix->id = place_of(event, event.id());
  prefix->time = place_of(event, event.time());
  prefix->event_time = place_of(event, event.extension("eventtime"));
  prefix->wall_time = place_of(event, event.extension("walltime"));
  prefix->event = std::move(*made);
  return EventTemplate(std::move(prefix));
}

EventTemplate::Draft EventTemplate::begin(const UuidText& id, TimePoint event_time,
                                          TimePoint wall_time, std::size_t capacity) const {
  const Prefix& prefix = *prefix_;
  Event* event = Layout::allocate(prefix.size + capacity);
  Layout::copy_header(*event, *prefix.event);
  Layout::set_times(*event, event_time, wall_time);
  std::uint8_t* buffer = Layout::buffer(*event);
  std::memcpy(buffer, prefix.event->bytes().data(), prefix.size);
  std::memcpy(buffer + prefix.id, id.chars.data(), id.chars.size());
  char* text = reinterpret_cast<char*>(buffer);
  format_time(event_time, text + prefix.time);
  std::memcpy(text + prefix.event_time, text + prefix.time, kTimeWidth);
  format_time(wall_time, text + prefix.wall_time);
  // Finished as an event without payload, so that a draft may be dropped at any time.
  Layout::set_size(*event, prefix.size);
  return {boost::intrusive_ptr<Event>(event, /*add_ref=*/false), text + prefix.size, capacity};
}

EventPtr EventTemplate::finish(Draft draft, std::size_t used) const {
  used = std::min(used, draft.capacity);
  Layout::set_size(*draft.event, prefix_->size + used);
  Layout::write(Layout::buffer(*draft.event) + prefix_->size - 4, static_cast<std::uint32_t>(used));
  return std::move(draft.event);
}

EventPtr EventTemplate::make(const UuidText& id, TimePoint event_time, TimePoint wall_time,
                             std::span<const std::uint8_t> payload) const {
  Draft draft = begin(id, event_time, wall_time, payload.size());
  if (!payload.empty()) std::memcpy(draft.payload, payload.data(), payload.size());
  return finish(std::move(draft), payload.size());
}

}  // namespace virtufin

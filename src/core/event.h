#pragma once

#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/event_fields.h"
#include "core/time.h"

namespace virtufin {

/// One CloudEvent, immutable from the moment it is built.
///
/// Its bytes are the FlatBuffer `CloudEvent` of schema/worker_api.fbs, so native workers, the
/// journal and child processes read it as it is. What routing needs is decoded once, at entry, into
/// the fields below; the views point into `bytes()` and live as long as the event.
///
/// Header and bytes are one allocation. All events have the one layout of event_layout.h, so that
/// attributes and extensions stand at computed places.
///
/// Threads: any. Shared by EventPtr, never copied.
/// Made by: EventTemplate (feeds), make_event and the codecs over it (everything else).
class Event {
 public:
  std::string_view id() const { return view(id_); }
  std::string_view type() const { return view(type_); }
  std::string_view source() const { return view(source_); }
  std::string_view subject() const { return view(subject_); }          ///< empty if absent
  std::string_view scenario_id() const { return view(scenario_id_); }  ///< empty if absent
  ClockType clock() const { return clock_; }  ///< `clocktype`; wall if absent
  /// When the business fact happened: `eventtime`, else `time`, else the epoch.
  TimePoint event_time() const { return TimePoint(std::chrono::nanoseconds(event_time_ns_)); }
  /// When it was made (a feed: when its frame arrived), `walltime`, else the epoch; tracing only.
  TimePoint wall_time() const { return TimePoint(std::chrono::nanoseconds(wall_time_ns_)); }

  std::string_view spec_version() const;
  std::string_view data_content_type() const;  ///< empty if absent
  std::string_view data_schema() const;        ///< empty if absent
  std::string_view time() const;               ///< the caller's text, empty if absent

  bool has_data() const;
  std::span<const std::uint8_t> data() const;
  DataKind data_kind() const;
  /// Value of an extension, empty if absent. Linear in the number of extensions.
  std::string_view extension(std::string_view name) const;
  std::size_t extension_count() const;
  Extension extension_at(std::size_t index) const;

  std::span<const std::uint8_t> bytes() const { return {buffer(), size_}; }

  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

 private:
  friend struct EventLayout;
  friend void intrusive_ptr_add_ref(const Event*) noexcept;
  friend void intrusive_ptr_release(const Event*) noexcept;

  /// Where a string stands in the buffer: positions, so that a header can be copied as it is.
  struct Slice {
    std::uint32_t offset, size;
  };

  Event() = default;
  const std::uint8_t* buffer() const { return reinterpret_cast<const std::uint8_t*>(this + 1); }
  std::string_view view(Slice slice) const {
    return {reinterpret_cast<const char*>(buffer()) + slice.offset, slice.size};
  }
  std::string_view attribute(std::size_t slot) const;

  mutable std::uint32_t references_;  ///< used through std::atomic_ref only
  std::uint32_t size_;                ///< of the buffer that follows
  std::int64_t event_time_ns_, wall_time_ns_;
  Slice id_, type_, source_, subject_, scenario_id_;
  ClockType clock_;
  std::uint8_t memory_class_;  ///< of EventMemory
};

using EventPtr = boost::intrusive_ptr<const Event>;

void intrusive_ptr_add_ref(const Event* event) noexcept;
void intrusive_ptr_release(const Event* event) noexcept;

/// A leg of an event's scenario: `act` or `hyp`, and for a hypothetical market its selector. Empty
/// if the event does not say. Reads all spellings of contract/envelope.md: `marketlane`,
/// `market.lane`, `marketworld` (`act`, or `hyp.<selector>`), and likewise for the other legs.
struct Leg {
  std::string_view lane, selector;
};
Leg market_leg(const Event& event);
Leg portfolio_leg(const Event& event);
Leg strategy_leg(const Event& event);

}  // namespace virtufin

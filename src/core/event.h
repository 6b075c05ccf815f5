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
/// Threads: any. Shared by EventPtr, never copied.
/// Made by: EventTemplate (feeds), make_event and the codecs over it (everything else).
class Event {
 public:
  std::string_view id() const;
  std::string_view type() const;
  std::string_view source() const;
  std::string_view subject() const;      ///< empty if absent
  std::string_view scenario_id() const;  ///< empty if absent
  ClockType clock() const;
  TimePoint event_time() const;  ///< when the business fact happened
  TimePoint wall_time() const;   ///< when it was made (a feed: when its frame arrived); tracing only

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

  std::span<const std::uint8_t> bytes() const;

 private:
  friend void intrusive_ptr_add_ref(const Event*) noexcept;
  friend void intrusive_ptr_release(const Event*) noexcept;
};

using EventPtr = boost::intrusive_ptr<const Event>;

}  // namespace virtufin

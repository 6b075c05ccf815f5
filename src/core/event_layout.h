#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <new>

#include "core/event.h"
#include "core/event_memory.h"

namespace virtufin {

/// Where things stand in an event's buffer. Private to core.
///
/// FlatBuffers leaves the order of a buffer's parts to the writer. Ours is from root to leaf:
///
///     root offset | vtable of CloudEvent | vtable of Extension | the CloudEvent table, all slots |
///     vector of extensions | Extension tables | strings | data vector
///
/// Everything up to the Extension tables has a fixed size or one given by the number of extensions,
/// so that readers compute places instead of following vtables. The data vector is last, so that a
/// template can append to a prefix. An absent field has offset 0 in the vtable and in its slot.
struct EventLayout {
  static_assert(std::endian::native == std::endian::little, "FlatBuffers are little-endian");

  /// Slots, in the order of schema/worker_api.fbs.
  enum Slot : std::size_t {
    kId,
    kType,
    kSource,
    kSpecVersion,
    kDataContentType,
    kDataSchema,
    kSubject,
    kTime,
    kData,
    kExtensions,
    kDataKind,
    kSlotCount
  };
  static constexpr std::size_t kStringSlots = 8;

  static constexpr std::uint32_t kEventVtable = 4;
  static constexpr std::uint32_t kEventVtableSize = 4 + 2 * kSlotCount;
  static constexpr std::uint32_t kExtensionVtable = kEventVtable + kEventVtableSize;
  static constexpr std::uint32_t kExtensionVtableSize = 4 + 2 * 3;
  static constexpr std::uint32_t kTable = kExtensionVtable + kExtensionVtableSize;
  static constexpr std::uint32_t kFirstSlot = kTable + 4;
  static constexpr std::uint32_t kTableSize = 4 + 4 * kSlotCount;
  static constexpr std::uint32_t kExtensionVector = kTable + kTableSize;
  static constexpr std::uint32_t kFirstExtension = kExtensionVector + 4;
  static constexpr std::uint32_t kExtensionTableSize = 16;  // vtable, name, value, kind and padding
  static constexpr std::uint32_t kName = 4, kValue = 8, kKind = 12;
  static_assert(kTable % 4 == 0);

  static constexpr std::uint32_t slot(std::size_t index) {
    return kFirstSlot + 4 * static_cast<std::uint32_t>(index);
  }
  static constexpr std::uint32_t extension_table(std::size_t count, std::size_t index) {
    return kFirstExtension + static_cast<std::uint32_t>(4 * count + kExtensionTableSize * index);
  }
  static constexpr std::size_t padded(std::size_t size) { return (size + 3) & ~std::size_t{3}; }
  /// A string: its length, its characters, a zero, padding.
  static constexpr std::size_t string_size(std::size_t length) { return 4 + padded(length + 1); }

  static std::uint32_t read(const std::uint8_t* at) {
    std::uint32_t value;
    std::memcpy(&value, at, sizeof(value));
    return value;
  }
  static void write(std::uint8_t* at, std::uint32_t value) {
    std::memcpy(at, &value, sizeof(value));
  }

  // What the makers of events (event_writer.cpp, event_template.cpp) do to one before it is shared.

  /// Memory for an event of up to `capacity` bytes. The caller fills header and buffer.
  static Event* allocate(std::size_t capacity) {
    const EventMemory::Block block = EventMemory::allocate(sizeof(Event) + capacity);
    Event* event = new (block.memory) Event;
    event->memory_class_ = block.size_class;
    return event;
  }
  static std::uint8_t* buffer(Event& event) { return reinterpret_cast<std::uint8_t*>(&event + 1); }
  static void set_size(Event& event, std::size_t size) {
    event.references_ = 1;
    event.size_ = static_cast<std::uint32_t>(size);
  }
  static void set_times(Event& event, TimePoint event_time, TimePoint wall_time) {
    event.event_time_ns_ = event_time.time_since_epoch().count();
    event.wall_time_ns_ = wall_time.time_since_epoch().count();
  }
  static void set_clock(Event& event, ClockType clock) { event.clock_ = clock; }
  static void set_scenario(Event& event, std::uint32_t offset, std::uint32_t size) {
    event.scenario_id_ = {offset, size};
  }
  /// Reads the header's attributes from the slots. `scenarioid` is the writer's to set.
  static void set_attributes(Event& event) {
    event.id_ = attribute(event, kId);
    event.type_ = attribute(event, kType);
    event.source_ = attribute(event, kSource);
    event.subject_ = attribute(event, kSubject);
  }
  /// The whole header, for an event of the same shape, but for what its memory is.
  static void copy_header(Event& to, const Event& from) {
    const std::uint8_t memory_class = to.memory_class_;
    std::memcpy(static_cast<void*>(&to), static_cast<const void*>(&from), sizeof(Event));
    to.memory_class_ = memory_class;
  }

 private:
  static Event::Slice attribute(const Event& event, Slot index) {
    const std::uint8_t* at = event.buffer() + slot(index);
    const std::uint32_t relative = read(at);
    if (relative == 0) return {0, 0};
    return {slot(index) + relative + 4, read(at + relative)};
  }
};

}  // namespace virtufin

#include "core/event.h"

#include <atomic>
#include <type_traits>

#include "core/event_layout.h"

namespace virtufin {
namespace {

using Layout = EventLayout;

// The buffer starts where the header ends, and headers are copied as bytes.
static_assert(sizeof(Event) % 8 == 0 && alignof(Event) == 8);
static_assert(std::is_trivially_destructible_v<Event>);

/// The string or vector that the offset stored at `at` leads to.
std::string_view target(const std::uint8_t* at) {
  const std::uint8_t* found = at + Layout::read(at);
  return {reinterpret_cast<const char*>(found + 4), Layout::read(found)};
}

Leg leg(const Event& event, std::string_view lane_name, std::string_view dotted_lane,
        std::string_view world_name) {
  Leg leg;
  leg.lane = event.extension(lane_name);
  if (leg.lane.empty()) leg.lane = event.extension(dotted_lane);
  if (!leg.lane.empty()) return leg;
  leg.lane = event.extension(world_name);
  if (const auto dot = leg.lane.find('.'); dot != std::string_view::npos) {
    leg.selector = leg.lane.substr(dot + 1);
    leg.lane = leg.lane.substr(0, dot);
  }
  return leg;
}

}  // namespace

std::string_view Event::attribute(std::size_t slot) const {
  const std::uint8_t* at = buffer() + Layout::slot(slot);
  return Layout::read(at) == 0 ? std::string_view{} : target(at);
}

std::string_view Event::spec_version() const { return attribute(Layout::kSpecVersion); }
std::string_view Event::data_content_type() const { return attribute(Layout::kDataContentType); }
std::string_view Event::data_schema() const { return attribute(Layout::kDataSchema); }
std::string_view Event::time() const { return attribute(Layout::kTime); }

bool Event::has_data() const { return Layout::read(buffer() + Layout::slot(Layout::kData)) != 0; }
std::span<const std::uint8_t> Event::data() const { return as_bytes(attribute(Layout::kData)); }
DataKind Event::data_kind() const {
  return static_cast<DataKind>(buffer()[Layout::slot(Layout::kDataKind)]);
}

std::size_t Event::extension_count() const {
  return Layout::read(buffer() + Layout::kExtensionVector);
}

Extension Event::extension_at(std::size_t index) const {
  const std::uint8_t* table = buffer() + Layout::extension_table(extension_count(), index);
  return {target(table + Layout::kName), target(table + Layout::kValue),
          static_cast<AttributeKind>(table[Layout::kKind])};
}

std::string_view Event::extension(std::string_view name) const {
  const std::size_t count = extension_count();
  const std::uint8_t* table = buffer() + Layout::extension_table(count, 0);
  for (std::size_t i = 0; i < count; ++i, table += Layout::kExtensionTableSize) {
    if (target(table + Layout::kName) == name) return target(table + Layout::kValue);
  }
  return {};
}

void intrusive_ptr_add_ref(const Event* event) noexcept {
  std::atomic_ref(event->references_).fetch_add(1, std::memory_order_relaxed);
}

void intrusive_ptr_release(const Event* event) noexcept {
  // Whoever lets go last must see what all others did with the event before it is freed. Who holds
  // the only reference needs no exchange to know it: nobody is left to make another.
  std::atomic_ref references(event->references_);
  if (references.load(std::memory_order_acquire) == 1 ||
      references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    EventMemory::free({const_cast<Event*>(event), event->memory_class_});
  }
}

Leg market_leg(const Event& event) {
  Leg found = leg(event, "marketlane", "market.lane", "marketworld");
  if (found.selector.empty()) found.selector = event.extension("marketselector");
  if (found.selector.empty()) found.selector = event.extension("market.selector");
  return found;
}

Leg portfolio_leg(const Event& event) {
  return leg(event, "portfoliolane", "portfolio.lane", "portfolioworld");
}

Leg strategy_leg(const Event& event) {
  return leg(event, "strategylane", "strategy.lane", "strategyworld");
}

}  // namespace virtufin

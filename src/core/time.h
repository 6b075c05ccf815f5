#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace virtufin {

/// Nanoseconds since the Unix epoch. Which clock, wall or historical, is in Event::clock.
using TimePoint = std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds>;

enum class ClockType : std::uint8_t { kWall, kHistorical };

/// `wall` or `historical`, the value of `clocktype`.
constexpr std::string_view name(ClockType clock) {
  return clock == ClockType::kWall ? "wall" : "historical";
}

/// The width of a time as we write it: `2026-01-31T12:34:56.123456789Z`.
inline constexpr std::size_t kTimeWidth = 30;

/// Writes RFC 3339 UTC with nine digits: kTimeWidth characters, not terminated. Years 0 to 9999;
/// what lies outside is clamped.
void format_time(TimePoint time, char* out);
std::string format_time(TimePoint time);

/// Reads RFC 3339 with any offset and up to nine digits of a second (more are cut). Nothing if it
/// is not one.
std::optional<TimePoint> parse_time(std::string_view text);

/// What time it is. The only source of the time of day: nobody else asks the system.
///
/// Threads: now() from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  virtual ClockType type() const = 0;
};

class WallClock final : public Clock {
 public:
  TimePoint now() const override;
  ClockType type() const override { return ClockType::kWall; }
};

/// Driven by a replay: stands still until it is advanced, and never goes back.
class HistoricalClock final : public Clock {
 public:
  explicit HistoricalClock(TimePoint start = {});
  TimePoint now() const override;
  ClockType type() const override { return ClockType::kHistorical; }
  void advance_to(TimePoint time);

 private:
  std::atomic<std::int64_t> now_ns_;
};

}  // namespace virtufin

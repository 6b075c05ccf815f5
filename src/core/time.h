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

/// Writes RFC 3339 UTC with nine digits: kTimeWidth characters, not terminated.
void format_time(TimePoint time, char* out);
std::string format_time(TimePoint time);

/// Reads RFC 3339 with any offset and up to nine digits of a second (more are cut). Nothing if it
/// is not one. What a TimePoint cannot reach (it spans 1677 to 2262) is clamped to its ends.
std::optional<TimePoint> parse_time(std::string_view text);

/// A moment in any of the years 0 to 9999 that RFC 3339 can write: wider than TimePoint, as the
/// protobuf Timestamp is.
struct UnixTime {
  std::int64_t seconds;  ///< since the Unix epoch
  std::uint32_t nanos;   ///< 0 to 999'999'999, counted upwards
};
std::optional<UnixTime> parse_unix_time(std::string_view text);
/// As format_time. `time` must lie in the years 0 to 9999.
std::string format_unix_time(UnixTime time);

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

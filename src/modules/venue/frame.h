#pragma once

#include <absl/status/statusor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "modules/venue/book.h"

namespace virtufin::venue {

/// Which of Binance's two markets a frame is from: they differ in paths, fields and sequence rules.
enum class Dialect { kSpot, kFutures };
/// `binance`, `binance-futures`
std::string_view name(Dialect dialect);

/// The channels of Binance's combined stream that the venue plays.
enum class Channel { kDepth, kBookTicker, kAggregateTrade, kTrade, kKline, kTicker, kMarkPrice };

/// What kind of number stands in a frame, and so what is added to it.
enum class SlotKind : std::uint8_t { kTimeMs, kUpdateId, kAggregateId, kTradeId };
inline constexpr std::size_t kSlotKinds = 4;

/// What to add to each kind of number.
using Shifts = std::array<std::int64_t, kSlotKinds>;
inline std::int64_t& shift_of(Shifts& shifts, SlotKind kind) {
  return shifts[static_cast<std::size_t>(kind)];
}

/// A number of a frame that changes from one sending to the next.
struct Slot {
  std::uint32_t begin, end;  ///< where its digits stand in the text
  std::int64_t value;
  SlotKind kind;
};

/// A frame `{"stream":…,"data":{…}}` parsed once, so that sending it is a copy with other numbers.
///
/// Negative ids (`"f":-1` of a kline without trades) are not numbers of a sequence and stay.
/// Threads: any; immutable once made.
class PreparedFrame {
 public:
  /// INVALID_ARGUMENT saying which field is missing or wrong.
  static absl::StatusOr<PreparedFrame> parse(std::string_view text);

  const std::string& text() const { return text_; }
  const std::string& stream() const { return stream_; }
  const std::string& symbol() const { return symbol_; }
  Channel channel() const { return channel_; }
  const std::vector<Slot>& slots() const { return slots_; }
  /// `E`; 0 where the venue gives none.
  std::int64_t event_time_ms() const { return event_time_ms_; }

  /// Appends the text with `shifts` added.
  void append(const Shifts& shifts, std::string& out) const;
  /// The same, for good: `shifts` are added to the recorded values.
  void rebase(const Shifts& shifts);

  /// The value of `data` lies between so many bytes from the front and from the back of the text,
  /// whatever the numbers' widths.
  std::size_t data_front() const { return data_front_; }
  std::size_t data_back() const { return data_back_; }

  /// Of depth frames only. Futures: `previous` is `pu`.
  struct Depth {
    std::int64_t first = 0, last = 0, previous = -1;
    DepthChange change;
  };
  const Depth& depth() const { return depth_; }

 private:
  struct Parser;

  std::string text_, stream_, symbol_;
  Channel channel_ = Channel::kDepth;
  std::vector<Slot> slots_;
  std::int64_t event_time_ms_ = 0;
  std::size_t data_front_ = 0, data_back_ = 0;
  Depth depth_;
};

/// What a REST answer of a depth endpoint says.
struct DepthSnapshot {
  std::string symbol;  ///< of the URL's query
  std::int64_t last_update_id = 0;
  std::int64_t event_time_ms = 0, transaction_time_ms = 0;  ///< futures only
  DepthChange levels;
};
/// INVALID_ARGUMENT saying what is missing or wrong.
absl::StatusOr<DepthSnapshot> parse_snapshot(std::string_view url, std::string_view body);

}  // namespace virtufin::venue

#pragma once

#include <absl/status/statusor.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/time.h"

namespace virtufin::venue {

/// What a source wrote: which stream the frame belongs to, and where its `data` stands in it.
struct WrittenFrame {
  std::size_t stream = 0;      ///< index into FrameSource::streams()
  std::size_t data_front = 0;  ///< bytes of the combined form before `data`
  std::size_t data_back = 0;   ///< and behind it
};

/// A market as a sequence of frames: a recording, or a synthetic one.
///
/// Market time runs from 0 at the first frame; how it maps to real time is the player's matter.
/// Threads: one at a time.
class FrameSource {
 public:
  virtual ~FrameSource() = default;

  /// `recording` or `synthetic`, for logs and status.
  virtual std::string_view kind() const = 0;

  /// All streams that it ever writes, in Binance's spelling: `btcusdt@depth@100ms`.
  virtual std::span<const std::string> streams() const = 0;
  /// `BTCUSDT`
  virtual bool has_symbol(std::string_view symbol) const = 0;

  /// When the next frame is due in market time; never decreases. Nothing: the last was written.
  virtual std::optional<std::chrono::nanoseconds> next_due() const = 0;

  /// Appends the next frame in its combined form, as sent at `now`. Only if next_due() has a value.
  virtual WrittenFrame write_next(TimePoint now, std::string& out) = 0;

  /// The body of the REST depth endpoint after the frames written so far. NOT_FOUND for a symbol
  /// that this market does not have.
  virtual absl::StatusOr<std::string> depth(std::string_view symbol, std::size_t limit,
                                            TimePoint now) const = 0;

  /// Laps completed.
  virtual std::uint64_t laps() const = 0;
};

}  // namespace virtufin::venue

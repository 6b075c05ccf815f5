#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "core/errors.h"
#include "modules/venue/frame.h"
#include "modules/venue/recording.h"
#include "modules/venue/source.h"

namespace virtufin::venue {

struct PlaybackOptions {
  std::uint64_t laps = 1;   ///< 0: without end
  bool keep_times = false;  ///< frames keep their recorded times
};

/// Plays a recording of Binance's combined stream, lap after lap.
///
/// Ids: per symbol, the update ids of a lap are those of the lap before plus (largest − smallest id
/// over all its streams and its snapshot) + 1; aggregate trade ids and trade ids likewise, each on
/// their own. So every sequence goes on over the end of a lap.
///
/// Book: from the second lap on, each symbol begins with one depth frame of the venue's own. It
/// turns the book at the end of the recording into the recorded snapshot, takes the ids from the
/// last frame on up to the first frame that follows the snapshot, and stands for the recorded
/// frames that the snapshot contains already; these are played in the first lap only (Binance's own
/// rule tells every reader to drop them).
///
/// Times: moved by (moment of sending − recorded receipt), in whole milliseconds; of two klines of
/// one stream that would come to the same `E` the later one takes the next free millisecond.
///
/// Every frame is parsed once; sending it is a copy with other digits. The book for a REST answer
/// is computed when it is asked for.
///
/// Threads: one at a time.
class Playback final : public FrameSource {
 public:
  /// INVALID_ARGUMENT naming the line of a frame that is not one, or a symbol that cannot be
  /// looped.
  static absl::StatusOr<std::unique_ptr<Playback>> create(Dialect dialect,
                                                          const RecordedVenue& recorded,
                                                          const PlaybackOptions& options);

  std::string_view kind() const override { return "recording"; }
  std::span<const std::string> streams() const override { return streams_; }
  bool has_symbol(std::string_view symbol) const override;
  std::optional<std::chrono::nanoseconds> next_due() const override;
  WrittenFrame write_next(TimePoint now, std::string& out) override;
  absl::StatusOr<std::string> depth(std::string_view symbol, std::size_t limit,
                                    TimePoint now) const override;
  std::uint64_t laps() const override { return lap_; }

  /// How much the update ids of one lap are above those of the lap before.
  std::int64_t update_id_shift(std::string_view symbol) const;
  /// Frames of the first lap, and of each lap after it.
  std::size_t first_lap_frames() const { return first_lap_.size(); }
  std::size_t later_lap_frames() const { return later_lap_.size(); }

 private:
  /// A depth frame's part in its symbol's book.
  enum class Role : std::uint8_t { kNone, kBeforeSnapshot, kUpdate, kReset };
  struct Frame {
    PreparedFrame prepared;
    TimePoint received;
    std::chrono::nanoseconds offset;  ///< from the lap's begin
    std::size_t stream, symbol;
    Role role = Role::kNone;
  };
  struct Symbol {
    std::string name;
    Shifts shift{};  ///< a lap's; time unused
    bool has_depth = false;
    bool has_snapshot = false;
    DepthSnapshot snapshot;
    TimePoint snapshot_received;
    std::vector<std::size_t> updates;  ///< frames that follow the snapshot, in order
    // What was sent.
    std::size_t applied = 0;  ///< how many of `updates` are in the book
    bool passed = false;      ///< playback is past the snapshot
    std::int64_t last_update_id = 0;
  };

  Playback(Dialect dialect, const PlaybackOptions& options)
      : dialect_(dialect), options_(options) {}

  absl::Status load_frames(const RecordedVenue& recorded);
  absl::Status load_snapshots(const RecordedVenue& recorded);
  absl::Status assign_roles();
  void find_shifts();
  absl::Status make_resets();
  std::int64_t time_shift_ms(const Frame& frame, TimePoint now);
  std::size_t symbol_index(const std::string& name);
  std::size_t stream_index(const std::string& name);
  const std::vector<std::size_t>& program() const { return lap_ == 0 ? first_lap_ : later_lap_; }
  bool covered_by_snapshot(const PreparedFrame::Depth& depth, const Symbol& symbol) const;
  std::int64_t id_before(const PreparedFrame::Depth& depth) const;

  const Dialect dialect_;
  const PlaybackOptions options_;
  std::vector<std::string> streams_;
  StringMap<std::size_t> stream_indices_, symbol_indices_;
  std::vector<Symbol> symbols_;
  std::vector<Frame> frames_;
  std::vector<std::size_t> first_lap_, later_lap_;
  std::chrono::nanoseconds lap_duration_{0};

  std::uint64_t lap_ = 0;
  std::size_t next_ = 0;  ///< into program()
  static constexpr std::size_t kRecentKlines = 1024;
  std::vector<std::deque<std::int64_t>> recent_klines_;  ///< the last `E` sent, by stream
};

}  // namespace virtufin::venue

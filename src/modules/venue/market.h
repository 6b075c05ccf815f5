#pragma once

#include <absl/status/statusor.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/errors.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/time.h"
#include "modules/venue/config.h"
#include "modules/venue/frame.h"
#include "modules/venue/source.h"
#include "modules/venue/status.h"

namespace virtufin::venue {

/// Where a market's frames go: a connection. On the venue's loop. Never calls back into the market
/// from within these; one that has to end does so later.
class FrameSink {
 public:
  virtual ~FrameSink() = default;
  /// Queues a frame; `data` is the part of `combined` that a raw stream sends.
  virtual void queue(std::string_view combined, std::string_view data) = 0;
  /// Sends what is queued.
  virtual void flush() = 0;
  /// Whether a market that waits for its readers may queue more.
  virtual bool has_room() const = 0;
};

/// Plays one source to all who subscribed, like an exchange: everybody sees the same frames, and
/// the REST book is the one after the last frame played.
///
/// Pace: market time × speed, or a fixed rate, on the steady clock; behind schedule it catches up.
/// Speed 0, and a market that waits for its readers: paused while the slowest has no room, and
/// while nobody is subscribed.
///
/// Life: constructed, sinks come and go, stop(). Threads: the venue's loop; counters from any.
class Market {
 public:
  Market(Dialect dialect, std::unique_ptr<FrameSource> source, const VenueConfig& config,
         const Clock& clock, Metrics& metrics, boost::asio::io_context& io);

  std::string_view name() const { return venue::name(dialect_); }
  Dialect dialect() const { return dialect_; }
  const FrameSource& source() const { return *source_; }

  /// Index of a stream by its name, if this market plays it.
  std::optional<std::size_t> find_stream(std::string_view stream) const;

  void subscribe(FrameSink& sink, std::size_t stream);
  void unsubscribe(FrameSink& sink, std::size_t stream);
  /// From all streams.
  void remove(FrameSink& sink);

  /// A sink has room again.
  void resume();
  /// Begins if it may; with `start = "now"` called by the server.
  void begin();
  void stop();

  void count_sent(std::uint64_t frames) {
    frames_sent_.fetch_add(frames, std::memory_order_relaxed);
    sent_metric_->add(frames);
  }
  void count_dropped(std::uint64_t frames) {
    frames_dropped_.fetch_add(frames, std::memory_order_relaxed);
  }
  /// Any thread.
  MarketStatus status() const;

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;

  void play();
  SteadyTime due_at(std::chrono::nanoseconds market_time) const;
  bool readers_have_room() const;
  void play_one(TimePoint now);
  void flush();
  void wake_at(SteadyTime when);
  void wake_soon();

  const Dialect dialect_;
  const std::unique_ptr<FrameSource> source_;
  const VenueConfig& config_;
  const bool waits_;  ///< for its readers
  const Clock& clock_;
  const Logger log_;
  boost::asio::io_context& io_;
  boost::asio::steady_timer timer_;
  StringMap<std::size_t> stream_indices_;
  std::vector<std::vector<FrameSink*>> listeners_;  ///< by stream
  std::vector<FrameSink*> sinks_;                   ///< each once
  std::string text_;                                ///< of the frame being played

  enum class State { kIdle, kPlaying, kPaused, kFinished, kStopped };
  State state_ = State::kIdle;
  bool wake_posted_ = false;
  SteadyTime begun_;
  SteadyTime alone_since_;  ///< when it paused for want of readers

  std::atomic<std::uint64_t> frames_played_{0}, frames_sent_{0}, frames_dropped_{0}, laps_{0},
      subscribers_{0};
  std::atomic<bool> finished_{false};
  std::shared_ptr<Counter> played_metric_, sent_metric_;
  std::shared_ptr<Gauge> laps_metric_;
};

}  // namespace virtufin::venue

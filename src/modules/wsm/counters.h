#pragma once

#include <atomic>
#include <cstdint>

namespace virtufin::wsm {

/// frames_in = market_frames + control_frames + duplicates + not_published + undecodable, and
/// market_frames = frame_events.
struct Totals {
  std::uint64_t frames_in = 0;
  std::uint64_t market_frames = 0;   ///< each became exactly one event
  std::uint64_t control_frames = 0;  ///< acknowledgements, refusals, JSON pings
  std::uint64_t duplicates = 0;      ///< dropped by (source, id)
  std::uint64_t not_published = 0;   ///< arrived while publishing was off
  std::uint64_t undecodable = 0;
  std::uint64_t frame_events = 0;
  std::uint64_t other_events = 0;    ///< snapshots, gaps, lifecycle
  std::uint64_t publish_failed = 0;  ///< of both kinds: the bus did not take them
  std::uint64_t reconnects = 0;

  Totals& operator+=(const Totals& other) {
    frames_in += other.frames_in;
    market_frames += other.market_frames;
    control_frames += other.control_frames;
    duplicates += other.duplicates;
    not_published += other.not_published;
    undecodable += other.undecodable;
    frame_events += other.frame_events;
    other_events += other.other_events;
    publish_failed += other.publish_failed;
    reconnects += other.reconnects;
    return *this;
  }
};

/// A count with one writing thread and any number of readers: adding is a plain store.
class Count {
 public:
  void add(std::uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// One connection's counts. Written on its loop, read from any thread; publish_failed is written
/// wherever the bus completes.
struct ConnectionCounters {
  Count frames_in, market_frames, control_frames, duplicates, not_published, undecodable;
  Count frame_events, other_events, reconnects;
  std::atomic<std::uint64_t> publish_failed{0};
  std::atomic<std::int64_t> exchange_lag_us{0};  ///< of the last frame with a time

  Totals totals() const {
    return {
        frames_in.value(),    market_frames.value(), control_frames.value(),
        duplicates.value(),   not_published.value(), undecodable.value(),
        frame_events.value(), other_events.value(),  publish_failed.load(std::memory_order_relaxed),
        reconnects.value()};
  }
};

}  // namespace virtufin::wsm

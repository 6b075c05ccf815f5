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

/// One connection's counts, written on its loop and read from any thread. What the bus did not take
/// is counted by the PublishGate.
struct ConnectionCounters {
  Count frames_in, market_frames, control_frames, duplicates, not_published, undecodable;
  Count frame_events, other_events, reconnects;
  std::atomic<std::int64_t> exchange_lag_us{0};  ///< of the last frame with a time

  Totals totals() const {
    Totals totals;
    totals.frames_in = frames_in.value();
    totals.market_frames = market_frames.value();
    totals.control_frames = control_frames.value();
    totals.duplicates = duplicates.value();
    totals.not_published = not_published.value();
    totals.undecodable = undecodable.value();
    totals.frame_events = frame_events.value();
    totals.other_events = other_events.value();
    totals.reconnects = reconnects.value();
    return totals;
  }
};

}  // namespace virtufin::wsm

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace virtufin::app {

/// What a run of the demo counted, from the frame on the socket to the order in the store. Every
/// count comes from the module that did the counting; adding up is checked here.
struct Summary {
  double seconds = 0;

  // Market data in. frames_in = market_frames + control_frames + duplicates + not_published +
  // undecodable; market_frames = frame_events.
  std::uint64_t frames_sent = 0;  ///< by the simulated venue, of all kinds
  std::uint64_t frames_in = 0;
  std::uint64_t market_frames = 0;
  std::uint64_t control_frames = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t not_published = 0;
  std::uint64_t undecodable = 0;
  std::uint64_t frame_events = 0;
  std::uint64_t other_events = 0;

  // Workers. events_delivered = processed + dead_lettered + dropped + in_flight.
  std::uint64_t events_delivered = 0;
  std::uint64_t processed = 0;
  std::uint64_t dead_lettered = 0;
  std::uint64_t dropped = 0;
  std::uint64_t in_flight = 0;

  // Orders. orders = orders_recorded.
  std::uint64_t orders = 0;
  std::uint64_t orders_recorded = 0;

  // From receipt of the frame to the end of its worker's Process.
  double lag_p50_us = 0;
  double lag_p99_us = 0;

  /// The equations that do not hold, in words with both sides; empty if all do.
  std::vector<std::string> mistakes() const;

  /// One JSON object, the members named as above.
  std::string json() const;
  /// The same as aligned lines for a person.
  std::string text() const;
};

}  // namespace virtufin::app

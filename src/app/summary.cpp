#include "app/summary.h"

#include <fmt/format.h>

namespace virtufin::app {
namespace {

/// One table for every form of the summary, so that none forgets a member.
template <class Visit>
void visit_counts(const Summary& s, Visit&& visit) {
  visit("frames_sent", s.frames_sent, "by the simulated venue, of all kinds");
  visit("frames_in", s.frames_in, "received");
  visit("market_frames", s.market_frames, "each became exactly one event");
  visit("control_frames", s.control_frames, "acknowledgements, JSON pings");
  visit("duplicates", s.duplicates, "seen before, dropped");
  visit("not_published", s.not_published, "while publishing was off");
  visit("undecodable", s.undecodable, "not what the venue promises");
  visit("frame_events", s.frame_events, "market events out of frames");
  visit("other_events", s.other_events, "snapshots, gaps, lifecycle");
  visit("events_delivered", s.events_delivered, "matched to workers");
  visit("processed", s.processed, "");
  visit("dead_lettered", s.dead_lettered, "");
  visit("dropped", s.dropped, "by a queue's stated policy");
  visit("in_flight", s.in_flight, "not finished at the end");
  visit("orders", s.orders, "returned by workers");
  visit("orders_recorded", s.orders_recorded, "in the state store before they were published");
}

void check(std::vector<std::string>& mistakes, const char* left_name, std::uint64_t left,
           const char* right_name, std::uint64_t right) {
  if (left == right) return;
  mistakes.push_back(fmt::format("{} is {}, but {} is {}", left_name, left, right_name, right));
}

}  // namespace

std::vector<std::string> Summary::mistakes() const {
  std::vector<std::string> found;
  check(found, "frames_in", frames_in,
        "market_frames + control_frames + duplicates + not_published + undecodable",
        market_frames + control_frames + duplicates + not_published + undecodable);
  check(found, "market_frames", market_frames, "frame_events", frame_events);
  check(found, "events_delivered", events_delivered,
        "processed + dead_lettered + dropped + in_flight",
        processed + dead_lettered + dropped + in_flight);
  check(found, "orders", orders, "orders_recorded", orders_recorded);
  return found;
}

std::string Summary::json() const {
  std::string out = fmt::format("{{\"seconds\": {:.3f}", seconds);
  visit_counts(*this, [&](const char* name, std::uint64_t value, const char*) {
    out += fmt::format(", \"{}\": {}", name, value);
  });
  out +=
      fmt::format(", \"lag_p50_us\": {:.1f}, \"lag_p99_us\": {:.1f}}}\n", lag_p50_us, lag_p99_us);
  return out;
}

std::string Summary::text() const {
  std::string out = fmt::format("  {:<18}{:>14.1f}\n", "seconds", seconds);
  visit_counts(*this, [&](const char* name, std::uint64_t value, const char* meaning) {
    const std::string line = fmt::format("  {:<18}{:>14}  {}", name, value, meaning);
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  });
  out += fmt::format("  {:<18}{:>14.1f}  from receipt of the frame to the end of Process\n",
                     "lag_p50_us", lag_p50_us);
  out += fmt::format("  {:<18}{:>14.1f}\n", "lag_p99_us", lag_p99_us);
  return out;
}

}  // namespace virtufin::app

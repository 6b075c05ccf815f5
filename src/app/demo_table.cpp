#include "app/demo_table.h"

#include <fmt/format.h>

namespace virtufin::app {
namespace {

constexpr int kRowsAHeading = 20;

double rate(std::uint64_t now, std::uint64_t before, double seconds) {
  return seconds > 0 ? static_cast<double>(now - before) / seconds : 0;
}

}  // namespace

std::string DemoTable::row(const Summary& now) {
  std::string text;
  if (rows_ == 0 || (terminal_ && rows_ % kRowsAHeading == 0)) {
    text += fmt::format("\n{:>8} {:>12} {:>10} {:>12} {:>10} {:>9} {:>12} {:>12} {:>8}\n",
                        "seconds", "frames", "frames/s", "events", "events/s", "orders",
                        "lag p50 us", "lag p99 us", "drops");
  }
  const double seconds = now.seconds - before_.seconds;
  text +=
      fmt::format("{:>8.0f} {:>12} {:>10.0f} {:>12} {:>10.0f} {:>9} {:>12.0f} {:>12.0f} {:>8}\n",
                  now.seconds, now.frames_in, rate(now.frames_in, before_.frames_in, seconds),
                  now.frame_events, rate(now.frame_events, before_.frame_events, seconds),
                  now.orders, now.lag_p50_us, now.lag_p99_us, now.dropped);
  before_ = now;
  ++rows_;
  return text;
}

}  // namespace virtufin::app

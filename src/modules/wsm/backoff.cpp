#include "modules/wsm/backoff.h"

#include <algorithm>

namespace virtufin::wsm {

std::optional<std::chrono::milliseconds> Backoff::next() {
  if (limits_.attempts > 0 && attempt_ >= limits_.attempts) return std::nullopt;
  ++attempt_;
  if (immediate_) {
    immediate_ = false;
    return std::chrono::milliseconds(0);
  }
  const std::int64_t base = std::max<std::int64_t>(limits_.base.count(), 1);
  const std::int64_t max = std::max(base, static_cast<std::int64_t>(limits_.max.count()));
  // Doubles by comparison, so that no number of attempts overflows.
  std::int64_t bound = base;
  for (std::uint32_t i = 0; i < doublings_ && bound < max; ++i) bound *= 2;
  if (bound < max) ++doublings_;
  bound = std::min(bound, max);
  const std::int64_t least = std::max<std::int64_t>(base / 8, 1);
  return std::chrono::milliseconds(
      std::uniform_int_distribution<std::int64_t>(std::min(least, bound), bound)(random_));
}

void Backoff::succeeded(std::chrono::milliseconds lived) {
  attempt_ = 0;
  if (lived >= limits_.base) immediate_ = true;
}

void Backoff::reset() {
  attempt_ = 0;
  doublings_ = 0;
  immediate_ = true;
}

}  // namespace virtufin::wsm

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "modules/venue/playback.h"
#include "modules/venue/recording.h"

/// A WebSocket recording and, behind a line `===`, an HTTP one: parsed, and played for two laps if
/// they are a market's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace virtufin;
  using namespace virtufin::venue;
  std::string_view text(reinterpret_cast<const char*>(bytes), size);
  constexpr std::string_view kSeparator = "===\n";
  const std::size_t separator = text.find(kSeparator);
  auto connections = parse_websocket_recording(text.substr(0, separator));
  auto answers = parse_http_recording(
      separator == std::string_view::npos ? "" : text.substr(separator + kSeparator.size()));
  if (!connections.ok() || !answers.ok()) return 0;
  const RecordedVenue venue{*std::move(connections), *std::move(answers)};
  for (const Dialect dialect : {Dialect::kSpot, Dialect::kFutures}) {
    const auto playback = Playback::create(dialect, venue, {2, false});
    if (!playback.ok()) continue;
    const TimePoint now{std::chrono::seconds(1'800'000'000)};
    std::string out;
    while ((*playback)->next_due()) {
      out.clear();
      const WrittenFrame written = (*playback)->write_next(now, out);
      if (written.data_front + written.data_back > out.size()) std::abort();
    }
    if (!venue.answers.empty()) {
      const auto snapshot = parse_snapshot(venue.answers[0].url, venue.answers[0].body);
      if (!(*playback)->depth(snapshot->symbol, 10, now).ok()) std::abort();
    }
  }
  return 0;
}

#include "modules/venue/recording.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::venue {
namespace {

constexpr std::size_t kNanosecondDigits = 9;
/// 2^33 seconds: the year 2242, still within TimePoint.
constexpr std::int64_t kMaxEpochSeconds = std::int64_t{1} << 33;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Calls `take(line, number)` for every line that is not blank, until one fails.
template <class Take>
absl::Status each_line(std::string_view bytes, Take&& take) {
  std::size_t number = 0;
  while (!bytes.empty()) {
    ++number;
    const std::size_t end = bytes.find('\n');
    std::string_view line = bytes.substr(0, end);
    bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    VIRTUFIN_RETURN_IF_ERROR(take(line, number));
  }
  return absl::OkStatus();
}

struct TimedText {
  TimePoint time;
  std::string_view text;
};

/// `TIME: TEXT`
std::optional<TimedText> timed_text(std::string_view line) {
  const std::size_t colon = line.find(": ");
  if (colon == std::string_view::npos) return {};
  const auto time = parse_epoch(line.substr(0, colon));
  if (!time) return {};
  return TimedText{*time, line.substr(colon + 2)};
}

/// Splits `URL ARROW REST`; a URL holds no space.
std::optional<std::pair<std::string_view, std::string_view>> split_at_arrow(
    std::string_view line, std::string_view arrow) {
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0) return {};
  if (!line.substr(space).starts_with(arrow)) return {};
  return std::pair{line.substr(0, space), line.substr(space + arrow.size())};
}

absl::StatusOr<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return not_found("cannot open {}; check that it exists and may be read", path);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return unavailable("reading {} failed", path);
  return bytes;
}

}  // namespace

std::optional<TimePoint> parse_epoch(std::string_view text) {
  const std::size_t point = text.find('.');
  const std::string_view whole = text.substr(0, point);
  if (whole.empty() || !std::all_of(whole.begin(), whole.end(), is_digit)) return {};
  std::int64_t seconds = 0;
  const auto parsed = std::from_chars(whole.data(), whole.data() + whole.size(), seconds);
  if (parsed.ec != std::errc() || seconds > kMaxEpochSeconds) return {};
  std::int64_t nanoseconds = 0;
  if (point != std::string_view::npos) {
    const std::string_view fraction = text.substr(point + 1);
    if (fraction.empty() || fraction.size() > kNanosecondDigits) return {};
    if (!std::all_of(fraction.begin(), fraction.end(), is_digit)) return {};
    for (std::size_t i = 0; i < kNanosecondDigits; ++i) {
      nanoseconds = nanoseconds * 10 + (i < fraction.size() ? fraction[i] - '0' : 0);
    }
  }
  return TimePoint(std::chrono::seconds(seconds) + std::chrono::nanoseconds(nanoseconds));
}

absl::StatusOr<std::vector<RecordedConnection>> parse_websocket_recording(std::string_view bytes) {
  std::vector<RecordedConnection> connections;
  const auto take = [&](std::string_view line, std::size_t number) -> absl::Status {
    if (is_digit(line.front())) {
      const auto frame = timed_text(line);
      if (!frame) {
        return invalid_argument("line {}: expected 'TIME: TEXT', found '{}'", number,
                                printable(line));
      }
      if (connections.empty()) {
        return invalid_argument("line {}: a frame before the line 'URL <-> TIME'", number);
      }
      connections.back().frames.push_back({frame->time, std::string(frame->text), number});
      return absl::OkStatus();
    }
    if (const auto opened = split_at_arrow(line, " <-> ")) {
      const auto time = parse_epoch(opened->second);
      if (!time) {
        return invalid_argument("line {}: '{}' is no time in epoch seconds", number,
                                printable(opened->second));
      }
      connections.push_back({std::string(opened->first), *time, {}, {}});
      return absl::OkStatus();
    }
    if (const auto sent = split_at_arrow(line, " <- ")) {
      const auto message = timed_text(sent->second);
      if (!message) {
        return invalid_argument("line {}: expected 'URL <- TIME: TEXT', found '{}'", number,
                                printable(line));
      }
      if (connections.empty() || connections.back().url != sent->first) {
        return invalid_argument("line {}: '{}' was not opened by a line 'URL <-> TIME' before",
                                number, printable(sent->first));
      }
      connections.back().sent.push_back({message->time, std::string(message->text), number});
      return absl::OkStatus();
    }
    return invalid_argument(
        "line {}: expected 'URL <-> TIME', 'URL <- TIME: TEXT' or 'TIME: TEXT', found '{}'", number,
        printable(line));
  };
  VIRTUFIN_RETURN_IF_ERROR(each_line(bytes, take));
  return connections;
}

absl::StatusOr<std::vector<RecordedAnswer>> parse_http_recording(std::string_view bytes) {
  std::vector<RecordedAnswer> answers;
  const auto take = [&](std::string_view line, std::size_t number) -> absl::Status {
    const auto parts = split_at_arrow(line, " -> ");
    const auto body = parts ? timed_text(parts->second) : std::nullopt;
    if (!body) {
      return invalid_argument("line {}: expected 'URL -> TIME: BODY', found '{}'", number,
                              printable(line));
    }
    answers.push_back({std::string(parts->first), body->time, std::string(body->text), number});
    return absl::OkStatus();
  };
  VIRTUFIN_RETURN_IF_ERROR(each_line(bytes, take));
  return answers;
}

absl::StatusOr<RecordedVenue> read_recordings(const std::string& folder, std::string_view stem) {
  const std::string websocket_prefix = std::string(stem) + ".ws.";
  const std::string http_prefix = std::string(stem) + ".http.";
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) return not_found("cannot list the recordings in {}: {}", folder, error.message());
  std::sort(names.begin(), names.end());

  RecordedVenue venue;
  for (const std::string& name : names) {
    const bool websocket = name.starts_with(websocket_prefix);
    if (!websocket && !name.starts_with(http_prefix)) continue;
    const std::string path = folder + "/" + name;
    const auto bytes = read_file(path);
    if (!bytes.ok()) return bytes.status();
    if (websocket) {
      auto parsed = parse_websocket_recording(*bytes);
      if (!parsed.ok()) return with_context(parsed.status(), path);
      std::move(parsed->begin(), parsed->end(), std::back_inserter(venue.connections));
    } else {
      auto parsed = parse_http_recording(*bytes);
      if (!parsed.ok()) return with_context(parsed.status(), path);
      std::move(parsed->begin(), parsed->end(), std::back_inserter(venue.answers));
    }
  }
  if (venue.connections.empty()) {
    return not_found("no recording {}/{}*; give another folder or use the synthetic market", folder,
                     websocket_prefix);
  }
  return venue;
}

}  // namespace virtufin::venue

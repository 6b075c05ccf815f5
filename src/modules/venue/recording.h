#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"

/// Recorded exchange traffic, as lines of text.
///
/// `*.ws.*`: `URL <-> TIME` opens a connection, `URL <- TIME: TEXT` is what the client sent, and
/// `TIME: TEXT` what the venue sent on the connection opened last. `*.http.*`: `URL -> TIME: BODY`
/// is one REST answer. TIME is epoch seconds of local receipt, with up to nine digits after the
/// point; blank lines separate sections. Whatever else a line holds is an error that names it.
///
/// Threads: any; everything here is a value.
namespace virtufin::venue {

struct RecordedFrame {
  TimePoint received;
  std::string text;
  std::size_t line = 0;
};

struct RecordedConnection {
  std::string url;
  TimePoint opened;
  std::vector<RecordedFrame> sent;  ///< by the client
  std::vector<RecordedFrame> frames;
};

struct RecordedAnswer {
  std::string url;
  TimePoint received;
  std::string body;
  std::size_t line = 0;
};

/// INVALID_ARGUMENT with the line's number.
absl::StatusOr<std::vector<RecordedConnection>> parse_websocket_recording(std::string_view bytes);
absl::StatusOr<std::vector<RecordedAnswer>> parse_http_recording(std::string_view bytes);

/// `1633998512.0633569`: at most nine digits of a fraction, nothing before or after.
std::optional<TimePoint> parse_epoch(std::string_view text);

/// All recordings of one venue: `<folder>/<stem>.ws.*` and `<folder>/<stem>.http.*`, in the order
/// of their names.
struct RecordedVenue {
  std::vector<RecordedConnection> connections;
  std::vector<RecordedAnswer> answers;
};
/// NOT_FOUND if there is no such file, INVALID_ARGUMENT naming file and line.
absl::StatusOr<RecordedVenue> read_recordings(const std::string& folder, std::string_view stem);

}  // namespace virtufin::venue

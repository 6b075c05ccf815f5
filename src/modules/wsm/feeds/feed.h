#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bus/bus.h"
#include "core/event.h"
#include "modules/wsm/feeds/levels.h"

namespace virtufin::wsm {

/// One message from a venue. `kReadPadding` readable bytes follow it.
struct Frame {
  std::string_view bytes;
  TimePoint received;  ///< becomes the event's wall time
};

enum class FrameKind : std::uint8_t {
  kMarket,       ///< became exactly one event
  kControl,      ///< an acknowledgement, a refusal, a JSON ping
  kDuplicate,    ///< the same (source, id) is in the window
  kUndecodable,  ///< nothing that we know; never stops the feed
};

/// The venue's numbers and levels of a depth frame, for the kept book. Views into the frame and the
/// codec: valid until the next decode().
struct DepthChange {
  std::size_t book = 0;        ///< index into FeedCodec::books()
  std::uint64_t first = 0;     ///< `U`
  std::uint64_t last = 0;      ///< `u`
  std::uint64_t previous = 0;  ///< `pu`; only where the venue gives it
  std::span<const LevelText> bids, asks;
};

/// Continuity that was lost, as `feed.gap` tells it.
struct Gap {
  std::uint64_t expected = 0, received = 0;
  std::string_view reason;
};

struct Decoded {
  FrameKind kind = FrameKind::kUndecodable;
  EventPtr event;                        ///< of kMarket
  const bus::TopicPtr* topic = nullptr;  ///< of kMarket; lives as long as the codec's topics
  std::size_t symbol = 0;                ///< of kMarket: index into FeedCodec::symbols()
  std::optional<TimePoint> venue_time;   ///< the venue's own timestamp, where it gives one
  std::optional<DepthChange> depth;      ///< to be applied to the book after publishing
  std::optional<Gap> gap;                ///< of trades, across a reconnect
  /// Of kUndecodable: what was wrong. Of kControl: the venue's words if it refused something.
  std::string_view problem;
};

/// How a venue numbers its depth updates; contract/websocketmanager.md, "Order books".
enum class SequenceRule : std::uint8_t {
  kConsecutive,  ///< Binance spot: `U` = previous `u` + 1
  kChained,      ///< Binance futures: `pu` = previous `u`
};

/// What a feed is asked for; of Connect or `[[wsm.feeds]]`.
struct FeedRequest {
  std::string venue;
  std::vector<std::string> symbols;   ///< as the venue writes them, any case
  std::vector<std::string> channels;  ///< empty: the venue's default ones
  std::string rest_url;               ///< empty: the venue's own
  bool append_symbol = false;
  std::size_t dedup_window = 1024;
};

/// An order book as a venue's REST endpoint gives it. Views into the body.
struct BookSnapshot {
  std::uint64_t last_update_id = 0;
  Levels bids, asks;
};

/// One venue's frames turned into the market events of contract/envelope.md. Pure: bytes in, events
/// out, no sockets and no clock. Adding a venue is one implementation and a row in
/// feeds/registry.cpp.
///
/// Life: created, publish_on(), decode() for each frame. Threads: one at a time.
class FeedCodec {
 public:
  virtual ~FeedCodec() = default;

  virtual std::string_view venue() const = 0;
  /// What to ask for in the upgrade request: `/stream?streams=…`.
  virtual std::string target() const = 0;
  /// Sent in order after the handshake, where a venue does not subscribe by URL.
  virtual std::vector<std::string> subscribe_messages() const = 0;

  /// Topics and event shapes at `head`: `act`, or `hyp.<selector>`. INVALID_ARGUMENT else.
  virtual absl::Status publish_on(bus::Bus& bus, std::string_view head) = 0;

  virtual Decoded decode(const Frame& frame) = 0;
  /// A new connection stands: numbers may have been missed.
  virtual void reconnected() = 0;

  /// As the venue writes them; what `subject` and topics carry.
  virtual std::span<const std::string> symbols() const = 0;
  /// Symbols whose book is kept: indices into symbols().
  virtual std::span<const std::size_t> books() const = 0;
  virtual SequenceRule sequence_rule() const = 0;
  virtual std::string snapshot_url(std::size_t book) const = 0;
  /// `body` has kReadPadding readable bytes behind it.
  virtual absl::StatusOr<BookSnapshot> read_snapshot(std::string_view body) = 0;
};

}  // namespace virtufin::wsm

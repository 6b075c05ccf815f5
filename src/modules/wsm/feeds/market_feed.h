#pragma once

#include <absl/status/statusor.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bus/bus.h"
#include "core/time.h"
#include "modules/wsm/feeds/book_keeper.h"
#include "modules/wsm/feeds/feed.h"
#include "modules/wsm/feeds/market_shape.h"

namespace virtufin::wsm {

/// One connection's feed: frames in, events out, the books kept behind them. Knows no sockets: what
/// leaves goes through Output, so that tests and benchmarks drive it with bytes.
///
/// Threads: one at a time, all of it.
class MarketFeed {
 public:
  class Output {
   public:
    virtual ~Output() = default;
    /// The one event that a frame became.
    virtual void publish_frame_event(const bus::TopicPtr& topic, EventPtr event) = 0;
    /// A snapshot or a gap.
    virtual void publish_other_event(const bus::TopicPtr& topic, EventPtr event) = 0;
    /// Fetches a body for on_snapshot(), now or later. `attempt` counts the tries in a row that
    /// brought nothing useful, from 0: wait longer the more there were.
    virtual void fetch_snapshot(std::size_t book, std::string url, int attempt) = 0;
    /// The last published book, for the state store.
    virtual void cache_book(std::string key, std::string json) = 0;
  };

  struct Settings {
    std::string connection_id;
    bool append_symbol = false;
    std::chrono::milliseconds snapshot_interval{5'000};
    BookKeeper::Limits limits{20'000, 4'096};
  };

  MarketFeed(std::unique_ptr<FeedCodec> codec, bus::Bus& bus, const Clock& clock, Output& output,
             Settings settings);

  /// Before the first frame, and when publishing moves to another head. Errors as
  /// FeedCodec::publish_on().
  absl::Status publish_on(std::string_view head);

  /// No event until publish_on(), which tells what was missed by gaps.
  void stop_publishing() { publishing_ = false; }

  /// A connection stands. The next current book of each symbol is published at once.
  void connected();

  /// What became of the frame, for the counters; `.event` and `.topic` are spent.
  Decoded on_frame(const Frame& frame);

  /// The answer to a fetch. `body` is padded here.
  void on_snapshot(std::size_t book, absl::StatusOr<std::string> body);

  /// Publishes the books that are due. Call at least as often as the interval.
  void tick(std::chrono::steady_clock::time_point now);

  const FeedCodec& codec() const { return *codec_; }
  const BookKeeper& book(std::size_t index) const { return books_[index].keeper; }

 private:
  struct Book {
    BookKeeper keeper;
    std::optional<MarketShape> snapshot;
    std::string cache_key;
    TimePoint last_time;          ///< the venue's, of the last update
    std::uint64_t published = 0;  ///< last_update_id of the last published book
    bool fetching = false;
    int attempt = 0;
    bool publish_at_once = true;
  };

  void publish_gap(std::size_t symbol, const Gap& gap, TimePoint time);
  void update_book(const DepthChange& change, TimePoint time);
  void want_snapshot(std::size_t index);
  void publish_book(Book& book);

  const std::unique_ptr<FeedCodec> codec_;
  bus::Bus& bus_;
  const Clock& clock_;
  Output& output_;
  const Settings settings_;
  bool publishing_ = false;
  std::vector<Book> books_;
  std::vector<std::optional<MarketShape>> gaps_;  ///< by symbol
  std::chrono::steady_clock::time_point last_snapshots_{};
};

}  // namespace virtufin::wsm

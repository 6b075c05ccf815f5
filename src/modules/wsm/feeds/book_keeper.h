#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "modules/wsm/feeds/feed.h"
#include "modules/wsm/feeds/order_book.h"

namespace virtufin::wsm {

/// One symbol's book, kept from a snapshot and the updates behind it by the venue's sequence rules
/// (contract/websocketmanager.md, "Order books").
///
/// Updates that come before the snapshot wait; a gap throws the book away, and a new snapshot is
/// wanted. Publishing is the caller's: an update is published when it arrives, then applied here.
///
/// Threads: one.
class BookKeeper {
 public:
  struct Limits {
    std::size_t max_levels;   ///< of each side
    std::size_t max_pending;  ///< updates that wait for a snapshot; the oldest go first
  };

  BookKeeper(SequenceRule rule, Limits limits)
      : rule_(rule), limits_(limits), book_(limits.max_levels) {}

  /// The continuity that `change` breaks, if it does. Before apply().
  std::optional<Gap> check(const DepthChange& change) const;
  void apply(const DepthChange& change);

  /// False if the snapshot is older than what waits: fetch another.
  bool take(const BookSnapshot& snapshot);
  /// Updates wait and there is no book.
  bool wants_snapshot() const { return state_ == State::kEmpty && !pending_.empty(); }

  /// The book is the one after exactly the updates seen so far: the next one continues it.
  bool current() const { return state_ != State::kEmpty && seen_ && last_update_id_ == *seen_; }
  const OrderBook& book() const { return book_; }
  std::uint64_t last_update_id() const { return last_update_id_; }

 private:
  enum class State {
    kEmpty,   ///< no snapshot; updates wait
    kLoaded,  ///< a snapshot, and no update has joined it yet
    kSynced,
  };
  enum class Join { kOld, kJoins, kTooNew };

  /// An update that waits, with its own copy of the levels.
  struct Pending {
    std::uint64_t first, last, previous;
    std::vector<OrderBook::Level> bids, asks;
  };

  template <class Change>
  Join join(const Change& change) const;
  template <class Change>
  void apply_levels(const Change& change);
  void wait(const DepthChange& change);

  const SequenceRule rule_;
  const Limits limits_;
  State state_ = State::kEmpty;
  OrderBook book_;
  std::uint64_t last_update_id_ = 0;   ///< of the book
  std::optional<std::uint64_t> seen_;  ///< `u` of the last update, applied or not
  std::deque<Pending> pending_;
};

}  // namespace virtufin::wsm

#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "payload.h"

namespace imbalance {

struct Level {
  double price;
  double qty;
  std::uint8_t scale;  ///< digits behind the point, as the venue wrote the price
};

/// One side of a book, the best level last: most changes are near the best, so little is moved.
template <class Better>
class Side {
 public:
  void clear() { levels_.clear(); }
  bool empty() const { return levels_.empty(); }
  const Level& best() const { return levels_.back(); }

  void apply(const LevelChange& change) {
    const double price = change.price.value;
    const Better better;
    auto at = levels_.end();
    // The first few steps from the best end one by one, the rest by halving.
    for (int step = 0; step < 8 && at != levels_.begin() && better(std::prev(at)->price, price);
         ++step) {
      --at;
    }
    if (at != levels_.begin() && better(std::prev(at)->price, price)) {
      at = std::partition_point(levels_.begin(), at,
                                [&](const Level& level) { return !better(level.price, price); });
    }
    const bool present = at != levels_.begin() && std::prev(at)->price == price;
    if (change.qty == 0) {
      if (present) levels_.erase(std::prev(at));
    } else if (present) {
      *std::prev(at) = {price, change.qty, change.price.scale};
    } else {
      levels_.insert(at, {price, change.qty, change.price.scale});
    }
  }

 private:
  std::vector<Level> levels_;
};

/// The order book of one instrument, from a snapshot and the updates that follow it.
///
/// Updates that come before the snapshot are not lost: the last kRecent are kept, and a snapshot is
/// brought up to date with those that continue it. Until then, and after a gap, the book is not
/// in sync and gives no signal. Updates that the book already holds are skipped.
class Book {
 public:
  bool in_sync() const { return in_sync_; }
  /// Both sides there and not crossed.
  bool tradable() const {
    return in_sync_ && !bids_.empty() && !asks_.empty() && best_bid().price < best_ask().price;
  }
  const Level& best_bid() const { return bids_.best(); }
  const Level& best_ask() const { return asks_.best(); }

  void gap() { in_sync_ = false; }

  /// `text` is the payload as it came, `update` the same read. False if it changed nothing.
  bool update(std::string_view text, const Payload& update) {
    keep(text);
    if (!in_sync_ || update.last_update_id <= last_update_id_) return false;
    apply(update);
    return true;
  }

  void snapshot(const Payload& snapshot) {
    bids_.clear();
    asks_.clear();
    apply(snapshot);
    in_sync_ = true;
    catch_up();
  }

 private:
  static constexpr std::size_t kRecent = 256;

  void apply(const Payload& changes) {
    for (const auto& change : changes.bids) bids_.apply(change);
    for (const auto& change : changes.asks) asks_.apply(change);
    last_update_id_ = changes.last_update_id;
  }

  void keep(std::string_view text) {
    if (recent_.size() < kRecent) {
      recent_.emplace_back(text);
    } else {
      recent_[next_].assign(text);  // its memory is used again
    }
    next_ = (next_ + 1) % kRecent;
  }

  /// Applies the kept updates that follow the snapshot, if the first of them reaches back to it; if
  /// none does they belong to another run of the feed.
  void catch_up() {
    Payload update;
    bool continued = false;
    for (std::size_t i = 0; i < recent_.size(); ++i) {
      const auto& text = recent_[recent_.size() < kRecent ? i : (next_ + i) % kRecent];
      update.clear();
      if (!Scanner(text).read(update) || update.last_update_id <= last_update_id_) continue;
      if (!continued && update.first_update_id > last_update_id_ + 1) return;
      continued = true;
      apply(update);
    }
  }

  Side<std::greater<>> bids_;
  Side<std::less<>> asks_;
  std::uint64_t last_update_id_ = 0;
  bool in_sync_ = false;
  std::vector<std::string> recent_;
  std::size_t next_ = 0;
};

}  // namespace imbalance

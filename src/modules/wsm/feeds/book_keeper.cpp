#include "modules/wsm/feeds/book_keeper.h"

namespace virtufin::wsm {

std::optional<Gap> BookKeeper::check(const DepthChange& change) const {
  if (!seen_) return std::nullopt;
  const bool consecutive = rule_ == SequenceRule::kConsecutive;
  const std::uint64_t expected = consecutive ? *seen_ + 1 : *seen_;
  const std::uint64_t received = consecutive ? change.first : change.previous;
  if (received == expected) return std::nullopt;
  return Gap{expected, received,
             change.last > *seen_ ? "update ids were skipped" : "update ids went back"};
}

void BookKeeper::apply(const DepthChange& change) {
  if (check(change)) {
    state_ = State::kEmpty;
    pending_.clear();
    book_.clear();
  }
  seen_ = change.last;
  switch (state_) {
    case State::kSynced: apply_levels(change); return;
    case State::kEmpty: wait(change); return;
    case State::kLoaded: break;
  }
  switch (join(change)) {
    case Join::kOld: return;
    case Join::kJoins:
      state_ = State::kSynced;
      apply_levels(change);
      return;
    case Join::kTooNew:
      state_ = State::kEmpty;
      book_.clear();
      wait(change);
      return;
  }
}

bool BookKeeper::take(const BookSnapshot& snapshot) {
  book_.clear();
  for (const LevelText& level : snapshot.bids) book_.apply(Side::kBid, level);
  for (const LevelText& level : snapshot.asks) book_.apply(Side::kAsk, level);
  last_update_id_ = snapshot.last_update_id;
  state_ = State::kLoaded;
  while (!pending_.empty()) {
    const Pending& change = pending_.front();
    const Join joins = state_ == State::kSynced ? Join::kJoins : join(change);
    if (joins == Join::kTooNew) {
      state_ = State::kEmpty;
      book_.clear();
      return false;
    }
    if (joins == Join::kJoins) {
      state_ = State::kSynced;
      apply_levels(change);
    }
    pending_.pop_front();
  }
  return true;
}

template <class Change>
BookKeeper::Join BookKeeper::join(const Change& change) const {
  const std::uint64_t id = last_update_id_;
  if (rule_ == SequenceRule::kConsecutive) {
    if (change.last <= id) return Join::kOld;
    return change.first <= id + 1 ? Join::kJoins : Join::kTooNew;
  }
  if (change.last < id) return Join::kOld;
  return change.first <= id || change.previous == id ? Join::kJoins : Join::kTooNew;
}

template <class Change>
void BookKeeper::apply_levels(const Change& change) {
  for (const auto& level : change.bids) book_.apply(Side::kBid, level);
  for (const auto& level : change.asks) book_.apply(Side::kAsk, level);
  last_update_id_ = change.last;
}

void BookKeeper::wait(const DepthChange& change) {
  if (pending_.size() == limits_.max_pending) pending_.pop_front();
  Pending& pending = pending_.emplace_back();
  pending.first = change.first;
  pending.last = change.last;
  pending.previous = change.previous;
  for (const LevelText& level : change.bids) pending.bids.emplace_back(Side::kBid, level);
  for (const LevelText& level : change.asks) pending.asks.emplace_back(Side::kAsk, level);
}

}  // namespace virtufin::wsm

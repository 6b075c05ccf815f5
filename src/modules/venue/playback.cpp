#include "modules/venue/playback.h"

#include <algorithm>
#include <array>
#include <limits>
#include <sstream>

#include "core/log.h"

namespace virtufin::venue {
namespace {

constexpr std::chrono::days kLongest{366};  ///< of a recording

std::int64_t milliseconds_of(TimePoint time) {
  return std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

std::int64_t moved_ms(TimePoint now, TimePoint recorded, bool keep_times) {
  return keep_times ? 0 : std::chrono::floor<std::chrono::milliseconds>(now - recorded).count();
}

/// The ids seen of one sequence.
struct Span {
  std::int64_t smallest = std::numeric_limits<std::int64_t>::max();
  std::int64_t largest = std::numeric_limits<std::int64_t>::min();
  void add(std::int64_t id) {
    smallest = std::min(smallest, id);
    largest = std::max(largest, id);
  }
  std::int64_t shift() const { return largest < smallest ? 0 : largest - smallest + 1; }
};

Book book_of(const DepthChange& levels) {
  Book book;
  book.apply(levels);
  return book;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Playback>> Playback::create(Dialect dialect,
                                                           const RecordedVenue& recorded,
                                                           const PlaybackOptions& options) {
  std::unique_ptr<Playback> playback(new Playback(dialect, options));
  VIRTUFIN_RETURN_IF_ERROR(playback->load_frames(recorded));
  VIRTUFIN_RETURN_IF_ERROR(playback->load_snapshots(recorded));
  VIRTUFIN_RETURN_IF_ERROR(playback->assign_roles());
  playback->find_shifts();
  playback->recent_klines_.resize(playback->streams_.size());
  VIRTUFIN_RETURN_IF_ERROR(playback->make_resets());
  return playback;
}

std::size_t Playback::symbol_index(const std::string& name) {
  const auto [at, added] = symbol_indices_.try_emplace(name, symbols_.size());
  if (added) symbols_.emplace_back().name = name;
  return at->second;
}

std::size_t Playback::stream_index(const std::string& name) {
  const auto [at, added] = stream_indices_.try_emplace(name, streams_.size());
  if (added) streams_.push_back(name);
  return at->second;
}

absl::Status Playback::load_frames(const RecordedVenue& recorded) {
  for (const RecordedConnection& connection : recorded.connections) {
    // A stream that was asked for is the market's, even if nothing came on it.
    constexpr std::string_view kStreams = "?streams=";
    const std::size_t at = connection.url.find(kStreams);
    if (at != std::string::npos) {
      std::istringstream names(connection.url.substr(at + kStreams.size()));
      for (std::string stream; std::getline(names, stream, '/');) stream_index(stream);
    }
    for (const RecordedFrame& frame : connection.frames) {
      // Acknowledgements belong to the connection that was recorded, not to the market.
      if (frame.text.starts_with(R"({"result":)")) continue;
      auto prepared = PreparedFrame::parse(frame.text);
      if (!prepared.ok()) {
        return with_context(prepared.status(),
                            fmt::format("{} line {}", name(dialect_), frame.line));
      }
      const std::size_t stream = stream_index(prepared->stream());
      const std::size_t symbol = symbol_index(prepared->symbol());
      frames_.push_back({*std::move(prepared), frame.received, {}, stream, symbol, Role::kNone});
    }
  }
  if (frames_.empty()) {
    return invalid_argument("the recording of {} holds no market frame", name(dialect_));
  }
  std::stable_sort(frames_.begin(), frames_.end(),
                   [](const Frame& a, const Frame& b) { return a.received < b.received; });
  const TimePoint begin = frames_.front().received;
  for (Frame& frame : frames_) frame.offset = frame.received - begin;
  if (frames_.back().offset > kLongest) {
    return invalid_argument(
        "the recording of {} spans {} days, more than {}; are its times right?", name(dialect_),
        std::chrono::floor<std::chrono::days>(frames_.back().offset).count(), kLongest.count());
  }
  // The next lap begins one mean distance after the last frame.
  const auto length = frames_.back().offset;
  lap_duration_ = length.count() > 0
                      ? length + length / static_cast<std::int64_t>(frames_.size() - 1)
                      : std::chrono::seconds(1);
  return absl::OkStatus();
}

absl::Status Playback::load_snapshots(const RecordedVenue& recorded) {
  for (const RecordedAnswer& answer : recorded.answers) {
    auto snapshot = parse_snapshot(answer.url, answer.body);
    if (!snapshot.ok()) {
      return with_context(snapshot.status(),
                          fmt::format("{} snapshot in line {}", name(dialect_), answer.line));
    }
    Symbol& symbol = symbols_[symbol_index(snapshot->symbol)];
    if (symbol.has_snapshot) continue;  // the first is where the book begins
    symbol.has_snapshot = true;
    symbol.snapshot = *std::move(snapshot);
    symbol.snapshot_received = answer.received;
  }
  return absl::OkStatus();
}

bool Playback::covered_by_snapshot(const PreparedFrame::Depth& depth, const Symbol& symbol) const {
  return dialect_ == Dialect::kSpot ? depth.last <= symbol.snapshot.last_update_id
                                    : depth.last < symbol.snapshot.last_update_id;
}

/// What the frame before must have ended with.
std::int64_t Playback::id_before(const PreparedFrame::Depth& depth) const {
  return dialect_ == Dialect::kSpot ? depth.first - 1 : depth.previous;
}

absl::Status Playback::assign_roles() {
  constexpr std::size_t kNoStream = std::numeric_limits<std::size_t>::max();
  std::vector<std::size_t> depth_stream(symbols_.size(), kNoStream);
  for (std::size_t i = 0; i < frames_.size(); ++i) {
    Frame& frame = frames_[i];
    if (frame.prepared.channel() != Channel::kDepth) continue;
    Symbol& symbol = symbols_[frame.symbol];
    const PreparedFrame::Depth& depth = frame.prepared.depth();
    if (dialect_ == Dialect::kFutures && depth.previous < 0) {
      return invalid_argument("a depth frame of {} has no 'pu'; is this a futures recording?",
                              symbol.name);
    }
    if (!symbol.has_depth && !symbol.has_snapshot) {
      // Without a recorded snapshot the book begins empty, right before the first frame.
      symbol.snapshot.symbol = symbol.name;
      symbol.snapshot.last_update_id = id_before(depth);
      symbol.snapshot.event_time_ms = milliseconds_of(frame.received);
      symbol.snapshot.transaction_time_ms = symbol.snapshot.event_time_ms;
      symbol.snapshot_received = frame.received;
    }
    symbol.has_depth = true;
    std::size_t& stream = depth_stream[frame.symbol];
    if (stream != kNoStream && stream != frame.stream) {
      return invalid_argument("{} has two depth streams, {} and {}; record one of them",
                              symbol.name, streams_[stream], streams_[frame.stream]);
    }
    stream = frame.stream;
    if (covered_by_snapshot(depth, symbol)) {
      frame.role = Role::kBeforeSnapshot;
    } else {
      frame.role = Role::kUpdate;
      symbol.updates.push_back(i);
    }
  }
  return absl::OkStatus();
}

void Playback::find_shifts() {
  struct Spans {
    std::array<Span, kSlotKinds> of;
  };
  std::vector<Spans> spans(symbols_.size());
  for (const Frame& frame : frames_) {
    for (const Slot& slot : frame.prepared.slots()) {
      spans[frame.symbol].of[static_cast<std::size_t>(slot.kind)].add(slot.value);
    }
  }
  for (std::size_t i = 0; i < symbols_.size(); ++i) {
    Symbol& symbol = symbols_[i];
    Span& updates = spans[i].of[static_cast<std::size_t>(SlotKind::kUpdateId)];
    if (symbol.has_depth || symbol.has_snapshot) updates.add(symbol.snapshot.last_update_id);
    // Changes nothing unless the first frame straddles the snapshot: then the venue's own frame
    // needs this id.
    if (!symbol.updates.empty()) {
      updates.add(id_before(frames_[symbol.updates.front()].prepared.depth()));
    }
    for (const SlotKind kind : {SlotKind::kUpdateId, SlotKind::kAggregateId, SlotKind::kTradeId}) {
      shift_of(symbol.shift, kind) = spans[i].of[static_cast<std::size_t>(kind)].shift();
    }
  }
}

absl::Status Playback::make_resets() {
  const std::size_t recorded = frames_.size();
  for (std::size_t s = 0; s < symbols_.size(); ++s) {
    const Symbol& symbol = symbols_[s];
    if (symbol.updates.empty()) continue;
    Book final_book = book_of(symbol.snapshot.levels);
    for (const std::size_t i : symbol.updates) final_book.apply(frames_[i].prepared.depth().change);
    const DepthChange change = final_book.difference_to(book_of(symbol.snapshot.levels));

    const PreparedFrame::Depth& last = frames_[symbol.updates.back()].prepared.depth();
    const Frame& follower = frames_[symbol.updates.front()];
    const std::int64_t shift = symbol.shift[static_cast<std::size_t>(SlotKind::kUpdateId)];
    const std::int64_t time = milliseconds_of(frames_.front().received);
    const bool futures = dialect_ == Dialect::kFutures;
    std::string text = fmt::format(
        R"({{"stream":"{}","data":{{"e":"depthUpdate","E":{},{}"s":"{}","U":{},"u":{},)",
        streams_[follower.stream], time, futures ? fmt::format(R"("T":{},)", time) : std::string(),
        symbol.name, last.last + 1, id_before(follower.prepared.depth()) + shift);
    if (futures) text += fmt::format(R"("pu":{},)", last.last);
    append_levels("b", "a", change, text);
    text += "}}";
    auto prepared = PreparedFrame::parse(text);
    if (!prepared.ok()) {
      return with_context(prepared.status(), fmt::format("looping {}", symbol.name));
    }
    // The text is that of the second lap; the shift is added once for it.
    Shifts back{};
    shift_of(back, SlotKind::kUpdateId) = -shift;
    prepared->rebase(back);
    frames_.push_back({*std::move(prepared), frames_.front().received, std::chrono::nanoseconds(0),
                       follower.stream, s, Role::kReset});
    later_lap_.push_back(frames_.size() - 1);
  }
  for (std::size_t i = 0; i < recorded; ++i) {
    first_lap_.push_back(i);
    if (frames_[i].role != Role::kBeforeSnapshot) later_lap_.push_back(i);
  }
  if (options_.laps != 1 && later_lap_.empty()) {
    return invalid_argument(
        "the recording of {} cannot be looped: its snapshots contain all of its frames already, so "
        "that a second lap would have none",
        name(dialect_));
  }
  return absl::OkStatus();
}

bool Playback::has_symbol(std::string_view symbol) const {
  return symbol_indices_.contains(symbol);
}

std::int64_t Playback::update_id_shift(std::string_view symbol) const {
  const auto at = symbol_indices_.find(symbol);
  if (at == symbol_indices_.end()) return 0;
  return symbols_[at->second].shift[static_cast<std::size_t>(SlotKind::kUpdateId)];
}

std::optional<std::chrono::nanoseconds> Playback::next_due() const {
  if (options_.laps != 0 && lap_ >= options_.laps) return {};
  // After so many laps, 292 years of market time, only a player that does not look at it plays on.
  using std::chrono::nanoseconds;
  if (lap_ >= static_cast<std::uint64_t>(nanoseconds::max() / lap_duration_) - 1) {
    return nanoseconds::max();
  }
  return static_cast<std::int64_t>(lap_) * lap_duration_ + frames_[program()[next_]].offset;
}

WrittenFrame Playback::write_next(TimePoint now, std::string& out) {
  const Frame& frame = frames_[program()[next_]];
  Symbol& symbol = symbols_[frame.symbol];
  Shifts shifts = symbol.shift;
  for (std::int64_t& shift : shifts) shift *= static_cast<std::int64_t>(lap_);
  shift_of(shifts, SlotKind::kTimeMs) = time_shift_ms(frame, now);
  frame.prepared.append(shifts, out);

  if (frame.role == Role::kUpdate) {
    ++symbol.applied;
    symbol.passed = true;
    symbol.last_update_id = frame.prepared.depth().last + shift_of(shifts, SlotKind::kUpdateId);
  } else if (frame.role == Role::kReset) {
    symbol.applied = 0;
    // What follows continues from here.
    symbol.last_update_id = id_before(frames_[symbol.updates.front()].prepared.depth()) +
                            shift_of(shifts, SlotKind::kUpdateId);
  }
  const WrittenFrame written{frame.stream, frame.prepared.data_front(), frame.prepared.data_back()};
  if (++next_ == program().size()) {
    next_ = 0;
    ++lap_;
  }
  return written;
}

std::int64_t Playback::time_shift_ms(const Frame& frame, TimePoint now) {
  std::int64_t shift = moved_ms(now, frame.received, options_.keep_times);
  if (frame.prepared.channel() != Channel::kKline || options_.keep_times) return shift;
  // A kline has no id of its own: its `E` is what tells it from the others. Played fast enough two
  // would come to the same one, which no venue sends.
  auto& recent = recent_klines_[frame.stream];
  std::int64_t time = frame.prepared.event_time_ms() + shift;
  while (std::find(recent.begin(), recent.end(), time) != recent.end()) ++time;
  shift = time - frame.prepared.event_time_ms();
  if (recent.size() == kRecentKlines) recent.pop_front();
  recent.push_back(time);
  return shift;
}

absl::StatusOr<std::string> Playback::depth(std::string_view symbol_name, std::size_t limit,
                                            TimePoint now) const {
  const auto at = symbol_indices_.find(symbol_name);
  if (at == symbol_indices_.end() ||
      !(symbols_[at->second].has_depth || symbols_[at->second].has_snapshot)) {
    return not_found("no depth of symbol '{}'", printable(symbol_name));
  }
  const Symbol& symbol = symbols_[at->second];
  Book book = book_of(symbol.snapshot.levels);
  for (std::size_t i = 0; i < symbol.applied; ++i) {
    book.apply(frames_[symbol.updates[i]].prepared.depth().change);
  }
  std::string body =
      fmt::format(R"({{"lastUpdateId":{},)",
                  symbol.passed ? symbol.last_update_id : symbol.snapshot.last_update_id);
  if (dialect_ == Dialect::kFutures) {
    const std::int64_t moved = moved_ms(now, symbol.snapshot_received, options_.keep_times);
    body += fmt::format(R"("E":{},"T":{},)", symbol.snapshot.event_time_ms + moved,
                        symbol.snapshot.transaction_time_ms + moved);
  }
  append_levels("bids", "asks", book.levels(limit), body);
  body += "}";
  return body;
}

}  // namespace virtufin::venue

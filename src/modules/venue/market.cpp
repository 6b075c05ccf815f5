#include "modules/venue/market.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

namespace virtufin::venue {
namespace {

/// Frames between two looks at the loop's other work.
constexpr int kFramesPerTurn = 512;

/// Ten years: later than any run, and within what the clocks can add.
constexpr double kFarNs = 3.2e17;

}  // namespace

Market::Market(Dialect dialect, std::unique_ptr<FrameSource> source, const VenueConfig& config,
               const Clock& clock, Metrics& metrics, boost::asio::io_context& io)
    : dialect_(dialect),
      source_(std::move(source)),
      config_(config),
      waits_(config.waits_for_readers()),
      clock_(clock),
      log_(logger("venue")),
      io_(io),
      timer_(io) {
  const auto streams = source_->streams();
  for (std::size_t i = 0; i < streams.size(); ++i) stream_indices_.emplace(streams[i], i);
  listeners_.resize(streams.size());
  const Labels labels{{"market", std::string(name())}};
  played_metric_ = metrics.counter("virtufin_venue_frames_played_total",
                                   "Frames that a market of the simulated exchange played", labels);
  sent_metric_ = metrics.counter("virtufin_venue_frames_sent_total",
                                 "Frames that the simulated exchange sent to its clients", labels);
  laps_metric_ = metrics.gauge("virtufin_venue_laps", "Laps of the recording completed", labels);
}

std::optional<std::size_t> Market::find_stream(std::string_view stream) const {
  const auto at = stream_indices_.find(stream);
  if (at == stream_indices_.end()) return {};
  return at->second;
}

void Market::subscribe(FrameSink& sink, std::size_t stream) {
  auto& listeners = listeners_[stream];
  if (std::find(listeners.begin(), listeners.end(), &sink) != listeners.end()) return;
  listeners.push_back(&sink);
  if (std::find(sinks_.begin(), sinks_.end(), &sink) == sinks_.end()) {
    sinks_.push_back(&sink);
    subscribers_.store(sinks_.size(), std::memory_order_relaxed);
  }
  // Later, so that a request with many streams has them all before the first frame.
  wake_soon();
}

void Market::unsubscribe(FrameSink& sink, std::size_t stream) {
  std::erase(listeners_[stream], &sink);
  for (const auto& listeners : listeners_) {
    if (std::find(listeners.begin(), listeners.end(), &sink) != listeners.end()) return;
  }
  std::erase(sinks_, &sink);
  subscribers_.store(sinks_.size(), std::memory_order_relaxed);
}

void Market::remove(FrameSink& sink) {
  for (auto& listeners : listeners_) std::erase(listeners, &sink);
  if (std::erase(sinks_, &sink) == 0) return;
  subscribers_.store(sinks_.size(), std::memory_order_relaxed);
  // The one that everybody waited for may be gone.
  wake_soon();
}

void Market::resume() {
  if (state_ == State::kPaused) play();
}

void Market::begin() {
  if (state_ != State::kIdle) return;
  state_ = State::kPlaying;
  begun_ = std::chrono::steady_clock::now();
  log_->info("{}: playing ({}, {} streams)", name(), source_->kind(), stream_indices_.size());
  play();
}

void Market::stop() {
  state_ = State::kStopped;
  timer_.cancel();
}

Market::SteadyTime Market::due_at(std::chrono::nanoseconds market_time) const {
  double after_ns = 0;
  if (config_.rate > 0) {
    after_ns = static_cast<double>(frames_played_.load(std::memory_order_relaxed)) /
               static_cast<double>(config_.rate) * 1e9;
  } else if (config_.speed > 0) {
    after_ns = static_cast<double>(market_time.count()) / config_.speed;
  }
  const auto after = static_cast<std::int64_t>(std::min(after_ns, kFarNs));
  return begun_ + std::chrono::nanoseconds(after);
}

bool Market::readers_have_room() const {
  return !sinks_.empty() && std::all_of(sinks_.begin(), sinks_.end(),
                                        [](FrameSink* sink) { return sink->has_room(); });
}

void Market::play() {
  if (state_ != State::kPlaying && state_ != State::kPaused) return;
  const TimePoint now = clock_.now();
  const SteadyTime steady_now = std::chrono::steady_clock::now();
  if (state_ == State::kPaused && readers_have_room()) {
    state_ = State::kPlaying;
    // While nobody was there the schedule stood still; a slow reader's delay is caught up.
    if (alone_since_ != SteadyTime{}) begun_ += steady_now - alone_since_;
    alone_since_ = {};
  }
  int left = kFramesPerTurn;
  for (;;) {
    if (waits_ && !readers_have_room()) {
      if (sinks_.empty() && alone_since_ == SteadyTime{}) alone_since_ = steady_now;
      state_ = State::kPaused;
      break;
    }
    const auto due = source_->next_due();
    const std::uint64_t played = frames_played_.load(std::memory_order_relaxed);
    if (!due || (config_.frames != 0 && played >= config_.frames)) {
      state_ = State::kFinished;
      finished_.store(true, std::memory_order_relaxed);
      log_->info("{}: finished after {} frames, {} laps", name(), played, source_->laps());
      break;
    }
    const SteadyTime when = due_at(*due);
    if (when > steady_now) {
      wake_at(std::max(when, steady_now + config_.batch));
      break;
    }
    if (left-- == 0) {
      wake_soon();
      break;
    }
    play_one(now);
  }
  flush();
}

void Market::play_one(TimePoint now) {
  text_.clear();
  const WrittenFrame written = source_->write_next(now, text_);
  frames_played_.fetch_add(1, std::memory_order_relaxed);
  played_metric_->add();
  if (source_->laps() != laps_.load(std::memory_order_relaxed)) {
    laps_.store(source_->laps(), std::memory_order_relaxed);
    laps_metric_->set(static_cast<std::int64_t>(source_->laps()));
  }
  const std::string_view combined = text_;
  const std::string_view data =
      combined.substr(written.data_front, combined.size() - written.data_front - written.data_back);
  for (FrameSink* sink : listeners_[written.stream]) sink->queue(combined, data);
}

void Market::flush() {
  for (FrameSink* sink : sinks_) sink->flush();
}

void Market::wake_at(SteadyTime when) {
  timer_.expires_at(when);
  timer_.async_wait([this](boost::system::error_code error) {
    if (!error) play();
  });
}

void Market::wake_soon() {
  if (wake_posted_) return;
  wake_posted_ = true;
  boost::asio::post(io_, [this] {
    wake_posted_ = false;
    if (state_ == State::kIdle &&
        static_cast<std::int64_t>(sinks_.size()) >= config_.start_connections) {
      begin();
    } else {
      play();
    }
  });
}

MarketStatus Market::status() const {
  MarketStatus status;
  status.name = name();
  status.source = source_->kind();
  status.streams.assign(source_->streams().begin(), source_->streams().end());
  status.laps = laps_.load(std::memory_order_relaxed);
  status.frames_played = frames_played_.load(std::memory_order_relaxed);
  status.frames_sent = frames_sent_.load(std::memory_order_relaxed);
  status.frames_dropped = frames_dropped_.load(std::memory_order_relaxed);
  status.connections = subscribers_.load(std::memory_order_relaxed);
  status.finished = finished_.load(std::memory_order_relaxed);
  return status;
}

}  // namespace virtufin::venue

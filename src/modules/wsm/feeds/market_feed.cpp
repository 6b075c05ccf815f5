#include "modules/wsm/feeds/market_feed.h"

#include <fmt/format.h>

#include "core/errors.h"
#include "core/log.h"
#include "core/topic.h"
#include "core/uuid.h"

namespace virtufin::wsm {

MarketFeed::MarketFeed(std::unique_ptr<FeedCodec> codec, bus::Bus& bus, const Clock& clock,
                       Output& output, Settings settings)
    : codec_(std::move(codec)),
      bus_(bus),
      clock_(clock),
      output_(output),
      settings_(std::move(settings)),
      gaps_(codec_->symbols().size()) {
  books_.reserve(codec_->books().size());
  for (std::size_t i = 0; i < codec_->books().size(); ++i) {
    books_.push_back(Book{BookKeeper(codec_->sequence_rule(), settings_.limits), {}, {}, {}});
  }
}

absl::Status MarketFeed::publish_on(std::string_view head) {
  auto address = MarketAddress::parse(head);
  VIRTUFIN_RETURN_IF_ERROR(address.status());
  const MarketShapes shapes{bus_, *address, std::string(codec_->venue()), settings_.append_symbol};
  const auto symbols = codec_->symbols();
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    auto gap = shapes.make("feed.gap", "feed.gap", symbols[i]);
    VIRTUFIN_RETURN_IF_ERROR(gap.status());
    gaps_[i] = *std::move(gap);
  }
  for (std::size_t i = 0; i < books_.size(); ++i) {
    const std::string& symbol = symbols[codec_->books()[i]];
    auto snapshot = shapes.make("orderbook.snapshot", "orderbook.snapshot", symbol);
    VIRTUFIN_RETURN_IF_ERROR(snapshot.status());
    books_[i].snapshot = *std::move(snapshot);
    books_[i].cache_key = topic::market(
        address->selector, fmt::format("exchange.{}.orderbook.{}", codec_->venue(), symbol));
    books_[i].publish_at_once = true;
  }
  publishing_ = true;
  return codec_->publish_on(bus_, head);
}

void MarketFeed::connected() {
  codec_->reconnected();
  for (Book& book : books_) book.publish_at_once = true;
}

Decoded MarketFeed::on_frame(const Frame& frame) {
  Decoded decoded = codec_->decode(frame);
  if (decoded.kind != FrameKind::kMarket) return decoded;
  const TimePoint time = decoded.venue_time.value_or(frame.received);
  // The gap goes out first: who follows both topics then knows what the update stands behind.
  if (decoded.depth) {
    if (const auto gap = books_[decoded.depth->book].keeper.check(*decoded.depth)) {
      publish_gap(decoded.symbol, *gap, time);
    }
  } else if (decoded.gap) {
    publish_gap(decoded.symbol, *decoded.gap, time);
  }
  output_.publish_frame_event(*decoded.topic, std::move(decoded.event));
  if (decoded.depth) update_book(*decoded.depth, time);
  return decoded;
}

void MarketFeed::update_book(const DepthChange& change, TimePoint time) {
  Book& book = books_[change.book];
  book.keeper.apply(change);
  book.last_time = time;
  if (book.keeper.wants_snapshot()) {
    book.publish_at_once = true;
    want_snapshot(change.book);
  } else if (book.publish_at_once && book.keeper.current()) {
    publish_book(book);
  }
}

void MarketFeed::want_snapshot(std::size_t index) {
  Book& book = books_[index];
  if (book.fetching) return;
  book.fetching = true;
  output_.fetch_snapshot(index, codec_->snapshot_url(index), book.attempt++);
}

void MarketFeed::on_snapshot(std::size_t index, absl::StatusOr<std::string> body) {
  Book& book = books_[index];
  book.fetching = false;
  if (!book.keeper.wants_snapshot()) return;
  absl::Status problem = body.status();
  if (body.ok()) {
    const std::size_t size = body->size();
    body->resize(size + kReadPadding);
    auto snapshot = codec_->read_snapshot(std::string_view(*body).substr(0, size));
    problem = snapshot.status();
    // One older than the updates that wait is no error: the venue's REST side lags its streams.
    if (snapshot.ok() && book.keeper.take(*snapshot)) {
      book.attempt = 0;
      if (book.keeper.current()) publish_book(book);
      return;
    }
  }
  if (!problem.ok()) {
    logger("wsm")->warn("{} {}: no book snapshot: {}", settings_.connection_id,
                        codec_->symbols()[codec_->books()[index]], message(problem));
  }
  want_snapshot(index);
}

void MarketFeed::tick(std::chrono::steady_clock::time_point now) {
  if (now - last_snapshots_ < settings_.snapshot_interval) return;
  last_snapshots_ = now;
  for (Book& book : books_) {
    if (book.keeper.current() && book.keeper.last_update_id() != book.published) publish_book(book);
  }
}

void MarketFeed::publish_book(Book& book) {
  if (!publishing_) return;
  const OrderBook& levels = book.keeper.book();
  const TimePoint now = clock_.now();
  std::string json = R"({"bids":)";
  levels.append_json(Side::kBid, json);
  json += R"(,"asks":)";
  levels.append_json(Side::kAsk, json);
  json += fmt::format(R"(,"last_update_id":{})", book.keeper.last_update_id());
  std::string payload = json + fmt::format(R"(,"snapshot_at":"{}"}})", format_time(now));
  json += "}";

  output_.publish_other_event(
      book.snapshot->topic,
      book.snapshot->shape.make(random_uuid(), book.last_time, now, as_bytes(payload)));
  output_.cache_book(book.cache_key, std::move(json));
  book.published = book.keeper.last_update_id();
  book.publish_at_once = false;
}

void MarketFeed::publish_gap(std::size_t symbol, const Gap& gap, TimePoint time) {
  const std::string payload =
      fmt::format(R"({{"connection_id":"{}","expected":{},"received":{},"reason":"{}"}})",
                  settings_.connection_id, gap.expected, gap.received, gap.reason);
  const MarketShape& shape = *gaps_[symbol];
  output_.publish_other_event(
      shape.topic, shape.shape.make(random_uuid(), time, clock_.now(), as_bytes(payload)));
}

}  // namespace virtufin::wsm

// Any bytes as a venue's frame, through decoding, publishing and the kept book: no crash, no
// growth, and what is published is JSON.
#include <simdjson.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "core/errors.h"
#include "modules/wsm/feeds/market_feed.h"
#include "modules/wsm/feeds/registry.h"

namespace virtufin::wsm {
namespace {

/// Takes what leaves the feed, and insists that payloads parse.
class Checker final : public bus::Bus, public MarketFeed::Output {
 public:
  bus::TopicPtr topic(std::string_view name) override {
    struct Named final : bus::Topic {
      explicit Named(std::string text) : Topic(std::move(text)) {}
    };
    return std::make_shared<Named>(std::string(name));
  }
  void publish(const bus::TopicPtr&, EventPtr, bus::PublishDone) override {}
  absl::StatusOr<std::unique_ptr<bus::Subscription>> subscribe(std::vector<std::string>,
                                                               bus::SubscribeOptions,
                                                               bus::Handler) override {
    return unimplemented("no subscribers here");
  }
  void publish_frame_event(const bus::TopicPtr&, EventPtr event) override { check(*event); }
  void publish_other_event(const bus::TopicPtr&, EventPtr event) override { check(*event); }
  void fetch_snapshot(std::size_t, std::string, int) override {}
  void cache_book(std::string, std::string) override {}

 private:
  void check(const Event& event) {
    const std::string_view json = as_text(event.data());
    if (parser_.parse(json.data(), json.size()).error() != simdjson::SUCCESS) std::abort();
  }
  simdjson::dom::parser parser_;
};

void run(std::string_view venue, std::string_view text) {
  Checker checker;
  const HistoricalClock clock;
  FeedRequest request;
  request.venue = venue;
  auto codec = make_codec(
      request, "streams=a@depth@100ms/a@aggTrade/a@trade/a@bookTicker/a@kline_1m/b@depth@100ms");
  if (!codec.ok()) std::abort();
  MarketFeed feed(*std::move(codec), checker, clock, checker, {});
  if (!feed.publish_on("act").ok()) std::abort();
  std::chrono::steady_clock::time_point now{};
  // Lines are frames, one that begins with '#' a REST body, in a buffer that ends with its padding.
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (line.starts_with('#')) {
      feed.on_snapshot(0, std::string(line.substr(1)));
      continue;
    }
    const auto frame = std::make_unique<char[]>(line.size() + kReadPadding);
    std::copy(line.begin(), line.end(), frame.get());
    feed.on_frame({{frame.get(), line.size()}, clock.now()});
    feed.tick(now += std::chrono::hours(1));
  }
}

}  // namespace
}  // namespace virtufin::wsm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  virtufin::wsm::run("binance", text);
  virtufin::wsm::run("binance-futures", text);
  return 0;
}

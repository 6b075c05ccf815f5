// frame bytes in memory → worker done, and its order, if it makes one, at an inline subscriber:
// feed, bus, work manager and the imbalance worker as they are, no sockets, state `none`,
// everything inline on one thread. The floor is simdjson reading the same frame and the strategy's
// arithmetic as one function.
//
// The frames are those of the recordings, played on for as many laps as it takes. `frame_to_order`
// is the mean over all frames; `frame_to_order_ordering` over those that make an order, each timed
// on its own, floor and figure alike.
#include <benchmark/benchmark.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <unordered_map>

#include "../examples/workers/imbalance/book.h"
#include "bus/memory/memory_bus.h"
#include "bus/memory/memory_store.h"
#include "core/errors.h"
#include "modules/platform.h"
#include "modules/venue/playback.h"
#include "modules/workmanager/workmanager.h"
#include "modules/wsm/feeds/market_feed.h"
#include "modules/wsm/feeds/registry.h"
#include "rpc/local_call.h"
#include "virtufin/workmanager.pb.h"

namespace virtufin {
namespace {

using Steady = std::chrono::steady_clock;

constexpr std::uint64_t kLaps = 20;

std::filesystem::path recordings() {
  const char* given = std::getenv("VIRTUFIN_RECORDINGS");
  return given != nullptr ? given : VIRTUFIN_RECORDINGS_DEFAULT;
}

template <class T>
T must(absl::StatusOr<T> value) {
  if (!value.ok()) throw std::runtime_error(std::string(message(value.status())));
  return std::move(*value);
}
void must(const absl::Status& status) {
  if (!status.ok()) throw std::runtime_error(std::string(message(status)));
}

/// One market's frames of many laps, each with the padding that parsing in place needs.
struct Market {
  venue::Dialect dialect;
  std::string name, query;
  std::unordered_map<std::string, std::string> snapshots;  ///< by symbol, as REST answers at first
  std::deque<std::string> frames;
};

Market play(venue::Dialect dialect, std::string name, std::string_view stem) {
  Market market{dialect, std::move(name), {}, {}, {}};
  const auto recorded = must(venue::read_recordings(recordings(), stem));
  auto playback = must(venue::Playback::create(dialect, recorded, {.laps = kLaps}));
  market.query = "streams=";
  for (const std::string& stream : playback->streams()) {
    if (market.query.back() != '=') market.query += '/';
    market.query += stream;
    std::string symbol = stream.substr(0, stream.find('@'));
    for (char& c : symbol) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    if (auto body = playback->depth(symbol, 1000, {}); body.ok()) {
      market.snapshots[symbol] = std::move(*body);
    }
  }
  const TimePoint now = WallClock().now();
  while (playback->next_due()) {
    std::string frame;
    playback->write_next(now, frame);
    frame.reserve(frame.size() + simdjson::SIMDJSON_PADDING);
    market.frames.push_back(std::move(frame));
  }
  return market;
}

const std::vector<Market>& markets() {
  static const std::vector<Market> both = [] {
    std::vector<Market> made;
    made.push_back(play(venue::Dialect::kSpot, "binance", "BINANCE"));
    made.push_back(play(venue::Dialect::kFutures, "binance-futures", "BINANCE_FUTURES"));
    return made;
  }();
  return both;
}

/// Everything between the frame and the order, made anew for every run through the frames.
class Path final : public wsm::MarketFeed::Output {
 public:
  explicit Path(const Market& market) : market_(market) {
    const auto binary = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    std::ifstream file(binary / "workers/libimbalance.so", std::ios::binary);
    CreateWorkerRequest request;
    request.mutable_code_source()->set_content(
        std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>()));
    request.set_mime_type("application/x-native-dll");
    for (const char* event : {"orderbook.update", "orderbook.snapshot"}) {
      request.add_topics("act.exchange." + market.name + "." + event);
    }
    request.set_dispatch("inline");
    request.set_start(true);
    must(workmanager_.start());
    create(request);

    bus::SubscribeOptions options;
    options.name = "orders";
    orders_ = must(bus_.subscribe({"sc.LIVE.orders"}, std::move(options),
                                  [this](const bus::Delivery&, bus::Receipt receipt) {
                                    ++order_count_;
                                    std::move(receipt).answer(bus::Answer::kSuccess);
                                  }));
    wsm::FeedRequest feed;
    feed.venue = market.name;
    feed_ = std::make_unique<wsm::MarketFeed>(must(wsm::make_codec(feed, market.query)), bus_,
                                              clock_, *this,
                                              wsm::MarketFeed::Settings{.connection_id = "bench"});
    must(feed_->publish_on("act"));
    feed_->connected();
    answer_fetches();
  }
  ~Path() override { workmanager_.stop(Steady::now() + std::chrono::seconds(1)); }

  /// Returns the number of orders so far.
  std::uint64_t on_frame(const std::string& frame) {
    feed_->on_frame({frame, clock_.now()});
    if (!fetches_.empty()) answer_fetches();
    return order_count_;
  }

  void publish_frame_event(const bus::TopicPtr& topic, EventPtr event) override {
    bus_.publish(topic, std::move(event));
  }
  void publish_other_event(const bus::TopicPtr& topic, EventPtr event) override {
    bus_.publish(topic, std::move(event));
  }
  void fetch_snapshot(std::size_t book, std::string url, int) override {
    fetches_.emplace_back(book, std::move(url));
  }
  void cache_book(std::string key, std::string json) override {
    store_->save({std::move(key), std::move(json), {}, {}}, [](absl::StatusOr<std::string>) {});
  }

 private:
  void create(const CreateWorkerRequest& request) {
    const auto row = must(methods_.find("virtufin.WorkManager/CreateWorker"));
    std::promise<absl::Status> created;
    row->call(std::make_shared<rpc::LocalCall>(), request,
              [&](absl::StatusOr<std::unique_ptr<google::protobuf::Message>> reply) {
                created.set_value(reply.status());
              });
    must(created.get_future().get());
  }

  void answer_fetches() {
    auto asked = std::exchange(fetches_, {});
    for (const auto& [book, url] : asked) {
      const auto at = url.find("symbol=") + 7;
      const auto found = market_.snapshots.find(url.substr(at, url.find('&', at) - at));
      if (found == market_.snapshots.end()) continue;
      std::string body = found->second;
      body.reserve(body.size() + simdjson::SIMDJSON_PADDING);
      feed_->on_snapshot(book, body);
    }
  }

  const Market& market_;
  WallClock clock_;
  Metrics metrics_;
  Loops loops_{1};
  BlockingPool blocking_{"bench", 1, 16};
  bus::MemoryBus bus_{{}, metrics_};
  std::unique_ptr<bus::MemoryStore> store_ = must(bus::MemoryStore::open({}, clock_, metrics_));
  rpc::MethodTable methods_;
  rpc::Health health_;
  rpc::HttpServer http_{methods_, health_, metrics_, loops_, {}};
  Platform platform_{clock_,  bus_,     *store_, methods_,  http_,
                     health_, metrics_, loops_,  blocking_, "bench"};
  workmanager::WorkManagerModule workmanager_{platform_, {}};
  std::unique_ptr<bus::Subscription> orders_;
  std::uint64_t order_count_ = 0;
  std::vector<std::pair<std::size_t, std::string>> fetches_;
  std::unique_ptr<wsm::MarketFeed> feed_;
};

/// The floor: one function a frame.
class Floor {
 public:
  explicit Floor(const Market& market) : futures_(market.dialect == venue::Dialect::kFutures) {
    imbalance::Payload empty;
    for (const auto& [symbol, body] : market.snapshots) {
      simdjson::ondemand::document document;
      simdjson::padded_string padded(body);
      must_parse(parser_.iterate(padded).get(document));
      imbalance::Payload snapshot;
      snapshot.last_update_id = document["lastUpdateId"].get_uint64().value();
      read_levels(document["bids"].get_array(), snapshot.bids);
      read_levels(document["asks"].get_array(), snapshot.asks);
      books_[symbol].book.snapshot(snapshot);
    }
  }

  std::uint64_t on_frame(const std::string& frame) {
    simdjson::ondemand::document document;
    must_parse(
        parser_.iterate(frame.data(), frame.size(), frame.size() + simdjson::SIMDJSON_PADDING)
            .get(document));
    const std::string_view stream = document["stream"].get_string();
    auto data = document["data"].get_object();
    if (stream.find("@depth") == std::string_view::npos) {
      // The fields that an event of it carries.
      for (auto field : data) benchmark::DoNotOptimize(field.value().raw_json_token());
      return orders_;
    }
    payload_.clear();
    benchmark::DoNotOptimize(data["E"].get_uint64().value());
    const std::string_view symbol = data["s"].get_string();
    Instrument& instrument = books_.find(symbol)->second;
    payload_.first_update_id = data["U"].get_uint64();
    payload_.last_update_id = data["u"].get_uint64();
    if (futures_) benchmark::DoNotOptimize(data["pu"].get_uint64().value());
    read_levels(data["b"].get_array(), payload_.bids);
    read_levels(data["a"].get_array(), payload_.asks);
    if (instrument.book.update({}, payload_)) decide(instrument);
    return orders_;
  }

 private:
  struct Instrument {
    imbalance::Book book;
    int fired = 0;
  };

  static void must_parse(simdjson::error_code error) {
    if (error) throw std::runtime_error(simdjson::error_message(error));
  }
  static double number(std::string_view text) {
    double value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  }
  static void read_levels(simdjson::ondemand::array levels,
                          std::vector<imbalance::LevelChange>& out) {
    for (auto level : levels) {
      auto pair = level.get_array().begin();
      imbalance::LevelChange change;
      change.price.value = number((*pair).get_string());
      ++pair;
      change.qty = number((*pair).get_string());
      out.push_back(change);
    }
  }
  void decide(Instrument& instrument) {
    if (!instrument.book.tradable()) return;
    const double bid = instrument.book.best_bid().qty, ask = instrument.book.best_ask().qty;
    const double imbalance = (bid - ask) / (bid + ask);
    const int side = imbalance > 0.6 ? 1 : imbalance < -0.6 ? -1 : 0;
    if (side == 0 && imbalance < 0.2 && imbalance > -0.2) instrument.fired = 0;
    if (side == 0 || side == instrument.fired) return;
    instrument.fired = side;
    ++orders_;
  }

  const bool futures_;
  simdjson::ondemand::parser parser_;
  std::unordered_map<std::string, Instrument, StringHash, std::equal_to<>> books_;
  imbalance::Payload payload_;
  std::uint64_t orders_ = 0;
};

/// All frames of both markets, all laps; one iteration a frame.
template <class Subject>
void all_frames(benchmark::State& state) {
  try {
    std::unique_ptr<Subject> subject;
    std::size_t market = 0, at = 0;
    subject = std::make_unique<Subject>(markets()[market]);
    for (auto _ : state) {
      if (at == markets()[market].frames.size()) {
        state.PauseTiming();
        market = (market + 1) % markets().size();
        at = 0;
        subject = std::make_unique<Subject>(markets()[market]);
        state.ResumeTiming();
      }
      benchmark::DoNotOptimize(subject->on_frame(markets()[market].frames[at++]));
    }
  } catch (const std::exception& error) {
    state.SkipWithError(error.what());
  }
}

/// Only the frames that make an order are timed, one by one.
template <class Subject>
void ordering_frames(benchmark::State& state) {
  try {
    std::unique_ptr<Subject> subject;
    std::size_t market = 0, at = 0;
    std::uint64_t orders = 0;
    std::vector<double> took;
    subject = std::make_unique<Subject>(markets()[market]);
    for (auto _ : state) {
      for (;;) {
        if (at == markets()[market].frames.size()) {
          market = (market + 1) % markets().size();
          at = 0;
          orders = 0;
          subject = std::make_unique<Subject>(markets()[market]);
        }
        const auto start = Steady::now();
        const std::uint64_t now = subject->on_frame(markets()[market].frames[at++]);
        const auto end = Steady::now();
        if (now == orders) continue;
        orders = now;
        took.push_back(std::chrono::duration<double>(end - start).count());
        state.SetIterationTime(took.back());
        break;
      }
    }
    // What the mean hides: a few that met another thread, or cold memory.
    const auto middle = took.begin() + static_cast<std::ptrdiff_t>(took.size() / 2);
    std::nth_element(took.begin(), middle, took.end());
    state.counters["median_ns"] = 1e9 * *middle;
  } catch (const std::exception& error) {
    state.SkipWithError(error.what());
  }
}

BENCHMARK(all_frames<Floor>)->Name("frame_to_order/floor");
BENCHMARK(all_frames<Path>)->Name("frame_to_order/value");
BENCHMARK(ordering_frames<Floor>)
    ->Name("frame_to_order_ordering/floor")
    ->UseManualTime()
    ->Iterations(2000);
BENCHMARK(ordering_frames<Path>)
    ->Name("frame_to_order_ordering/value")
    ->UseManualTime()
    ->Iterations(2000);

}  // namespace
}  // namespace virtufin

BENCHMARK_MAIN();

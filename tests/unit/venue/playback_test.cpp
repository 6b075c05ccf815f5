#include "modules/venue/playback.h"

#include <simdjson.h>

#include <catch2/catch.hpp>
#include <map>
#include <numeric>
#include <set>

#include "core/log.h"
#include "recordings.h"

namespace virtufin::venue {
namespace {

using Json = simdjson::dom::element;

/// A frame as a reader sees it, parsed apart from the code under test.
struct Seen {
  std::string stream;
  std::map<std::string, std::int64_t> numbers;  ///< of `data`, and of its `k` as `k.t`
  std::string symbol;
  std::vector<std::pair<std::string, std::string>> bids, asks;
  std::string text;
};

Seen read(const std::string& text) {
  simdjson::dom::parser parser;
  const Json root = parser.parse(text);
  Seen seen;
  seen.text = text;
  seen.stream = std::string(root["stream"].get_string().value());
  const auto take = [&](const std::string& prefix, simdjson::dom::object object) {
    for (const auto [key, value] : object) {
      if (value.is_int64()) seen.numbers[prefix + std::string(key)] = value.get_int64();
    }
  };
  const simdjson::dom::object data = root["data"];
  take("", data);
  if (simdjson::dom::object k; data["k"].get(k) == simdjson::SUCCESS) take("k.", k);
  seen.symbol = std::string(data["s"].get_string().value());
  for (const auto& [key, side] : {std::pair{"b", &seen.bids}, std::pair{"a", &seen.asks}}) {
    simdjson::dom::array rows;
    if (data[key].get(rows) != simdjson::SUCCESS) continue;
    for (const auto row : rows) {
      side->emplace_back(row.at(0).get_string().value(), row.at(1).get_string().value());
    }
  }
  return seen;
}

/// A reader's book: prices as doubles, quantities as the venue wrote them.
struct ReadersBook {
  std::map<double, std::string> bids, asks;
  std::int64_t last_id = 0;

  static void set(std::map<double, std::string>& side, const std::string& price,
                  const std::string& quantity) {
    if (std::stod(quantity) == 0) {
      side.erase(std::stod(price));
    } else {
      side[std::stod(price)] = quantity;
    }
  }
  void apply(const Seen& frame) {
    for (const auto& [price, quantity] : frame.bids) set(bids, price, quantity);
    for (const auto& [price, quantity] : frame.asks) set(asks, price, quantity);
    last_id = frame.numbers.at("u");
  }
  bool crossed() const {
    return !bids.empty() && !asks.empty() && bids.rbegin()->first >= asks.begin()->first;
  }
  bool same_levels(const ReadersBook& other) const {
    return bids == other.bids && asks == other.asks;
  }
};

ReadersBook read_snapshot(const std::string& body) {
  simdjson::dom::parser parser;
  const Json root = parser.parse(body);
  ReadersBook book;
  for (const auto row : root["bids"].get_array()) {
    ReadersBook::set(book.bids, std::string(row.at(0)), std::string(row.at(1)));
  }
  for (const auto row : root["asks"].get_array()) {
    ReadersBook::set(book.asks, std::string(row.at(0)), std::string(row.at(1)));
  }
  book.last_id = root["lastUpdateId"].get_int64();
  return book;
}

constexpr TimePoint kSendTime{std::chrono::seconds(1'800'000'000)};

struct Played {
  std::vector<Seen> frames;
  std::vector<std::chrono::nanoseconds> due;
  std::vector<std::uint64_t> lap;
};

/// Everything that is left; every frame sent 1 ms after the one before, beginning at kSendTime.
Played play(Playback& playback) {
  Played played;
  std::string text;
  while (const auto due = playback.next_due()) {
    played.due.push_back(*due);
    played.lap.push_back(playback.laps());
    text.clear();
    playback.write_next(
        kSendTime + std::chrono::milliseconds(static_cast<std::int64_t>(played.frames.size())),
        text);
    played.frames.push_back(read(text));
  }
  return played;
}

std::unique_ptr<Playback> open(const std::string& folder, Dialect dialect,
                               const PlaybackOptions& options) {
  const auto recorded =
      read_recordings(folder, dialect == Dialect::kSpot ? "BINANCE" : "BINANCE_FUTURES");
  REQUIRE(recorded.ok());
  auto playback = Playback::create(dialect, *recorded, options);
  INFO(playback.status());
  REQUIRE(playback.ok());
  return *std::move(playback);
}

/// The rules of contract/websocketmanager.md for what follows a snapshot.
bool continues(Dialect dialect, const Seen& frame, std::int64_t last_id, bool first) {
  const auto id = [&](const char* key) { return frame.numbers.at(key); };
  if (dialect == Dialect::kSpot) {
    return first ? id("U") <= last_id + 1 && last_id + 1 <= id("u") : id("U") == last_id + 1;
  }
  if (!first) return id("pu") == last_id;
  return (id("U") <= last_id && last_id <= id("u")) || id("pu") == last_id;
}

void check_loop(const std::string& folder, Dialect dialect, std::size_t recorded_frames,
                std::size_t later_frames) {
  constexpr std::uint64_t kLaps = 3;
  auto playback = open(folder, dialect, {kLaps, false});
  CHECK(playback->first_lap_frames() == recorded_frames);
  CHECK(playback->later_lap_frames() == later_frames);
  const bool spot = dialect == Dialect::kSpot;
  const std::set<std::string> symbols =
      spot ? std::set<std::string>{"NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR"}
           : std::set<std::string>{"SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"};
  std::map<std::string, ReadersBook> snapshots;
  for (const std::string& symbol : symbols) {
    const auto body = playback->depth(symbol, 1000, kSendTime);
    REQUIRE(body.ok());
    snapshots[symbol] = read_snapshot(*body);
  }

  const Played played = play(*playback);
  CHECK(playback->laps() == kLaps);
  CHECK(played.frames.size() ==
        playback->first_lap_frames() + (kLaps - 1) * playback->later_lap_frames());

  // What a reader checks: every sequence goes on, whatever the lap.
  std::map<std::string, ReadersBook> books = snapshots;
  std::map<std::string, std::int64_t> last_ticker, last_aggregate, last_trade, last_depth;
  std::map<std::string, std::vector<ReadersBook>> at_lap_end;
  std::set<std::string> synced, reset_seen;
  for (std::size_t i = 0; i < played.frames.size(); ++i) {
    const Seen& frame = played.frames[i];
    INFO("frame " << i << " of lap " << played.lap[i] << ": " << frame.text.substr(0, 300));
    const std::string key = frame.symbol;
    const bool lap_begins = i > 0 && played.lap[i] != played.lap[i - 1];
    if (lap_begins) {
      for (const auto& [symbol, book] : books) at_lap_end[symbol].push_back(book);
      reset_seen.clear();
    }
    if (played.lap[i] > 0 && !reset_seen.contains(key)) {
      // The symbol's first frame of a lap is the venue's own, and makes it the snapshot again.
      REQUIRE(frame.numbers.contains("U"));
      ReadersBook reset = books[key];
      reset.apply(frame);
      CHECK(reset.same_levels(snapshots[key]));
      reset_seen.insert(key);
    }
    if (frame.stream.find("@depth") != std::string::npos) {
      if (last_depth.contains(key)) {
        CHECK(continues(dialect, frame, last_depth[key], false));
        CHECK(frame.numbers.at("u") > last_depth[key]);
      }
      CHECK(frame.numbers.at("U") <= frame.numbers.at("u"));
      last_depth[key] = frame.numbers.at("u");
      ReadersBook& book = books[key];
      const bool covered = spot ? last_depth[key] <= book.last_id : last_depth[key] < book.last_id;
      if (!synced.contains(key) && covered) continue;
      CHECK(continues(dialect, frame, book.last_id, !synced.contains(key)));
      synced.insert(key);
      book.apply(frame);
      CHECK_FALSE(book.crossed());
    } else if (frame.stream.ends_with("@bookTicker")) {
      CHECK(frame.numbers.at("u") > last_ticker[key]);
      last_ticker[key] = frame.numbers.at("u");
    } else if (frame.stream.ends_with("@aggTrade")) {
      if (last_aggregate.contains(key)) {
        CHECK(frame.numbers.at("a") == last_aggregate[key] + 1);
        CHECK(frame.numbers.at("f") > last_trade[key]);
      }
      last_aggregate[key] = frame.numbers.at("a");
      last_trade[key] = frame.numbers.at("l");
    }
  }
  CHECK(synced == symbols);
  for (const std::string& symbol : symbols) {
    INFO(symbol);
    REQUIRE(at_lap_end[symbol].size() == kLaps - 1);
    for (const ReadersBook& end : at_lap_end[symbol]) CHECK(end.same_levels(books[symbol]));
    const std::int64_t shift = playback->update_id_shift(symbol);
    CHECK(books[symbol].last_id == at_lap_end[symbol][0].last_id + 2 * shift);
    // And the venue's own book says the same.
    const auto body = playback->depth(symbol, 5000, kSendTime);
    REQUIRE(body.ok());
    const ReadersBook own = read_snapshot(*body);
    CHECK(own.same_levels(books[symbol]));
    CHECK(own.last_id == books[symbol].last_id);
  }
}

TEST_CASE("the recordings loop without a gap or a crossed book") {
  const auto folder = recordings();
  if (!folder) return;
  SECTION("spot") { check_loop(*folder, Dialect::kSpot, 265, 264); }
  SECTION("futures") { check_loop(*folder, Dialect::kFutures, 1535, 1527); }
}

TEST_CASE("ids are shifted by the recording's span") {
  const auto folder = recordings();
  if (!folder) return;
  // Read off the files: 499869750 (first U) to 499870179, and 281916627 to 281916638.
  const auto spot = open(*folder, Dialect::kSpot, {});
  CHECK(spot->update_id_shift("NKNUSDT") == 430);
  CHECK(spot->update_id_shift("BLZETH") == 12);
  // 600859598061 (first pu) to 600860427282 (a book ticker).
  CHECK(open(*folder, Dialect::kFutures, {})->update_id_shift("SUSHIUSDT") == 829222);
}

TEST_CASE("the first lap is the recording, its times moved to the moment of sending") {
  const auto folder = recordings();
  if (!folder) return;
  const auto dialect = GENERATE(Dialect::kSpot, Dialect::kFutures);
  const bool keep = GENERATE(false, true);
  const auto recorded =
      read_recordings(*folder, dialect == Dialect::kSpot ? "BINANCE" : "BINANCE_FUTURES");
  REQUIRE(recorded.ok());
  const auto& raw = recorded->connections[0].frames;
  auto playback = open(*folder, dialect, {1, keep});
  const Played played = play(*playback);
  REQUIRE(played.frames.size() == raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    INFO(raw[i].text);
    CHECK(played.due[i] == raw[i].received - raw[0].received);
    if (keep) {
      CHECK(played.frames[i].text == raw[i].text);
      continue;
    }
    const TimePoint sent = kSendTime + std::chrono::milliseconds(static_cast<std::int64_t>(i));
    const std::int64_t moved =
        std::chrono::floor<std::chrono::milliseconds>(sent - raw[i].received).count();
    const Seen original = read(raw[i].text);
    for (const auto& [key, number] : original.numbers) {
      INFO(key);
      const bool time = key == "E" || key == "T" || key == "k.t" || key == "k.T";
      CHECK(played.frames[i].numbers.at(key) == number + (time ? moved : 0));
    }
    CHECK(played.frames[i].bids == original.bids);
    CHECK(played.frames[i].asks == original.asks);
  }
}

TEST_CASE("klines are told apart by their time however fast they are played") {
  const auto folder = recordings();
  if (!folder) return;
  auto playback = open(*folder, Dialect::kFutures, {.laps = 3});
  std::map<std::string, std::set<std::int64_t>> seen;
  std::size_t klines = 0;
  while (playback->next_due()) {
    std::string text;
    playback->write_next(kSendTime, text);  // all in one moment, as by a machine without limits
    const Seen frame = read(text);
    if (frame.stream.find("@kline") == std::string::npos) continue;
    ++klines;
    seen[frame.stream].insert(frame.numbers.at("E"));
  }
  CHECK(klines == 3 * 67);
  std::size_t different = 0;
  for (const auto& [stream, times] : seen) different += times.size();
  CHECK(different == klines);
}

TEST_CASE("REST answers the recorded snapshot until playback is past it") {
  const auto folder = recordings();
  if (!folder) return;
  const auto recorded = read_recordings(*folder, "BINANCE");
  REQUIRE(recorded.ok());
  auto playback = open(*folder, Dialect::kSpot, {1, false});
  const auto body = [&](std::size_t limit) {
    const auto answer = playback->depth("NKNUSDT", limit, kSendTime);
    REQUIRE(answer.ok());
    return *answer;
  };
  CHECK(body(1000) == recorded->answers[0].body);
  std::string text;
  playback->write_next(kSendTime, text);  // 499869750…752: the snapshot has it already
  CHECK(body(1000) == recorded->answers[0].body);
  playback->write_next(kSendTime, text);  // …754: one bid and one ask
  const ReadersBook book = read_snapshot(body(1000));
  CHECK(book.last_id == 499869754);
  CHECK(book.bids.at(0.3517) == "4265.00000000");
  CHECK(book.asks.at(0.3529) == "10968.00000000");
  CHECK(read_snapshot(body(5)).bids.size() == 5);
  CHECK(read_snapshot(body(5)).asks.size() == 5);
  CHECK(read_snapshot(body(5)).bids.rbegin()->first == Approx(0.3521));
  CHECK(playback->depth("BTCUSDT", 5, kSendTime).status().code() == absl::StatusCode::kNotFound);

  auto futures = open(*folder, Dialect::kFutures, {1, false});
  const TimePoint later = kSendTime + std::chrono::seconds(5);
  const auto answer = futures->depth("SUSHIUSDT", 1, later);
  REQUIRE(answer.ok());
  // E and T stay 37.402 and 40.402 ms before the moment, as they were before the receipt.
  CHECK_THAT(*answer, Catch::StartsWith(
                          R"({"lastUpdateId":600859605926,"E":1800000004962,"T":1800000004959,)"));
}

// --- recordings made for one case each

RecordedVenue made(std::vector<std::string> frames, std::vector<std::string> snapshots = {}) {
  RecordedVenue venue;
  auto& connection = venue.connections.emplace_back();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    connection.frames.push_back({kSendTime + std::chrono::seconds(i), frames[i], i + 2});
  }
  for (const std::string& body : snapshots) {
    venue.answers.push_back({"https://x/depth?symbol=X&limit=9", kSendTime, body, 1});
  }
  return venue;
}

std::string depth_frame(std::int64_t first, std::int64_t last, const std::string& bids) {
  return fmt::format(
      R"({{"stream":"x@depth","data":{{"e":"depthUpdate","E":1,"s":"X","U":{},"u":{},)"
      R"("b":[{}],"a":[]}}}})",
      first, last, bids);
}

TEST_CASE("a snapshot in the middle of the first frame leaves an id for the venue's own") {
  auto playback = Playback::create(
      Dialect::kSpot,
      made({depth_frame(10, 14, R"(["5","1"])"), depth_frame(15, 15, R"(["6","1"])")},
           {R"({"lastUpdateId":12,"bids":[["4","1"]],"asks":[]})"}),
      {3, false});
  REQUIRE(playback.ok());
  const Played played = play(**playback);
  REQUIRE(played.frames.size() == 2 + 3 + 3);
  std::int64_t last = 9;
  for (const Seen& frame : played.frames) {
    CHECK(frame.numbers.at("U") == last + 1);
    CHECK(frame.numbers.at("u") >= frame.numbers.at("U"));
    last = frame.numbers.at("u");
  }
  CHECK(played.frames[2].bids == decltype(Seen::bids){{"5", "0"}, {"6", "0"}});
}

TEST_CASE("without a snapshot the book begins empty") {
  auto playback =
      Playback::create(Dialect::kSpot, made({depth_frame(10, 14, R"(["5","1"])")}), {2, false});
  REQUIRE(playback.ok());
  const auto empty = (*playback)->depth("X", 5, kSendTime);
  REQUIRE(empty.ok());
  CHECK(*empty == R"({"lastUpdateId":9,"bids":[],"asks":[]})");
  const Played played = play(**playback);
  REQUIRE(played.frames.size() == 3);
  CHECK(played.frames[1].bids == decltype(Seen::bids){{"5", "0"}});
  CHECK(played.frames[1].numbers.at("U") == 15);
  CHECK(played.frames[2].numbers.at("U") == played.frames[1].numbers.at("u") + 1);
}

TEST_CASE("a recording that its snapshot contains is played once and cannot be looped") {
  const auto venue =
      made({depth_frame(10, 14, "")}, {R"({"lastUpdateId":14,"bids":[["4","1"]],"asks":[]})"});
  auto once = Playback::create(Dialect::kSpot, venue, {1, false});
  REQUIRE(once.ok());
  CHECK(play(**once).frames.size() == 1);
  const auto looped = Playback::create(Dialect::kSpot, venue, {2, false});
  REQUIRE_FALSE(looped.ok());
  CHECK_THAT(std::string(message(looped.status())), Catch::Contains("cannot be looped"));
}

TEST_CASE("acknowledgements are not played, and other strangers are refused by line") {
  const auto acknowledged = Playback::create(
      Dialect::kSpot, made({R"({"result":null,"id":1})", depth_frame(1, 2, "")}), {});
  REQUIRE(acknowledged.ok());
  CHECK((*acknowledged)->first_lap_frames() == 1);

  const auto refused = [](const RecordedVenue& venue, Dialect dialect, const char* complaint) {
    const auto playback = Playback::create(dialect, venue, {});
    REQUIRE_FALSE(playback.ok());
    CHECK(playback.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(message(playback.status())), Catch::Contains(complaint));
  };
  refused(made({depth_frame(1, 2, ""), "hello"}), Dialect::kSpot, "line 3");
  refused(made({}), Dialect::kSpot, "no market frame");
  refused(made({depth_frame(1, 2, "")}), Dialect::kFutures, "'pu'");
  refused(made({depth_frame(1, 2, "")}, {R"({"bids":[]})"}), Dialect::kSpot, "lastUpdateId");
  RecordedVenue centuries = made({depth_frame(1, 2, ""), depth_frame(3, 4, "")});
  centuries.connections[0].frames[0].received = TimePoint();
  refused(centuries, Dialect::kSpot, "spans 20833 days");
  std::string second = depth_frame(3, 4, "");
  second.replace(second.find("x@depth"), 7, "x@depth@100ms");
  refused(made({depth_frame(1, 2, ""), second}), Dialect::kSpot, "two depth streams");
}

}  // namespace
}  // namespace virtufin::venue

// Decimals and levels, the book against a naive one, and the venues' sequence rules.
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include <random>

#include "modules/wsm/feeds/book_keeper.h"
#include "modules/wsm/feeds/order_book.h"
#include "naive_book.h"
#include "padded.h"

namespace virtufin::wsm::test {
namespace {

std::string json(const OrderBook& book, Side side) {
  std::string out;
  book.append_json(side, out);
  return out;
}

TEST_CASE("a decimal is digits with at most one dot between them") {
  const auto length = [](const std::string& text) {
    const Padded padded(text + "\"");
    return decimal_length(padded.view().data());
  };
  for (const char* good :
       {"0", "1", "0.0", "12.34", "0.35130000", "123456789012345", "1234567890123456",
        "12345678901234567890", "0.123456789012345678", "1234567890123.123456789"}) {
    INFO(good);
    CHECK(length(good) == std::string(good).size());
  }
  for (const char* bad : {"",
                          ".",
                          ".5",
                          "5.",
                          "1..2",
                          "1.2.3",
                          "-1",
                          "+1",
                          "1e5",
                          " 1",
                          "1 ",
                          "0x10",
                          "1,5",
                          "abc",
                          "123456789012345678901",
                          "0.1234567890123456789",
                          "123456789012345678901234",
                          "1234567890123456.",
                          "12345678901234567x",
                          "nan"}) {
    INFO(bad);
    CHECK(length(bad) == 0);
  }
}

TEST_CASE("the key keeps prices apart and in order, whatever their width") {
  OrderBook book(100);
  for (const char* price :
       {"2", "10", "9.999999999999999999", "0.000000000000000001", "12345678901234567890",
        "99999999999999999999", "10.000000000000000001"}) {
    book.apply(Side::kAsk, LevelText{price, "1"});
    book.apply(Side::kBid, LevelText{price, "1"});
  }
  CHECK(
      json(book, Side::kAsk) ==
      R"([["0.000000000000000001","1"],["2","1"],["9.999999999999999999","1"],["10","1"],["10.000000000000000001","1"],["12345678901234567890","1"],["99999999999999999999","1"]])");
  CHECK(book.best(Side::kBid)->price() == "99999999999999999999");
  CHECK(book.best(Side::kAsk)->price() == "0.000000000000000001");
  // The same price written otherwise is the same level; the last text stays.
  book.apply(Side::kAsk, LevelText{"2.000", "7"});
  CHECK(book.depth(Side::kAsk) == 7);
  book.apply(Side::kAsk, LevelText{"2.0", "0.000"});
  CHECK(book.depth(Side::kAsk) == 6);
}

TEST_CASE("the book is the naive one after every change") {
  std::mt19937 random(7);
  OrderBook book(100'000);
  NaiveBook naive;
  for (int i = 0; i < 20'000; ++i) {
    const bool bid = random() % 2 == 0;
    const std::string price = fmt::format("{}.{:04}", random() % 3, random() % 400);
    const std::string quantity =
        random() % 3 == 0 ? "0.00000000" : fmt::format("{}.5", random() % 90);
    book.apply(bid ? Side::kBid : Side::kAsk, LevelText{price, quantity});
    naive.set(bid, price, quantity);
    if (i % 100 == 0) {
      REQUIRE(json(book, Side::kBid) == naive.json(true));
      REQUIRE(json(book, Side::kAsk) == naive.json(false));
    }
  }
  CHECK(json(book, Side::kBid) == naive.json(true));
  CHECK(json(book, Side::kAsk) == naive.json(false));
}

TEST_CASE("a side that outgrows its bound loses its worst levels") {
  OrderBook book(32);
  for (int i = 1; i <= 1000; ++i) {
    const std::string price = std::to_string(i);
    book.apply(Side::kBid, LevelText{price, "1"});
    book.apply(Side::kAsk, LevelText{price, "1"});
    REQUIRE(book.depth(Side::kBid) <= 32);
    REQUIRE(book.depth(Side::kAsk) <= 32);
  }
  CHECK(book.best(Side::kBid)->price() == "1000");
  CHECK(book.best(Side::kAsk)->price() == "1");
}

/// A keeper and what was told to it.
struct Kept {
  explicit Kept(SequenceRule rule, std::size_t pending = 16) : keeper(rule, {100, pending}) {}

  std::optional<Gap> update(std::uint64_t first, std::uint64_t last, std::uint64_t previous = 0,
                            std::string bid_quantity = "") {
    DepthChange change;
    change.first = first;
    change.last = last;
    change.previous = previous;
    quantity = bid_quantity.empty() ? std::to_string(last) : bid_quantity;
    const LevelText level{"1.5", quantity};
    change.bids = {&level, 1};
    const auto gap = keeper.check(change);
    keeper.apply(change);
    return gap;
  }
  bool snapshot(std::uint64_t id) {
    BookSnapshot body;
    body.last_update_id = id;
    const Padded bids(R"([["1.5","100"],["1.4","7"]])"), asks(R"([["1.6","8"]])");
    REQUIRE(read_levels(bids.view(), body.bids));
    REQUIRE(read_levels(asks.view(), body.asks));
    return keeper.take(body);
  }
  std::string bids() const { return json(keeper.book(), Side::kBid); }

  BookKeeper keeper;
  std::string quantity;
};

TEST_CASE("spot: updates wait for the snapshot, old ones are dropped, the rest joins it") {
  Kept kept(SequenceRule::kConsecutive);
  CHECK_FALSE(kept.keeper.wants_snapshot());
  kept.update(10, 12);
  CHECK(kept.keeper.wants_snapshot());
  CHECK_FALSE(kept.keeper.current());
  kept.update(13, 15);
  kept.update(16, 20);
  REQUIRE(kept.snapshot(14));  // between two updates: the second straddles it
  CHECK(kept.keeper.current());
  CHECK(kept.keeper.last_update_id() == 20);
  CHECK(kept.bids() == R"([["1.5","20"],["1.4","7"]])");
  CHECK_FALSE(kept.update(21, 21));
  CHECK(kept.keeper.current());
  CHECK(kept.keeper.last_update_id() == 21);
}

TEST_CASE("spot: a snapshot ahead of the updates is not current until they reach it") {
  Kept kept(SequenceRule::kConsecutive);
  kept.update(10, 12);
  REQUIRE(kept.snapshot(20));
  CHECK_FALSE(kept.keeper.current());
  kept.update(13, 19);
  CHECK_FALSE(kept.keeper.current());
  CHECK(kept.bids() == R"([["1.5","100"],["1.4","7"]])");
  kept.update(20, 20);  // the snapshot has it: now both say the same
  CHECK(kept.keeper.current());
  CHECK(kept.bids() == R"([["1.5","100"],["1.4","7"]])");
  kept.update(21, 23);
  CHECK(kept.keeper.current());
  CHECK(kept.bids() == R"([["1.5","23"],["1.4","7"]])");
}

TEST_CASE("spot: the first to join may begin right behind the snapshot, not later") {
  Kept joins(SequenceRule::kConsecutive);
  joins.update(21, 22);
  CHECK(joins.snapshot(20));
  CHECK(joins.keeper.current());

  Kept old(SequenceRule::kConsecutive);
  old.update(22, 23);
  CHECK_FALSE(old.snapshot(20));  // 21 is missing: the snapshot is too old
  CHECK(old.keeper.wants_snapshot());
  CHECK(old.snapshot(21));
  CHECK(old.keeper.current());
}

TEST_CASE("spot: a gap is told, the book goes, a new snapshot is wanted and joined") {
  Kept kept(SequenceRule::kConsecutive);
  kept.update(10, 12);
  REQUIRE(kept.snapshot(12));
  REQUIRE(kept.keeper.current());
  const auto gap = kept.update(15, 16);
  REQUIRE(gap);
  CHECK(gap->expected == 13);
  CHECK(gap->received == 15);
  CHECK(gap->reason == "update ids were skipped");
  CHECK_FALSE(kept.keeper.current());
  CHECK(kept.keeper.wants_snapshot());
  CHECK_FALSE(kept.update(17, 18));  // told once
  CHECK_FALSE(kept.snapshot(13));    // from before the gap
  CHECK(kept.snapshot(16));
  CHECK(kept.keeper.current());
  CHECK(kept.keeper.last_update_id() == 18);

  const auto back = kept.update(3, 4);
  REQUIRE(back);
  CHECK(back->reason == "update ids went back");
}

TEST_CASE("futures: what ends before the snapshot is dropped, the first to join spans it") {
  Kept kept(SequenceRule::kChained);
  kept.update(100, 110, 90);
  kept.update(115, 130, 110);
  kept.update(140, 150, 130);
  REQUIRE(kept.snapshot(120));  // 115 <= 120 <= 130
  CHECK(kept.keeper.current());
  CHECK(kept.keeper.last_update_id() == 150);
  CHECK_FALSE(kept.update(160, 170, 150));  // ids may jump: `pu` is what counts
  CHECK(kept.keeper.last_update_id() == 170);
  const auto gap = kept.update(190, 200, 180);
  REQUIRE(gap);
  CHECK(gap->expected == 170);
  CHECK(gap->received == 180);
}

TEST_CASE("futures: the first to join may follow the snapshot by `pu`, or end with it") {
  Kept follows(SequenceRule::kChained);
  follows.update(130, 140, 120);
  CHECK(follows.snapshot(120));
  CHECK(follows.keeper.current());

  Kept ends(SequenceRule::kChained);
  ends.update(110, 120, 100);  // u = lastUpdateId is not dropped, it is applied
  CHECK(ends.snapshot(120));
  CHECK(ends.bids() == R"([["1.5","120"],["1.4","7"]])");
  CHECK(ends.keeper.current());

  Kept late(SequenceRule::kChained);
  late.update(130, 140, 125);
  CHECK_FALSE(late.snapshot(120));
}

TEST_CASE("updates that wait are bounded: the oldest go") {
  Kept kept(SequenceRule::kConsecutive, 4);
  for (std::uint64_t i = 1; i <= 10; ++i) kept.update(i, i);
  CHECK_FALSE(kept.snapshot(5));  // 6 is gone
  CHECK(kept.snapshot(6));
  CHECK(kept.keeper.last_update_id() == 10);
}

}  // namespace
}  // namespace virtufin::wsm::test

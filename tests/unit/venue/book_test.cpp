#include "modules/venue/book.h"

#include <catch2/catch.hpp>

namespace virtufin::venue {
namespace {

Level level(std::string_view price, std::string_view quantity) {
  const auto parsed = Level::parse(price, quantity);
  REQUIRE(parsed);
  return *parsed;
}

std::string text(const DepthChange& levels) {
  std::string out;
  append_levels("b", "a", levels, out);
  return out;
}

TEST_CASE("decimals compare by value, exactly") {
  CHECK(*Decimal::parse("0.10") == *Decimal::parse("0.1"));
  CHECK(*Decimal::parse("9.99999999") < *Decimal::parse("10"));
  CHECK(*Decimal::parse("0.00000637") < *Decimal::parse("0.00000638"));
  CHECK(*Decimal::parse("123456789012.000000000000000001") > *Decimal::parse("123456789012"));
  CHECK(Decimal::parse("0.00000000")->zero());
  for (const auto* wrong :
       {"", ".5", "5.", "-1", "+1", "1e3", "1.0000000000000000001", " 1", "99999999999999999999"}) {
    INFO(wrong);
    CHECK_FALSE(Decimal::parse(wrong));
  }
}

TEST_CASE("levels are replaced, removed, and listed best first") {
  Book book;
  book.apply({{level("9.9", "1"), level("10.0", "2"), level("9.8", "3")},
              {level("10.2", "4"), level("10.1", "5")}});
  CHECK(text(book.levels(100)) ==
        R"("b":[["10.0","2"],["9.9","1"],["9.8","3"]],"a":[["10.1","5"],["10.2","4"]])");
  book.apply({{level("9.9", "7.5"), level("10.0", "0.000")}, {level("10.1", "0")}});
  CHECK(text(book.levels(1)) == R"("b":[["9.9","7.5"]],"a":[["10.2","4"]])");
  CHECK(book.bid_count() == 2);
  CHECK(book.ask_count() == 1);
  book.apply({{level("5", "0")}, {}});  // what is not there need not be removed
  CHECK(book.bid_count() == 2);
}

TEST_CASE("the difference of two books turns one into the other") {
  Book from, to;
  from.apply(
      {{level("10.0", "2.00"), level("9.9", "12.34"), level("9.7", "1")}, {level("10.1", "5")}});
  to.apply(
      {{level("10.0", "2.00"), level("9.9", "1.00"), level("9.8", "1")}, {level("10.3", "5")}});
  const DepthChange difference = from.difference_to(to);
  CHECK(text(difference) ==
        R"("b":[["9.7","0"],["9.8","1"],["9.9","1.00"]],"a":[["10.1","0"],["10.3","5"]])");
  from.apply(difference);
  CHECK(from == to);
  CHECK(text(to.difference_to(to)) == R"("b":[],"a":[])");

  // A removal has as many zeros as the venue writes.
  Book spot;
  spot.apply({{level("1.5", "115.25000000")}, {}});
  CHECK(text(spot.difference_to(Book())) == R"("b":[["1.5","0.00000000"]],"a":[])");
}

TEST_CASE("a bid at an ask is a crossed book") {
  Book book;
  book.apply({{level("10.0", "1")}, {level("10.1", "1")}});
  CHECK_FALSE(book.crossed());
  book.apply({{level("10.1", "1")}, {}});
  CHECK(book.crossed());
}

}  // namespace
}  // namespace virtufin::venue

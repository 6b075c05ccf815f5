#include "core/time.h"

#include <catch2/catch.hpp>
#include <limits>
#include <thread>

namespace virtufin {
namespace {

constexpr TimePoint ns(std::int64_t count) { return TimePoint(std::chrono::nanoseconds(count)); }

std::int64_t parsed(std::string_view text) {
  const auto time = parse_time(text);
  INFO(text);
  REQUIRE(time);
  return time->time_since_epoch().count();
}

}  // namespace

TEST_CASE("times are written with nine digits", "[time]") {
  CHECK(format_time(ns(0)) == "1970-01-01T00:00:00.000000000Z");
  CHECK(format_time(ns(1)) == "1970-01-01T00:00:00.000000001Z");
  CHECK(format_time(ns(-1)) == "1969-12-31T23:59:59.999999999Z");
  CHECK(format_time(ns(1'769'862'896'123'456'789)) == "2026-01-31T12:34:56.123456789Z");
  CHECK(format_time(ns(951'782'400'000'000'000)) == "2000-02-29T00:00:00.000000000Z");
  CHECK(format_time(ns(4'107'542'399'999'999'999)) == "2100-02-28T23:59:59.999999999Z");
  CHECK(format_time(TimePoint::max()) == "2262-04-11T23:47:16.854775807Z");
  CHECK(format_time(TimePoint::min()) == "1677-09-21T00:12:43.145224192Z");
}

TEST_CASE("what was written is read again", "[time]") {
  // Steps that are no multiple of a day, an hour or a second, over all that a TimePoint spans.
  constexpr std::int64_t kStep = 86'399'000'000'007 * 31;
  for (std::int64_t at = -9'223'372'035'000'000'000; at < 9'223'372'030'000'000'000 - kStep;
       at += kStep) {
    if (parse_time(format_time(ns(at))) != ns(at)) {
      FAIL("at " << at << ": " << format_time(ns(at)));
    }
  }
}

TEST_CASE("any RFC 3339 time is read", "[time]") {
  CHECK(parsed("1970-01-01T00:00:00Z") == 0);
  CHECK(parsed("1970-01-01t00:00:00z") == 0);
  CHECK(parsed("1970-01-01 00:00:00Z") == 0);
  CHECK(parsed("1970-01-01T01:00:00+01:00") == 0);
  CHECK(parsed("1969-12-31T18:30:00-05:30") == 0);
  CHECK(parsed("1970-01-01T00:00:00-00:00") == 0);
  CHECK(parsed("1970-01-01T00:00:00.5Z") == 500'000'000);
  CHECK(parsed("1970-01-01T00:00:00.000000001Z") == 1);
  CHECK(parsed("1970-01-01T00:00:00.0000000019999999999999Z") == 1);
  CHECK(parsed("1970-01-01T00:00:00.123456789+00:00") == 123'456'789);
  CHECK(parsed("1969-12-31T23:59:59.9Z") == -100'000'000);
  CHECK(parsed("2016-12-31T23:59:60Z") == parsed("2017-01-01T00:00:00Z"));
  CHECK(parsed("2024-02-29T00:00:00Z") == 1'709'164'800'000'000'000);
}

TEST_CASE("times beyond what nanoseconds reach are clamped", "[time]") {
  CHECK(parse_time("0001-01-01T00:00:00Z") == TimePoint::min());
  CHECK(parse_time("1677-09-21T00:00:00Z") == TimePoint::min());
  CHECK(parse_time("2262-04-12T00:00:00Z") == TimePoint::max());
  CHECK(parse_time("9999-12-31T23:59:59.999999999Z") == TimePoint::max());
  CHECK(parsed("2262-04-11T23:47:15.999999999Z") == 9'223'372'035'999'999'999);
}

TEST_CASE("what is no RFC 3339 time is not read", "[time]") {
  for (const char* text : {"",
                           "now",
                           "2026-01-31",
                           "2026-01-31T12:34:56",
                           "2026-01-31T12:34Z",
                           "2026-1-31T12:34:56Z",
                           "2026-01-31T12:34:56.Z",
                           "2026-01-31T12:34:56.1",
                           "2026-01-31T12:34:56Zx",
                           "2026-01-31T12:34:56+0100",
                           "2026-01-31T12:34:56+01:0",
                           "2026-01-31T12:34:56+01:000",
                           "2026-01-31T12:34:56+24:00",
                           "2026-01-31T12:34:56+01:60",
                           "2026-01-31T12:34:56+01-00",
                           "2026-02-29T00:00:00Z",
                           "2026-13-01T00:00:00Z",
                           "2026-00-01T00:00:00Z",
                           "2026-01-32T00:00:00Z",
                           "2026-01-00T00:00:00Z",
                           "2026-01-31T24:00:00Z",
                           "2026-01-31T12:60:00Z",
                           "2026-01-31T12:34:61Z",
                           "2026/01/31T12:34:56Z",
                           "2026-01-31T12.34.56Z",
                           "2026-01-31_12:34:56Z",
                           " 2026-01-31T12:34:56Z",
                           "20x6-01-31T12:34:56Z",
                           "2026-01-31T12:34:56,5Z",
                           "-026-01-31T12:34:56Z"}) {
    INFO(text);
    CHECK_FALSE(parse_time(text));
    CHECK_FALSE(parse_unix_time(text));
  }
}

TEST_CASE("the years 0 to 9999 survive as seconds and nanoseconds", "[time]") {
  for (const char* text : {"0000-01-01T00:00:00.000000000Z", "0001-01-01T00:00:00.000000001Z",
                           "1582-10-15T12:00:00.000000000Z", "1969-12-31T23:59:59.999999999Z",
                           "1970-01-01T00:00:00.000000000Z", "9999-12-31T23:59:59.999999999Z"}) {
    const auto time = parse_unix_time(text);
    REQUIRE(time);
    CHECK(format_unix_time(*time) == text);
  }
  CHECK(parse_unix_time("0001-01-01T00:00:00Z")->seconds == -62'135'596'800);
  CHECK(parse_unix_time("9999-12-31T23:59:59Z")->seconds == 253'402'300'799);
}

TEST_CASE("a historical clock stands still and never goes back", "[time]") {
  HistoricalClock clock(ns(100));
  CHECK(clock.type() == ClockType::kHistorical);
  CHECK(clock.now() == ns(100));
  clock.advance_to(ns(50));
  CHECK(clock.now() == ns(100));
  std::vector<std::thread> threads;
  for (std::int64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&clock, thread] {
      for (std::int64_t step = 0; step < 1000; ++step) clock.advance_to(ns(4 * step + thread));
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(clock.now() == ns(3999));
}

TEST_CASE("the wall clock is the system's", "[time]") {
  const WallClock clock;
  CHECK(clock.type() == ClockType::kWall);
  const auto before = std::chrono::system_clock::now();
  const TimePoint now = clock.now();
  CHECK(now >= before);
  CHECK(now <= std::chrono::system_clock::now());
}

}  // namespace virtufin

#include "core/event_template.h"

#include <catch2/catch.hpp>
#include <stdexcept>

#include "core/errors.h"
#include "event_samples.h"

namespace virtufin {
namespace {

using test::describe;

constexpr TimePoint kEventTime{std::chrono::nanoseconds(1'769'862'896'123'456'789)};
constexpr TimePoint kWallTime{std::chrono::nanoseconds(1'769'862'897'000'000'001)};

std::vector<Extension> shape_extensions() {
  return {{"scenarioid", "LIVE"},
          {"exchange", "binance"},
          {"clocktype", "historical"},
          {"marketlane", "act"},
          {"correlationid", "as-told"}};
}

EventTemplate shaped(const std::vector<Extension>& extensions) {
  auto shape = test::market_fields(extensions);
  auto made = EventTemplate::create(shape);
  INFO(message(made.status()));
  REQUIRE(made.ok());
  return std::move(*made);
}

}  // namespace

TEST_CASE("a template's event is the one that the writer makes", "[event][template]") {
  const auto extensions = shape_extensions();
  const EventTemplate shape = shaped(extensions);
  const UuidText id = UuidHasher({"test"})(1);
  for (std::size_t size : {0, 1, 2, 3, 4, 5, 200, 70'000}) {
    const std::string payload(size, 'p');
    const EventPtr event = shape.make(id, kEventTime, kWallTime, as_bytes(payload));
    REQUIRE(test::verifies(*event));

    std::vector<Extension> all = extensions;
    const std::string event_time = format_time(kEventTime), wall_time = format_time(kWallTime);
    all.push_back({"eventtime", event_time});
    all.push_back({"walltime", wall_time});
    EventFields fields = test::market_fields(all);
    fields.id = id.view();
    fields.time = event_time;
    fields.data = as_bytes(payload);
    const auto written = make_event(fields);
    REQUIRE(written.ok());
    CHECK(as_text(event->bytes()) == as_text((*written)->bytes()));
    CHECK(event->event_time() == kEventTime);
    CHECK(event->wall_time() == kWallTime);
    CHECK(event->clock() == ClockType::kHistorical);
    CHECK(event->scenario_id() == "LIVE");
    CHECK(event->id() == id.view());
  }
}

TEST_CASE("a payload written in place may be shorter than its place", "[event][template]") {
  const EventTemplate shape = shaped(shape_extensions());
  const std::string_view payload = R"({"bid":"1.10"})";
  const UuidText id = random_uuid();
  for (const std::size_t capacity : {payload.size(), payload.size() + 1, std::size_t{4096}}) {
    const EventPtr event = shape.make(id, kEventTime, kWallTime, capacity, [&](char* out) {
      std::fill_n(out, capacity, '#');
      return payload.copy(out, payload.size());
    });
    CHECK(test::verifies(*event));
    CHECK(as_text(event->bytes()) ==
          as_text(shape.make(id, kEventTime, kWallTime, as_bytes(payload))->bytes()));
  }
  const EventPtr empty =
      shape.make(id, kEventTime, kWallTime, 100, [](char*) { return std::size_t{0}; });
  CHECK(empty->has_data());
  CHECK(empty->data().empty());
  CHECK(test::verifies(*empty));
}

TEST_CASE("an event outlives its template, and a draft that failed leaves nothing",
          "[event][template]") {
  EventPtr event;
  {
    const EventTemplate shape = shaped(shape_extensions());
    event = shape.make(random_uuid(), kEventTime, kWallTime, as_bytes("x"));
    CHECK_THROWS_AS(shape.make(random_uuid(), kEventTime, kWallTime, 10,
                               [](char*) -> std::size_t { throw std::runtime_error("no"); }),
                    std::runtime_error);
  }
  CHECK(event->subject() == "currency_pair/BTCUSDT");
  CHECK(as_text(event->data()) == "x");
}

TEST_CASE("a shape that is none is refused", "[event][template]") {
  const auto refused = [](const EventFields& shape) {
    const auto made = EventTemplate::create(shape);
    REQUIRE_FALSE(made.ok());
    CHECK(made.status().code() == absl::StatusCode::kInvalidArgument);
    return std::string(message(made.status()));
  };
  std::vector<Extension> extensions = {{"walltime", "2026-01-31T12:34:56Z"}};
  CHECK_THAT(refused(test::market_fields(extensions)), Catch::Contains("'walltime'"));
  extensions = {{"Bad", "x"}};
  CHECK_THAT(refused(test::market_fields(extensions)), Catch::Contains("'Bad'"));
  extensions.clear();
  EventFields fields = test::market_fields(extensions);
  fields.type = {};
  CHECK_THAT(refused(fields), Catch::Contains("'type'"));
}

}  // namespace virtufin

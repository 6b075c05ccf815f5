#include "core/scenario.h"

#include <catch2/catch.hpp>

#include "core/errors.h"

using virtufin::Lane;
using virtufin::Scenario;
using virtufin::scenario_from_json;
using virtufin::to_json;

namespace {

const virtufin::TimePoint kCreated = *virtufin::parse_time("2026-01-31T12:34:56.123456789Z");
const virtufin::TimePoint kUpdated = *virtufin::parse_time("2026-02-01T00:00:00Z");

std::string refusal(std::string_view json) {
  const auto read = scenario_from_json(json);
  REQUIRE_FALSE(read.ok());
  CHECK(read.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(virtufin::message(read.status()));
}

/// A record with these three legs and nothing else out of the ordinary.
std::string record(const std::string& market, const std::string& portfolio = R"({"lane":"hyp"})",
                   const std::string& strategy = R"({"lane":"hyp"})") {
  return R"({"scenarioName":"bt","status":"active","market":)" + market + R"(,"portfolio":)" +
         portfolio + R"(,"strategy":)" + strategy +
         R"(,"createdAt":"2026-01-31T12:34:56.123456789Z","updatedAt":"2026-02-01T00:00:00Z"})";
}

}  // namespace

TEST_CASE("LIVE is written with all legs real") {
  CHECK(to_json(Scenario::live(kCreated)) ==
        R"({"scenarioName":"LIVE","status":"active","market":{"lane":"act"},)"
        R"("portfolio":{"lane":"act"},"strategy":{"lane":"act"},)"
        R"("createdAt":"2026-01-31T12:34:56.123456789Z",)"
        R"("updatedAt":"2026-01-31T12:34:56.123456789Z"})");
}

TEST_CASE("a backtest is written in the newer spelling and read back") {
  Scenario scenario;
  scenario.id = "bt-7";
  scenario.status = "paused";
  scenario.market = Lane::kHypothetical;
  scenario.selector = "crash_2020";
  scenario.portfolio = Lane::kHypothetical;
  scenario.strategy = Lane::kHypothetical;
  scenario.strategy_id = "imb\"1\"\\\n";
  scenario.created_at = kCreated;
  scenario.updated_at = kUpdated;
  const std::string json = to_json(scenario);
  CHECK(
      json ==
      R"({"scenarioName":"bt-7","status":"paused","market":{"lane":"hyp","selector":"crash_2020"},)"
      R"("portfolio":{"lane":"hyp"},"strategy":{"lane":"hyp","id":"imb\"1\"\\\n"},)"
      R"("createdAt":"2026-01-31T12:34:56.123456789Z","updatedAt":"2026-02-01T00:00:00.000000000Z"})");
  const auto read = scenario_from_json(json);
  REQUIRE(read.ok());
  CHECK(read->id == "bt-7");
  CHECK(read->status == "paused");
  CHECK(read->market == Lane::kHypothetical);
  CHECK(read->selector == "crash_2020");
  CHECK(read->portfolio == Lane::kHypothetical);
  CHECK(read->strategy == Lane::kHypothetical);
  CHECK(read->strategy_id == "imb\"1\"\\\n");
  CHECK(read->created_at == kCreated);
  CHECK(read->updated_at == kUpdated);
}

TEST_CASE("the older spelling says the same") {
  for (const char* market :
       {R"({"lane":"hyp","selector":"u1"})", R"({"world":"hyp","universe":"u1"})",
        R"({"world":"hyp.u1"})", R"({"lane":"hyp","universe":"u1"})",
        R"({"world":"hyp.u1","selector":"u1"})",
        R"({"lane":"hyp","world":"hyp","selector":"u1"})"}) {
    INFO(market);
    const auto read =
        scenario_from_json(record(market, R"({"world":"act"})", R"({"world":"hyp"})"));
    REQUIRE(read.ok());
    CHECK(read->market == Lane::kHypothetical);
    CHECK(read->selector == "u1");
    CHECK(read->portfolio == Lane::kActual);
    CHECK(read->strategy == Lane::kHypothetical);
  }
}

TEST_CASE("unknown members and a missing status do not disturb") {
  const auto read = scenario_from_json(
      R"({"scenarioName":"p","owner":{"x":[1]},"market":{"lane":"act","selector":null},)"
      R"("portfolio":{"lane":"hyp"},"strategy":{"lane":"act","id":"s"},)"
      R"("createdAt":"2026-02-01T00:00:00Z","updatedAt":"2026-02-01T01:00:00+01:00"})");
  REQUIRE(read.ok());
  CHECK(read->status == "active");
  CHECK(read->strategy_id == "s");
  CHECK(read->created_at == read->updated_at);
}

TEST_CASE("what is wrong is named") {
  CHECK(refusal("{").starts_with("scenario: not JSON: "));
  CHECK(refusal("[]") == "scenario: the record must be an object");
  CHECK(refusal("{}") == "scenario: scenarioName is missing");
  CHECK(refusal(R"({"scenarioName":7})") == "scenario: scenarioName must be a string");
  CHECK(refusal(R"({"scenarioName":"x"})") == "scenario: market must be an object with a lane");
  CHECK(refusal(record("{}")) == "scenario: market.lane is missing; give act or hyp");
  CHECK(refusal(record(R"({"lane":"real"})")) ==
        "scenario: market.lane must be act or hyp, not 'real'");
  CHECK(refusal(record(R"({"lane":1})")) == "scenario: market.lane must be a string");
  CHECK(refusal(record(R"({"lane":"hyp"})")) ==
        "scenario: market.selector must be 1 to 32 characters of [A-Za-z0-9_-] in the lane hyp, "
        "not ''");
  CHECK(refusal(record(R"({"lane":"act","selector":"u"})")) ==
        "scenario: market.selector 'u' is for the lane hyp, not act");
  CHECK(refusal(record(R"({"lane":"hyp","world":"act","selector":"u"})")) ==
        "scenario: market.lane 'hyp' and market.world 'act' contradict each other");
  CHECK(refusal(record(R"({"world":"hyp.a","selector":"b"})")) ==
        "scenario: market.selector 'b' and the world's 'a' contradict each other");
  CHECK(refusal(record(R"({"lane":"act"})", R"({"world":"hyp.a"})")) ==
        "scenario: portfolio.lane must be act or hyp, not 'hyp.a'");
  CHECK(refusal(R"({"scenarioName":"a b","market":{"lane":"act"},"portfolio":{"lane":"act"},)"
                R"("strategy":{"lane":"act"},"createdAt":"2026-02-01T00:00:00Z",)"
                R"("updatedAt":"2026-02-01T00:00:00Z"})") ==
        "scenario: scenarioName must be 1 to 32 characters of [A-Za-z0-9_-], not 'a b'");
  CHECK(refusal(R"({"scenarioName":"a","status":"on","market":{"lane":"act"},)"
                R"("portfolio":{"lane":"act"},"strategy":{"lane":"act"},)"
                R"("createdAt":"2026-02-01T00:00:00Z","updatedAt":"2026-02-01T00:00:00Z"})") ==
        "scenario: status must be active, paused, archived or deleted, not 'on'");
  CHECK(refusal(R"({"scenarioName":"a","market":{"lane":"act"},"portfolio":{"lane":"act"},)"
                R"("strategy":{"lane":"act"},"createdAt":"yesterday"})") ==
        "scenario: createdAt must be an RFC 3339 time, not 'yesterday'");
  CHECK(refusal(R"({"scenarioName":"LIVE","market":{"lane":"act"},"portfolio":{"lane":"hyp"},)"
                R"("strategy":{"lane":"act"},"createdAt":"2026-02-01T00:00:00Z",)"
                R"("updatedAt":"2026-02-01T00:00:00Z"})") ==
        "scenario: LIVE is reserved for market, portfolio and strategy act");
}

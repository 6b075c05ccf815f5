#include "core/scenario.h"

#include <simdjson.h>

#include <algorithm>
#include <array>

#include "core/errors.h"
#include "core/json_text.h"
#include "core/log.h"
#include "core/topic.h"

namespace virtufin {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

constexpr std::string_view kLive = "LIVE";
constexpr std::array<std::string_view, 4> kStatuses{"active", "paused", "archived", "deleted"};

/// A string member; nothing if it is absent or null.
absl::StatusOr<std::optional<std::string_view>> text(const object& from, std::string_view name,
                                                     std::string_view path) {
  element value;
  if (from[name].get(value) != simdjson::SUCCESS || value.is_null()) return std::nullopt;
  std::string_view out;
  if (value.get(out) != simdjson::SUCCESS) {
    return invalid_argument("scenario: {} must be a string", path);
  }
  return out;
}

/// The member under its name or its older one; both may be given if they say the same.
absl::StatusOr<std::optional<std::string_view>> text(const object& from, std::string_view leg,
                                                     std::string_view name,
                                                     std::string_view older) {
  auto value = text(from, name, fmt::format("{}.{}", leg, name));
  if (!value.ok()) return value;
  auto before = text(from, older, fmt::format("{}.{}", leg, older));
  if (!before.ok()) return before;
  if (*value && *before && **value != **before) {
    return invalid_argument("scenario: {0}.{1} '{2}' and {0}.{3} '{4}' contradict each other", leg,
                            name, printable(**value), older, printable(**before));
  }
  return *value ? value : before;
}

struct Leg {
  object members;
  Lane lane = Lane::kActual;
  std::string_view selector;  ///< of the older `world`, `hyp.<selector>`
};

/// `lane`, or `world` in the older spelling: `act`, `hyp`, and for the market `hyp.<selector>`.
absl::StatusOr<Leg> leg(const object& record, std::string_view name, bool may_select) {
  Leg out;
  if (record[name].get(out.members) != simdjson::SUCCESS) {
    return invalid_argument("scenario: {} must be an object with a lane", name);
  }
  const auto lane = text(out.members, name, "lane", "world");
  if (!lane.ok()) return lane.status();
  if (!*lane) return invalid_argument("scenario: {}.lane is missing; give act or hyp", name);
  constexpr std::string_view kSelecting = "hyp.";
  if (**lane == "act") return out;
  out.lane = Lane::kHypothetical;
  if (**lane == "hyp") return out;
  if (may_select && (*lane)->starts_with(kSelecting)) {
    out.selector = (*lane)->substr(kSelecting.size());
    return out;
  }
  return invalid_argument("scenario: {}.lane must be act or hyp, not '{}'", name,
                          printable(**lane));
}

absl::StatusOr<TimePoint> time(const object& record, std::string_view name) {
  const auto value = text(record, name, name);
  if (!value.ok()) return value.status();
  if (!*value) return invalid_argument("scenario: {} is missing", name);
  const std::optional<TimePoint> parsed = parse_time(**value);
  if (!parsed) {
    return invalid_argument("scenario: {} must be an RFC 3339 time, not '{}'", name,
                            printable(**value));
  }
  return *parsed;
}

/// What the members say together.
absl::Status check(const Scenario& scenario) {
  if (!topic::valid_id(scenario.id)) {
    return invalid_argument(
        "scenario: scenarioName must be 1 to 32 characters of [A-Za-z0-9_-], not '{}'",
        printable(scenario.id));
  }
  if (std::find(kStatuses.begin(), kStatuses.end(), scenario.status) == kStatuses.end()) {
    return invalid_argument(
        "scenario: status must be active, paused, archived or deleted, not '{}'",
        printable(scenario.status));
  }
  if (scenario.market == Lane::kActual && !scenario.selector.empty()) {
    return invalid_argument("scenario: market.selector '{}' is for the lane hyp, not act",
                            printable(scenario.selector));
  }
  if (scenario.market == Lane::kHypothetical && !topic::valid_id(scenario.selector)) {
    return invalid_argument(
        "scenario: market.selector must be 1 to 32 characters of [A-Za-z0-9_-] in the lane hyp, "
        "not '{}'",
        printable(scenario.selector));
  }
  if (scenario.id == kLive &&
      (scenario.market != Lane::kActual || scenario.portfolio != Lane::kActual ||
       scenario.strategy != Lane::kActual)) {
    return invalid_argument("scenario: LIVE is reserved for market, portfolio and strategy act");
  }
  return absl::OkStatus();
}

}  // namespace

Scenario Scenario::live(TimePoint now) {
  Scenario scenario;
  scenario.id = kLive;
  scenario.created_at = scenario.updated_at = now;
  return scenario;
}

absl::StatusOr<Scenario> scenario_from_json(std::string_view json) {
  simdjson::dom::parser parser;
  element document;
  if (const auto error = parser.parse(simdjson::padded_string(json)).get(document)) {
    return invalid_argument("scenario: not JSON: {}", simdjson::error_message(error));
  }
  object record;
  if (document.get(record) != simdjson::SUCCESS) {
    return invalid_argument("scenario: the record must be an object");
  }
  Scenario scenario;

  const auto id = text(record, "scenarioName", "scenarioName");
  if (!id.ok()) return id.status();
  if (!*id) return invalid_argument("scenario: scenarioName is missing");
  scenario.id = **id;

  const auto status = text(record, "status", "status");
  if (!status.ok()) return status.status();
  if (*status) scenario.status = **status;

  const auto market = leg(record, "market", true);
  if (!market.ok()) return market.status();
  scenario.market = market->lane;
  const auto selector = text(market->members, "market", "selector", "universe");
  if (!selector.ok()) return selector.status();
  scenario.selector = selector->value_or(market->selector);
  if (!market->selector.empty() && scenario.selector != market->selector) {
    return invalid_argument(
        "scenario: market.selector '{}' and the world's '{}' contradict each other",
        printable(scenario.selector), printable(market->selector));
  }

  const auto portfolio = leg(record, "portfolio", false);
  if (!portfolio.ok()) return portfolio.status();
  scenario.portfolio = portfolio->lane;

  const auto strategy = leg(record, "strategy", false);
  if (!strategy.ok()) return strategy.status();
  scenario.strategy = strategy->lane;
  const auto strategy_id = text(strategy->members, "id", "strategy.id");
  if (!strategy_id.ok()) return strategy_id.status();
  scenario.strategy_id = strategy_id->value_or("");

  const auto created = time(record, "createdAt");
  if (!created.ok()) return created.status();
  scenario.created_at = *created;
  const auto updated = time(record, "updatedAt");
  if (!updated.ok()) return updated.status();
  scenario.updated_at = *updated;

  VIRTUFIN_RETURN_IF_ERROR(check(scenario));
  return scenario;
}

std::string to_json(const Scenario& scenario) {
  std::string out = "{\"scenarioName\":";
  append_json_string(out, scenario.id);
  out += ",\"status\":";
  append_json_string(out, scenario.status);
  out += fmt::format(",\"market\":{{\"lane\":\"{}\"", name(scenario.market));
  if (!scenario.selector.empty()) {
    out += ",\"selector\":";
    append_json_string(out, scenario.selector);
  }
  out += fmt::format("}},\"portfolio\":{{\"lane\":\"{}\"}},\"strategy\":{{\"lane\":\"{}\"",
                     name(scenario.portfolio), name(scenario.strategy));
  if (!scenario.strategy_id.empty()) {
    out += ",\"id\":";
    append_json_string(out, scenario.strategy_id);
  }
  out += fmt::format("}},\"createdAt\":\"{}\",\"updatedAt\":\"{}\"}}",
                     format_time(scenario.created_at), format_time(scenario.updated_at));
  return out;
}

}  // namespace virtufin

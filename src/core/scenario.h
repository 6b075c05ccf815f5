#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>

#include "core/time.h"

/// Scenarios and lanes of contract/envelope.md.
namespace virtufin {

enum class Lane : std::uint8_t { kActual, kHypothetical };
constexpr std::string_view name(Lane lane) { return lane == Lane::kActual ? "act" : "hyp"; }

/// Three legs, each real or hypothetical on its own.
struct Scenario {
  std::string id;                 ///< 1 to 32 characters of [A-Za-z0-9_-]
  std::string status = "active";  ///< active | paused | archived | deleted
  Lane market = Lane::kActual;
  std::string selector;  ///< data universe; given exactly when market is hypothetical
  Lane portfolio = Lane::kActual;
  Lane strategy = Lane::kActual;
  std::string strategy_id;
  TimePoint created_at, updated_at;

  /// The reserved one: all legs real.
  static Scenario live(TimePoint now);
};

/// The JSON record at `scenario.<id>`; read in both spellings (`selector`/`universe`,
/// `lane`/`world`), written with `lane` and `selector`. INVALID_ARGUMENT naming the member.
absl::StatusOr<Scenario> scenario_from_json(std::string_view json);
std::string to_json(const Scenario& scenario);

}  // namespace virtufin

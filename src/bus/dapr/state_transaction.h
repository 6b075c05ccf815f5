#pragma once

#include <absl/status/statusor.h>

#include <string_view>
#include <variant>
#include <vector>

#include "bus/dapr/state_calls.h"
#include "bus/state_store.h"

namespace virtufin::bus::sidecar {

const Condition& condition_of(const std::variant<Save, Erase>& write);

/// Whether a write may happen over a record with this etag (empty: none). ABORTED with both etags
/// if not.
absl::Status check_condition(const std::variant<Save, Erase>& write, std::string_view etag);

/// What a transaction comes to, given what is stored now: its conditions checked one after the
/// other, the last write of each key with the etag that it goes over. `now` is sorted by key and
/// has every key of `writes`. The views point into both.
absl::StatusOr<std::vector<Write>> plan_transaction(
    const std::vector<std::variant<Save, Erase>>& writes, const std::vector<Item>& now);

}  // namespace virtufin::bus::sidecar

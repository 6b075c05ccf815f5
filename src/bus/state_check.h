#pragma once

#include <absl/status/status.h>

#include <chrono>
#include <optional>
#include <string_view>

namespace virtufin::bus {

/// What every store refuses, with the same words: INVALID_ARGUMENT for an empty key and one with
/// `||`, and for a ttl below a second.
absl::Status check_key(std::string_view key);
absl::Status check_ttl(std::string_view key, std::optional<std::chrono::seconds> ttl);

}  // namespace virtufin::bus

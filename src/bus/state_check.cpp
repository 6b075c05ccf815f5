#include "bus/state_check.h"

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::bus {

absl::Status check_key(std::string_view key) {
  if (key.empty()) return invalid_argument("a key must not be empty");
  if (key.find("||") != key.npos) {
    return invalid_argument("key '{}' holds '||', which some state stores keep for themselves",
                            printable(key));
  }
  return absl::OkStatus();
}

absl::Status check_ttl(std::string_view key, std::optional<std::chrono::seconds> ttl) {
  if (!ttl || ttl->count() > 0) return absl::OkStatus();
  return invalid_argument("key '{}': a ttl of {} s, it must be at least 1", printable(key),
                          ttl->count());
}

}  // namespace virtufin::bus

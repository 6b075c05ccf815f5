#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/format.h>

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

/// One way to fail: absl::Status and absl::StatusOr. The codes are gRPC's own, so the mapping to
/// gRPC is the identity; to HTTP it is http_status(). A message says what was wrong, with which
/// value, and what to do.
///
/// Debian's Abseil has a string_view of its own. The bridge is here and nowhere else.
namespace virtufin {

inline absl::string_view to_absl(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view from_absl(absl::string_view text) { return {text.data(), text.size()}; }

inline std::string_view message(const absl::Status& status) { return from_absl(status.message()); }

/// `INVALID_ARGUMENT`, as gRPC spells it.
std::string_view code_name(absl::StatusCode code);

/// The HTTP status of contract/README.md: INVALID_ARGUMENT 400, NOT_FOUND 404, …
int http_status(absl::StatusCode code);

inline absl::Status make_status(absl::StatusCode code, std::string_view text) {
  return {code, to_absl(text)};
}

template <class... Args>
absl::Status make_status(absl::StatusCode code, fmt::format_string<Args...> format,
                         Args&&... args) {
  return {code, to_absl(fmt::format(format, std::forward<Args>(args)...))};
}

#define VIRTUFIN_STATUS_MAKER(name, code)                                                       \
  template <class... Args>                                                                      \
  absl::Status name(fmt::format_string<Args...> format, Args&&... args) {                       \
    return {absl::StatusCode::code, to_absl(fmt::format(format, std::forward<Args>(args)...))}; \
  }
VIRTUFIN_STATUS_MAKER(invalid_argument, kInvalidArgument)
VIRTUFIN_STATUS_MAKER(not_found, kNotFound)
VIRTUFIN_STATUS_MAKER(already_exists, kAlreadyExists)
VIRTUFIN_STATUS_MAKER(failed_precondition, kFailedPrecondition)
VIRTUFIN_STATUS_MAKER(aborted, kAborted)
VIRTUFIN_STATUS_MAKER(cancelled, kCancelled)
VIRTUFIN_STATUS_MAKER(unavailable, kUnavailable)
VIRTUFIN_STATUS_MAKER(resource_exhausted, kResourceExhausted)
VIRTUFIN_STATUS_MAKER(deadline_exceeded, kDeadlineExceeded)
VIRTUFIN_STATUS_MAKER(unimplemented, kUnimplemented)
VIRTUFIN_STATUS_MAKER(unauthenticated, kUnauthenticated)
VIRTUFIN_STATUS_MAKER(permission_denied, kPermissionDenied)
VIRTUFIN_STATUS_MAKER(internal_error, kInternal)
#undef VIRTUFIN_STATUS_MAKER

/// The same error with `context: ` in front of its message; OK stays OK.
absl::Status with_context(const absl::Status& status, std::string_view context);

/// Hash for maps that are looked up by string_view without building a string.
struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept {
    return std::hash<std::string_view>{}(text);
  }
};
template <class Value>
using StringMap = std::unordered_map<std::string, Value, StringHash, std::equal_to<>>;

}  // namespace virtufin

/// Returns from the enclosing function if `expression` is not OK.
#define VIRTUFIN_RETURN_IF_ERROR(expression)          \
  do {                                                \
    if (auto status_ = (expression); !status_.ok()) { \
      return status_;                                 \
    }                                                 \
  } while (false)

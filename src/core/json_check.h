#pragma once

#include <cstddef>
#include <string_view>

namespace virtufin {

/// How deep arrays and objects may nest in a payload; an event around it is one level more.
inline constexpr std::size_t kMaxJsonDepth = 256;

/// Whether `text` is one JSON value (RFC 8259) in UTF-8, with white space around it at most.
///
/// Our own, because the libraries that we have convert numbers while they check: simdjson refuses
/// integers beyond 64 bits, though a payload may carry any. Here nothing is converted or stored.
/// Threads: any.
bool is_json(std::string_view text, std::size_t max_depth = kMaxJsonDepth);

}  // namespace virtufin

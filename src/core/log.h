#pragma once

#include <spdlog/spdlog.h>

#include <memory>
#include <string>
#include <string_view>

namespace virtufin {

/// One logger a module, named after it; its level is `log.level` or `log.levels.<module>`. All
/// write to standard error. Keys, tokens and credentials are never logged; outside text is logged
/// through printable().
///
/// Threads: any. Keep the pointer: looking it up takes a lock.
using Logger = std::shared_ptr<spdlog::logger>;
Logger logger(std::string_view module);

/// Outside bytes made safe for a log line or an error: control characters and broken UTF-8 as
/// `\xNN`, cut at `limit` bytes with `…`.
std::string printable(std::string_view bytes, std::size_t limit = 200);

}  // namespace virtufin

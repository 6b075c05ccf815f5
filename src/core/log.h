#pragma once

#include <spdlog/spdlog.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "core/config.h"

namespace virtufin {

/// One logger a module, named after it; its level is `log.level` or `log.levels.<module>`. All
/// write to standard error. Keys, tokens and credentials are never logged; outside text is logged
/// through printable().
///
/// Threads: any. Keep the pointer: looking it up takes a lock.
using Logger = std::shared_ptr<spdlog::logger>;
Logger logger(std::string_view module);

/// Config section `log`.
struct LogConfig {
  std::string level = "info";                 ///< trace | debug | info | warn | error | off
  std::map<std::string, std::string> levels;  ///< by module, over `level`

  void read(ConfigSection section);
};

/// Sets the levels of the loggers that exist and of those to come.
void configure_logging(const LogConfig& config);

/// Outside bytes made safe for a log line or an error: control characters (the invisible ones of
/// Unicode that break or turn a line included) and broken UTF-8 as `\xNN`. What is longer than
/// `limit` bytes when written so is cut there, never within a character, and ends in `…`.
std::string printable(std::string_view bytes, std::size_t limit = 200);

}  // namespace virtufin

#include "core/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <mutex>

#include "core/errors.h"

namespace virtufin {
namespace {

constexpr std::array<std::pair<std::string_view, spdlog::level::level_enum>, 6> kLevels{{
    {"trace", spdlog::level::trace},
    {"debug", spdlog::level::debug},
    {"info", spdlog::level::info},
    {"warn", spdlog::level::warn},
    {"error", spdlog::level::err},
    {"off", spdlog::level::off},
}};

/// Whoever logs under a name of its own adds it here.
constexpr std::array<std::string_view, 11> kModules{"app",     "bus",         "core",  "dapr",
                                                    "gateway", "rpc",         "state", "venue",
                                                    "worker",  "workmanager", "wsm"};

bool is_module(std::string_view name) {
  return std::find(kModules.begin(), kModules.end(), name) != kModules.end();
}

std::vector<std::string> level_words() {
  std::vector<std::string> words;
  for (const auto& [word, level] : kLevels) words.emplace_back(word);
  return words;
}

/// `info` for a word that is none: LogConfig::read() has complained about it.
spdlog::level::level_enum to_level(std::string_view word) {
  const auto found = std::find_if(kLevels.begin(), kLevels.end(),
                                  [word](const auto& level) { return level.first == word; });
  return found == kLevels.end() ? spdlog::level::info : found->second;
}

/// The process's loggers. Lives to the very end: destructors of static objects may log.
struct Loggers {
  std::mutex mutex;
  spdlog::sink_ptr sink = make_sink();
  LogConfig config;
  StringMap<Logger> by_module;

  static spdlog::sink_ptr make_sink() {
    auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
    sink->set_formatter(std::make_unique<spdlog::pattern_formatter>(
        "%Y-%m-%dT%H:%M:%S.%fZ %^%-5l%$ %n: %v", spdlog::pattern_time_type::utc));
    return sink;
  }

  spdlog::level::level_enum level_of(const std::string& module) const {
    const auto own = config.levels.find(module);
    return to_level(own == config.levels.end() ? config.level : own->second);
  }
};

Loggers& loggers() {
  static auto* const instance = new Loggers;
  return *instance;
}

/// The length of the UTF-8 character that `text` begins with, 0 if it begins with none.
std::size_t character_length(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto follows = [&](std::size_t i, unsigned char low = 0x80, unsigned char high = 0xBF) {
    return i < text.size() && byte(i) >= low && byte(i) <= high;
  };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    // Neither a longer form than needed nor half of a surrogate pair.
    const unsigned char low = first == 0xE0 ? 0xA0 : 0x80;
    const unsigned char high = first == 0xED ? 0x9F : 0xBF;
    return follows(1, low, high) && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned char low = first == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = first == 0xF4 ? 0x8F : 0xBF;
    return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

/// Characters that a terminal or viewer obeys instead of showing.
bool is_control(std::string_view character) {
  const auto byte = [character](std::size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 1) return byte(0) < 0x20 || byte(0) == 0x7F;
  if (character.size() == 2) return byte(0) == 0xC2 && byte(1) < 0xA0;  // C1
  if (character.size() == 3 && byte(0) == 0xE2) {
    // U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069: line breaks and changes of direction.
    if (byte(1) == 0x80) {
      return byte(2) == 0x8E || byte(2) == 0x8F || (byte(2) >= 0xA8 && byte(2) <= 0xAE);
    }
    return byte(1) == 0x81 && byte(2) >= 0xA6 && byte(2) <= 0xA9;
  }
  return character.size() == 3 && character == "\xEF\xBB\xBF";
}

}  // namespace

Logger logger(std::string_view module) {
  assert(is_module(module));
  Loggers& all = loggers();
  std::lock_guard lock(all.mutex);
  if (const auto found = all.by_module.find(module); found != all.by_module.end()) {
    return found->second;
  }
  const std::string name(module);
  auto made = std::make_shared<spdlog::logger>(name, all.sink);
  made->set_level(all.level_of(name));
  made->flush_on(spdlog::level::warn);
  all.by_module.emplace(name, made);
  return made;
}

void LogConfig::read(ConfigSection section) {
  section.choice("level", level, level_words(), "How much to log, to standard error.");
  section.value("levels", levels, "Levels of single modules, over `level`: { wsm = \"debug\" }.");
  const std::vector<std::string> words = level_words();
  for (const auto& [module, word] : levels) {
    if (!is_module(module)) {
      section.complain("levels", fmt::format("there is no module '{}'; known are {}",
                                             printable(module), fmt::join(kModules, ", ")));
    }
    if (std::find(words.begin(), words.end(), word) == words.end()) {
      section.complain("levels", fmt::format("{} = \"{}\" must be one of {}", printable(module),
                                             printable(word), fmt::join(words, ", ")));
    }
  }
}

void configure_logging(const LogConfig& config) {
  Loggers& all = loggers();
  std::lock_guard lock(all.mutex);
  all.config = config;
  for (const auto& [module, made] : all.by_module) made->set_level(all.level_of(module));
}

std::string printable(std::string_view bytes, std::size_t limit) {
  std::string out;
  out.reserve(std::min(bytes.size(), limit) + 4);
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t length = character_length(bytes.substr(at));
    const std::string_view character = bytes.substr(at, std::max<std::size_t>(length, 1));
    std::string escaped;
    if (length == 0 || is_control(character)) {
      for (const char byte : character) {
        escaped += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
      }
    }
    const std::string_view shown = escaped.empty() ? character : std::string_view(escaped);
    if (out.size() + shown.size() > limit) {
      out += "…";
      break;
    }
    out += shown;
    at += character.size();
  }
  return out;
}

}  // namespace virtufin

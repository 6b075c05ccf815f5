#pragma once

#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

namespace virtufin::venue {

/// The folder of the recordings, from VIRTUFIN_RECORDINGS or beside the project; nothing, said
/// visibly, if it is not there.
inline std::optional<std::string> recordings() {
  const char* set = std::getenv("VIRTUFIN_RECORDINGS");
  const std::string folder = set != nullptr ? set : VIRTUFIN_RECORDINGS_DEFAULT;
  if (std::filesystem::is_directory(folder)) return folder;
  WARN("SKIPPED: no recordings in " << folder << "; set VIRTUFIN_RECORDINGS");
  return {};
}

}  // namespace virtufin::venue

#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace virtufin::wsm::test {

/// One line of a recording: what the venue sent, and when it arrived.
struct RecordedFrame {
  double time = 0;
  std::string text;
};

/// Where the recordings are: VIRTUFIN_RECORDINGS, else beside the project. Nothing if they are not.
inline std::optional<std::filesystem::path> recordings() {
  const char* const given = std::getenv("VIRTUFIN_RECORDINGS");
  const std::filesystem::path path =
      given != nullptr ? given : VIRTUFIN_SOURCE_DIR "/../shared/recordings";
  if (!std::filesystem::is_directory(path)) return std::nullopt;
  return path;
}

inline std::vector<RecordedFrame> read_frames(const std::filesystem::path& file) {
  std::vector<RecordedFrame> frames;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const std::size_t colon = line.find(": {");
    if (colon == std::string::npos || line.find_first_not_of("0123456789.") != colon) continue;
    frames.push_back({std::stod(line.substr(0, colon)), line.substr(colon + 2)});
  }
  return frames;
}

/// The bodies of `URL -> TIME: BODY` whose URL holds `part`; the first.
inline std::string read_body(const std::filesystem::path& file, const std::string& part) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const std::size_t arrow = line.find(" -> ");
    const std::size_t body = line.find(": {");
    if (arrow != std::string::npos && body != std::string::npos &&
        line.substr(0, arrow).find(part) != std::string::npos) {
      return line.substr(body + 2);
    }
  }
  return {};
}

/// The `streams=` of the recording's own URL.
inline std::string recorded_streams(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  const std::size_t begin = line.find("streams=") + 8;
  return line.substr(begin, line.find(' ', begin) - begin);
}

}  // namespace virtufin::wsm::test

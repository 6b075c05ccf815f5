#include "app/version.h"

#include <fmt/format.h>

#include "app/build_info.h"

namespace virtufin::app {

std::string version_line() {
  return fmt::format("virtufin {} ({}, {})", kVersion, kCommit, kBuildType);
}

std::string version_json(const std::vector<std::string>& modules) {
  // Names of modules, commits and build types hold nothing that JSON escapes.
  std::string names;
  for (const std::string& module : modules) {
    names += fmt::format("{}\"{}\"", names.empty() ? "" : ",", module);
  }
  return fmt::format(R"({{"version":"{}","commit":"{}","build":"{}","modules":[{}]}})", kVersion,
                     kCommit, kBuildType, names);
}

}  // namespace virtufin::app

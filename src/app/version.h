#pragma once

#include <string>
#include <vector>

namespace virtufin::app {

/// `virtufin 0.1.0 (<commit>, Release)`.
std::string version_line();

/// The answer of GET /version: `{"version", "commit", "build", "modules"}`.
std::string version_json(const std::vector<std::string>& modules);

}  // namespace virtufin::app

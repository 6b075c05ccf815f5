// Start to ready with all modules and no workers: from the fork to the first 200 of /health, as a
// client sees it, and the memory resident then.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "load/platform_process.h"

int main(int argc, char** argv) {
  using virtufin::bench::PlatformProcess;
  constexpr int kStarts = 9;
  const std::string only = argc == 3 && std::string(argv[1]) == "--only" ? argv[2] : "";
  if (!std::string("start_to_ready").starts_with(only) &&
      !std::string("start_resident").starts_with(only)) {
    return 0;
  }
  const auto binary = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "virtufin";
  try {
    std::vector<double> ready_ms, resident_mb;
    for (int i = 0; i < kStarts; ++i) {
      PlatformProcess platform(binary.string(), {});
      ready_ms.push_back(platform.start_to_ready_ms());
      resident_mb.push_back(platform.resident_mb());
    }
    for (auto* figures : {&ready_ms, &resident_mb}) std::sort(figures->begin(), figures->end());
    std::cout << fmt::format(
        "{{\"name\":\"start_to_ready\",\"value\":{:.1f},\"floor\":null,\"unit\":\"ms\"}}\n"
        "{{\"name\":\"start_resident\",\"value\":{:.1f},\"floor\":null,\"unit\":\"MB\"}}\n",
        ready_ms[kStarts / 2], resident_mb[kStarts / 2]);
  } catch (const std::exception& error) {
    std::cerr << "start_load: " << error.what() << '\n';
    return 1;
  }
}

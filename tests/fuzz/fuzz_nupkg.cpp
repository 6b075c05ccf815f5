// Packages of native workers: whatever is handed in is unpacked within its limits or refused.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "modules/workmanager/engines/native/package.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace virtufin::workmanager;
  CodeLimits limits;
  limits.max_library_bytes = 1 << 20;
  limits.max_manifest_bytes = 64 << 10;
  limits.max_package_entries = 100;
  const auto library = native::unpack(std::span(data, size), limits);
  if (library.ok()) {
    // A bare library is bounded by its own size, one from a package by the limit.
    const auto bound = std::max<std::size_t>(size, 1 << 20);
    if (library->bytes.size() > bound || library->entry_point.empty()) std::abort();
  } else if (library.status().message().empty()) {
    std::abort();
  }
  return 0;
}

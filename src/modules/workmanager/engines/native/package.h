#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "modules/workmanager/config.h"

/// The forms in which a native worker is handed in (contract/engines.md): a bare `.so`, a `.nupkg`
/// (a zip with a nuspec), a zip with `manifest.json`.
namespace virtufin::workmanager::native {

/// `linux-x64`, `linux-arm64`: the package folder of this build's architecture.
std::string_view host_rid();

struct NativeLibrary {
  std::vector<std::uint8_t> bytes;  ///< the ELF file
  std::string entry_point = "Process";
  std::string free_result = "FreeResult";
};

/// Finds the library in `code`. Packages are read in memory: nothing is ever written to a path that
/// a package names. INVALID_ARGUMENT says what is wrong with the package, FAILED_PRECONDITION lists
/// what it holds if there is nothing for this architecture. Threads: any.
absl::StatusOr<NativeLibrary> unpack(std::span<const std::uint8_t> code, const CodeLimits& limits);

}  // namespace virtufin::workmanager::native

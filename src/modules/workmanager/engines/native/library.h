#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "virtufin_worker.h"

namespace virtufin::workmanager::native {

/// A loaded shared library of one worker.
///
/// It is loaded from a private temporary copy that is removed at once: two workers of the same code
/// share no globals, and the file cannot be changed under us. Unloaded by the destructor, which
/// must not run while a call is inside. Threads: any.
class Library {
 public:
  using Process = std::int32_t (*)(const VirtufinHost*, const std::uint8_t*, std::int32_t,
                                   std::uint8_t**, std::int32_t*);
  using FreeResult = void (*)(std::uint8_t*);

  /// `directory` empty: the system's temporary folder. INVALID_ARGUMENT with the loader's own
  /// words, UNAVAILABLE if the copy cannot be written.
  static absl::StatusOr<std::unique_ptr<Library>> load(std::span<const std::uint8_t> bytes,
                                                       const std::string& directory,
                                                       const std::string& entry_point,
                                                       const std::string& free_result);
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  Process process() const { return process_; }
  FreeResult free_result() const { return free_result_; }

 private:
  explicit Library(void* handle) : handle_(handle) {}

  void* handle_;
  Process process_ = nullptr;
  FreeResult free_result_ = nullptr;
};

}  // namespace virtufin::workmanager::native

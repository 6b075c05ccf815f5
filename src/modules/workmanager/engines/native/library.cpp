#include "modules/workmanager/engines/native/library.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::workmanager::native {
namespace {

absl::Status write_all(int file, std::span<const std::uint8_t> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      return unavailable("cannot write the library's private copy {}: {}", path,
                         std::strerror(errno));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return absl::OkStatus();
}

/// A folder of our own with one file in it; both are removed by the destructor.
class PrivateCopy {
 public:
  absl::Status write(std::span<const std::uint8_t> bytes, const std::string& directory) {
    std::error_code error;
    std::filesystem::path parent(directory);
    if (directory.empty()) {
      parent = std::filesystem::temp_directory_path(error);
    } else {
      std::filesystem::create_directories(parent, error);  // mkdtemp says what went wrong
    }
    folder_ = (parent / "virtufin-worker-XXXXXX").string();
    if (::mkdtemp(folder_.data()) == nullptr) {
      auto status = unavailable("cannot make a folder {} for the library: {}; set code_dir",
                                folder_, std::strerror(errno));
      folder_.clear();
      return status;
    }
    path_ = folder_ + "/worker.so";
    const int file = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0500);
    if (file < 0) return unavailable("cannot create {}: {}", path_, std::strerror(errno));
    auto status = write_all(file, bytes, path_);
    if (::close(file) != 0 && status.ok()) {
      status = unavailable("cannot finish {}: {}", path_, std::strerror(errno));
    }
    return status;
  }
  ~PrivateCopy() {
    if (!path_.empty()) ::unlink(path_.c_str());
    if (!folder_.empty()) ::rmdir(folder_.c_str());
  }
  const std::string& path() const { return path_; }

 private:
  std::string folder_, path_;
};

std::string loader_words() {
  const char* words = ::dlerror();
  return words != nullptr ? printable(words, 1000) : "no reason given";
}

}  // namespace

absl::StatusOr<std::unique_ptr<Library>> Library::load(std::span<const std::uint8_t> bytes,
                                                       const std::string& directory,
                                                       const std::string& entry_point,
                                                       const std::string& free_result) {
  PrivateCopy copy;
  VIRTUFIN_RETURN_IF_ERROR(copy.write(bytes, directory));
  void* handle = ::dlopen(copy.path().c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return invalid_argument("the library does not load: {}", loader_words());
  std::unique_ptr<Library> library(new Library(handle));
  library->process_ = reinterpret_cast<Process>(::dlsym(handle, entry_point.c_str()));
  if (library->process_ == nullptr) {
    return invalid_argument("the library exports no {}: {}", entry_point, loader_words());
  }
  library->free_result_ = reinterpret_cast<FreeResult>(::dlsym(handle, free_result.c_str()));
  if (library->free_result_ == nullptr) {
    return invalid_argument("the library exports no {}: {}", free_result, loader_words());
  }
  return library;
}

Library::~Library() { ::dlclose(handle_); }

}  // namespace virtufin::workmanager::native

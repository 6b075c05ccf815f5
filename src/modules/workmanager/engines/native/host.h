#pragma once

#include <chrono>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "core/log.h"
#include "rpc/method.h"
#include "virtufin_worker.h"

namespace virtufin::workmanager::native {

/// The method table, for as long as there is one: a call that hangs in a worker may outlive the
/// module. Threads: any.
class MethodAccess {
 public:
  explicit MethodAccess(const rpc::MethodTable* methods) : methods_(methods) {}
  /// From here on gateway_call answers UNAVAILABLE.
  void close();
  /// `use(table)` while the table is held open; false if it is closed.
  template <class Use>
  bool with(Use&& use) const {
    std::shared_lock lock(mutex_);
    if (methods_ == nullptr) return false;
    use(*methods_);
    return true;
  }

 private:
  mutable std::shared_mutex mutex_;
  const rpc::MethodTable* methods_;
};

/// What one worker is given to call: the VirtufinHost of virtufin_worker.h. Threads: any.
class Host {
 public:
  Host(std::string worker_id, std::shared_ptr<const MethodAccess> methods, bool inline_dispatch,
       std::chrono::milliseconds timeout);
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const VirtufinHost* table() const { return &table_; }

 private:
  static void log(void* engine, std::int32_t level, const char* utf8);
  static std::int32_t gateway_call(void* engine, const char* service, const char* method,
                                   const std::uint8_t* request, std::int32_t request_length,
                                   std::uint8_t** response, std::int32_t* response_length);
  static void free_response(void* engine, std::uint8_t* response);

  /// The answer as JSON.
  absl::StatusOr<std::string> call(std::string_view service, std::string_view method,
                                   std::string_view request) const;

  VirtufinHost table_;
  std::string worker_id_;
  std::shared_ptr<const MethodAccess> methods_;
  bool inline_dispatch_;
  std::chrono::milliseconds timeout_;
  Logger log_;
};

}  // namespace virtufin::workmanager::native

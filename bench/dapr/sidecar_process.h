#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "load/platform_process.h"

namespace virtufin::bench {

/// A real sidecar over a real Redis, for pub/sub (`bench`) and state (`statestore`), on free ports
/// of loopback, ready when constructed. Both are gone with it, and so is their folder.
class SidecarProcess {
 public:
  /// What is missing on this machine, with what to install; empty if nothing is.
  static std::string missing();

  /// Throws if one of them is not up within twenty seconds.
  SidecarProcess();
  ~SidecarProcess();
  SidecarProcess(const SidecarProcess&) = delete;
  SidecarProcess& operator=(const SidecarProcess&) = delete;

  /// host:port of its gRPC API.
  const std::string& endpoint() const { return endpoint_; }

 private:
  std::filesystem::path folder_;
  std::string endpoint_;
  std::unique_ptr<Child> redis_, daprd_;
};

}  // namespace virtufin::bench

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace virtufin::bench {

/// A port that nobody has; somebody else may take it before it is used.
std::uint16_t free_port();

/// A child process that is killed with its owner.
class Child {
 public:
  Child(const std::vector<std::string>& command,
        const std::map<std::string, std::string>& environment);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

/// One request to 127.0.0.1 on a connection of its own; throws unless the answer is 200.
std::string http_request(std::uint16_t port, const std::string& verb, const std::string& path,
                         const std::string& body = {});

/// `virtufin run` on free ports of loopback with every module but the venue; ready when
/// constructed. Throws if it is not within ten seconds.
class PlatformProcess {
 public:
  PlatformProcess(const std::string& binary, std::map<std::string, std::string> environment);
  std::uint16_t http_port() const { return http_port_; }
  std::uint16_t grpc_port() const { return grpc_port_; }
  pid_t pid() const { return child_->pid(); }
  double start_to_ready_ms() const { return start_to_ready_ms_; }
  /// Resident memory now, as the kernel counts it.
  double resident_mb() const;

 private:
  std::uint16_t http_port_, grpc_port_;
  double start_to_ready_ms_ = 0;
  std::unique_ptr<Child> child_;
};

}  // namespace virtufin::bench

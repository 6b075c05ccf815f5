#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

/// Programs that tests start, and the ports and directories that these need.
namespace virtufin::testing {

/// A program with its output in a file. Killed and waited for at the end.
///
/// Threads: one.
class Child {
 public:
  /// Fails the test if it cannot be started. `environment` is added to ours.
  Child(std::vector<std::string> command, const std::filesystem::path& output,
        const std::map<std::string, std::string>& environment = {});
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void signal(int number);
  /// SIGSTOP, and waits until it has stopped: before that it goes on for a while.
  void freeze();
  bool running();
  /// SIGTERM, and SIGKILL if it takes longer than some seconds.
  void stop();
  void kill();
  pid_t pid() const { return pid_; }
  /// What it has written so far.
  std::string output() const;

 private:
  pid_t pid_ = -1;
  std::filesystem::path output_;
};

/// A port of the loopback that nobody listens on now.
std::uint16_t free_port();
/// Whether somebody accepts connections there, waited for.
bool wait_for_port(std::uint16_t port, Child& child);

/// Gone, with all that is in it, at the end.
class TempDirectory {
 public:
  TempDirectory();
  ~TempDirectory();
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// The first of the directories of PATH and `/usr/sbin` that has it; empty if none.
std::string find_program(const std::string& name);

}  // namespace virtufin::testing

#include "app/signals.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <functional>

using virtufin::app::StopSignals;

namespace {

/// Runs `body` in a child process; it gets the end of a pipe to tell how far it is.
struct Child {
  explicit Child(const std::function<int(int)>& body) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      // The test program's own handlers are inherited.
      std::signal(SIGTERM, SIG_DFL);
      std::signal(SIGINT, SIG_DFL);
      alarm(30);
      _exit(body(ends[1]));
    }
    close(ends[1]);
    told = ends[0];
  }
  ~Child() { close(told); }

  void wait_until_told() const {
    char byte = 0;
    REQUIRE(read(told, &byte, 1) == 1);
  }
  int wait() const {
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    return status;
  }

  pid_t pid = 0;
  int told = -1;
};

void tell(int pipe) {
  if (write(pipe, "x", 1) != 1) _exit(99);
}

}  // namespace

TEST_CASE("the first signal is answered by wait, in order") {
  for (const int signal : {SIGTERM, SIGINT}) {
    const Child child([](int pipe) {
      StopSignals signals;
      tell(pipe);
      return signals.wait();
    });
    child.wait_until_told();
    kill(child.pid, signal);
    const int status = child.wait();
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == signal);
  }
}

TEST_CASE("the second signal ends the process at once") {
  const Child child([](int pipe) {
    StopSignals signals;
    tell(pipe);
    signals.wait();
    tell(pipe);
    for (;;) pause();
    return 0;
  });
  child.wait_until_told();
  kill(child.pid, SIGTERM);
  child.wait_until_told();
  kill(child.pid, SIGINT);
  const int status = child.wait();
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGINT);
}

TEST_CASE("waiting for a limited time ends without a signal") {
  const Child child([](int pipe) {
    StopSignals signals;
    if (signals.wait_for(std::chrono::milliseconds(1))) return 1;
    if (signals.wait_for(std::chrono::milliseconds(-5))) return 2;
    tell(pipe);
    return signals.wait_for(std::chrono::seconds(20)) == SIGTERM ? 0 : 3;
  });
  child.wait_until_told();
  kill(child.pid, SIGTERM);
  const int status = child.wait();
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

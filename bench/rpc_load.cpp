// Calls through the servers beside bare ones: calls a second of the server's own CPU
// time. Client and server are two processes; the server's CPU clock is read at both ends of the
// span, so a slow client or a busy machine costs neither side anything. Floor and value run in
// turn.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <vector>

#include "rpc/clients.h"
#include "rpc/servers.h"
#include "virtufin/state.pb.h"

extern char** environ;

namespace virtufin::bench {
namespace {

constexpr int kRounds = 5;
constexpr std::chrono::milliseconds kSpan{1000};

/// A server in its own process, ended with its standard input.
class ServerProcess {
 public:
  ServerProcess(const std::string& kind, std::size_t reply_bytes) {
    int in[2];
    int out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
      throw std::runtime_error("no pipe");
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    std::string size = std::to_string(reply_bytes);
    std::string name = "rpc_load";
    std::string serve_option = "--serve";
    std::string kind_copy = kind;
    char* arguments[] = {name.data(), serve_option.data(), kind_copy.data(), size.data(), nullptr};
    const int error = posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    input_ = in[1];
    if (error != 0) throw std::runtime_error("the server does not start");
    std::string line;
    char byte = 0;
    while (read(out[0], &byte, 1) == 1 && byte != '\n') line.push_back(byte);
    close(out[0]);
    if (line.empty()) throw std::runtime_error("the server has no port");
    port_ = std::stoi(line);
    if (clock_getcpuclockid(pid_, &clock_) != 0) throw std::runtime_error("no CPU clock");
  }
  ~ServerProcess() {
    close(input_);
    int status = 0;
    waitpid(pid_, &status, 0);
  }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  int port() const { return port_; }
  double cpu_seconds() const {
    timespec time{};
    clock_gettime(clock_, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  }

 private:
  pid_t pid_ = 0;
  int input_ = -1;
  int port_ = 0;
  clockid_t clock_ = 0;
};

using Load = std::function<std::int64_t(const ServerProcess&, const std::function<void()>&)>;

/// Calls a CPU second of the server.
double measure(const ServerProcess& server, const Load& load) {
  std::vector<double> marks;
  const std::int64_t calls = load(server, [&] { marks.push_back(server.cpu_seconds()); });
  return static_cast<double>(calls) / (marks.at(1) - marks.at(0));
}

void compare(const std::string& name, const ServerProcess& floor, const ServerProcess& ours,
             const Load& floor_load, const Load& load) {
  std::vector<double> floors;
  std::vector<double> values;
  for (int i = 0; i < kRounds; ++i) {
    floors.push_back(measure(floor, floor_load));
    values.push_back(measure(ours, load));
  }
  std::sort(floors.begin(), floors.end());
  std::sort(values.begin(), values.end());
  std::cout << fmt::format(
                   "{{\"name\":\"{}\",\"value\":{:.0f},\"floor\":{:.0f},\"unit\":\"1/s CPU\"}}",
                   name, values[kRounds / 2], floors[kRounds / 2])
            << std::endl;
}

void grpc_unary() {
  GetStateRequest get;
  get.set_service("api");
  get.set_key(kKey);
  const std::string request = get.SerializeAsString();
  const std::string path = "/virtufin.State/GetState";
  const Load load = [&](const ServerProcess& server, const std::function<void()>& mark) {
    return grpc_load(server.port(), path, request, kSpan, mark);
  };
  const ServerProcess ours("grpc", 0);
  const ServerProcess floor("grpc_floor", grpc_once(ours.port(), path, request).size());
  compare("grpc_unary", floor, ours, load, load);
}

void rest(const std::string& name, const std::string& request) {
  const Load load = [&](const ServerProcess& server, const std::function<void()>& mark) {
    return http_load(server.port(), request, kSpan, mark);
  };
  const ServerProcess ours("http", 0);
  const ServerProcess floor("http_floor", http_once(ours.port(), request).size());
  compare(name, floor, ours, load, load);
}

void rest_unary() {
  rest("rest_unary",
       fmt::format("GET /v1/state/api/{} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\n"
                   "Accept: application/json\r\n\r\n",
                   kKey));
}

void rest_post() {
  const std::string body = fmt::format(R"({{"service":"api","key":"{}","value":"{}"}})", kKey,
                                       std::string(kValueBytes, 'v'));
  rest("rest_post",
       fmt::format("POST /v1/state/save-state HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\n"
                   "Accept: application/json\r\nContent-Type: application/json\r\n"
                   "Content-Length: {}\r\n\r\n{}",
                   body.size(), body));
}

}  // namespace
}  // namespace virtufin::bench

int main(int argc, char** argv) {
  using namespace virtufin::bench;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  try {
    if (arguments.size() == 3 && arguments[0] == "--serve") {
      return serve(arguments[1], std::stoul(arguments[2]));
    }
    signal(SIGPIPE, SIG_IGN);
    const std::string only = arguments.size() == 2 && arguments[0] == "--only" ? arguments[1] : "";
    const std::pair<const char*, void (*)()> all[] = {
        {"grpc_unary", grpc_unary}, {"rest_unary", rest_unary}, {"rest_post", rest_post}};
    for (const auto& [name, run] : all) {
      if (std::string(name).compare(0, only.size(), only) == 0) run();
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "rpc_load: " << error.what() << '\n';
    return 1;
  }
}

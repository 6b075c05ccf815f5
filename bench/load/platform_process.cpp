#include "load/platform_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <fstream>
#include <stdexcept>
#include <thread>

extern char** environ;

namespace virtufin::bench {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using tcp = asio::ip::tcp;
using Steady = std::chrono::steady_clock;

}  // namespace

std::uint16_t free_port() {
  asio::io_context io;
  return tcp::acceptor(io, {asio::ip::address_v4::loopback(), 0}).local_endpoint().port();
}

Child::Child(const std::vector<std::string>& command,
             const std::map<std::string, std::string>& environment) {
  std::vector<std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) variables.emplace_back(*entry);
  for (const auto& [name, value] : environment) variables.push_back(name + "=" + value);
  std::vector<char*> argv, envp;
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  for (const auto& variable : variables) envp.push_back(const_cast<char*>(variable.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  // What it prints would mix with our rows.
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  const int error = posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error(fmt::format("{}: {}", command[0], strerror(error)));
}

Child::~Child() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::string http_request(std::uint16_t port, const std::string& verb, const std::string& path,
                         const std::string& body) {
  asio::io_context io;
  tcp::socket socket(io);
  socket.connect({asio::ip::address_v4::loopback(), port});
  http::request<http::string_body> request(http::string_to_verb(verb), path, 11);
  request.set(http::field::host, "127.0.0.1");
  request.set(http::field::content_type, "application/json");
  request.body() = body;
  request.prepare_payload();
  http::write(socket, request);
  boost::beast::flat_buffer buffer;
  http::response<http::string_body> response;
  http::read(socket, buffer, response);
  if (response.result_int() != 200) {
    throw std::runtime_error(
        fmt::format("{} {} answered {}: {}", verb, path, response.result_int(), response.body()));
  }
  return response.body();
}

PlatformProcess::PlatformProcess(const std::string& binary,
                                 std::map<std::string, std::string> environment)
    : http_port_(free_port()), grpc_port_(free_port()) {
  environment["VIRTUFIN_GATEWAY__HTTP_PORT"] = std::to_string(http_port_);
  environment["VIRTUFIN_GATEWAY__GRPC_PORT"] = std::to_string(grpc_port_);
  for (const char* section : {"WSM", "WORKMANAGER"}) {
    for (const char* port : {"HTTP_PORT", "GRPC_PORT"}) {
      environment[fmt::format("VIRTUFIN_{}__{}", section, port)] = std::to_string(free_port());
    }
  }
  const auto start = Steady::now();
  child_ = std::make_unique<Child>(std::vector<std::string>{binary, "run"}, environment);
  for (;;) {
    try {
      http_request(http_port_, "GET", "/health");
      break;
    } catch (const std::exception& error) {
      if (Steady::now() - start > std::chrono::seconds(10)) {
        throw std::runtime_error(fmt::format("{} is not ready: {}", binary, error.what()));
      }
      // The port is not open yet: ask again soon, without taking the processor from the start-up.
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  start_to_ready_ms_ = std::chrono::duration<double, std::milli>(Steady::now() - start).count();
}

double PlatformProcess::resident_mb() const {
  std::ifstream status(fmt::format("/proc/{}/status", pid()));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1024;
  }
  throw std::runtime_error("no VmRSS in /proc");
}

}  // namespace virtufin::bench

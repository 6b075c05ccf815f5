#include "dapr/sidecar_process.h"

#include <fmt/format.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace virtufin::bench {
namespace {

/// The first line that a shell command prints; empty if it fails.
std::string output_of(const std::string& command) {
  FILE* const pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return {};
  std::array<char, 4096> line{};
  const bool read = std::fgets(line.data(), line.size(), pipe) != nullptr;
  if (pclose(pipe) != 0 || !read) return {};
  std::string text(line.data());
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

const std::string& daprd_path() {
  static const std::string path = output_of("sh '" VIRTUFIN_ROOT "/tools/daprd.sh'");
  return path;
}
const std::string& redis_path() {
  static const std::string path = output_of("command -v redis-server");
  return path;
}

void wait_for_port(std::uint16_t port, const char* what) {
  using boost::asio::ip::tcp;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (;;) {
    boost::asio::io_context io;
    tcp::socket socket(io);
    boost::system::error_code error;
    socket.connect({boost::asio::ip::address_v4::loopback(), port}, error);
    if (!error) return;
    if (std::chrono::steady_clock::now() > deadline) {
      throw std::runtime_error(fmt::format("{} does not listen on {}", what, port));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void write_component(const std::filesystem::path& folder, const std::string& name,
                     const std::string& type, std::uint16_t redis_port,
                     const std::string& more = {}) {
  std::ofstream(folder / (name + ".yaml")) << fmt::format(
      "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {}\nspec:\n"
      "  type: {}\n  version: v1\n  metadata:\n"
      "    - {{name: redisHost, value: \"127.0.0.1:{}\"}}\n{}",
      name, type, redis_port, more);
}

}  // namespace

std::string SidecarProcess::missing() {
  if (redis_path().empty()) return "redis-server: install the Debian package redis-server";
  if (daprd_path().empty()) {
    return "daprd: install the Dapr runtime 1.18, or Go 1.26 to build tools/daprd";
  }
  return {};
}

SidecarProcess::SidecarProcess() {
  std::string pattern = (std::filesystem::temp_directory_path() / "virtufin-bench-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  folder_ = pattern;
  const auto components = folder_ / "components";
  std::filesystem::create_directory(components);

  const std::uint16_t redis_port = free_port();
  redis_ = std::make_unique<Child>(
      std::vector<std::string>{redis_path(), "--port", std::to_string(redis_port), "--bind",
                               "127.0.0.1", "--save", "", "--dir", folder_.string()},
      std::map<std::string, std::string>{});
  wait_for_port(redis_port, "redis-server");
  write_component(components, "bench", "pubsub.redis", redis_port,
                  "    - {name: concurrency, value: \"4096\"}\n"
                  "    - {name: queueDepth, value: \"4096\"}\n"
                  "    - {name: maxLenApprox, value: \"100000\"}\n"
                  // Each topic that was ever subscribed to keeps a connection; 20 unless set.
                  "    - {name: poolSize, value: \"200\"}\n");
  write_component(components, "statestore", "state.redis", redis_port,
                  "    - {name: keyPrefix, value: name}\n");

  const std::uint16_t port = free_port();
  daprd_ = std::make_unique<Child>(
      std::vector<std::string>{
          daprd_path(), "--app-id", "virtufin-bench", "--resources-path", components.string(),
          "--dapr-grpc-port", std::to_string(port), "--dapr-http-port", std::to_string(free_port()),
          "--dapr-internal-grpc-port", std::to_string(free_port()), "--dapr-listen-addresses",
          "127.0.0.1", "--dapr-internal-grpc-listen-address", "127.0.0.1", "--enable-metrics=false",
          "--log-level", "warn"},
      std::map<std::string, std::string>{});
  wait_for_port(port, "daprd");
  endpoint_ = fmt::format("127.0.0.1:{}", port);
}

SidecarProcess::~SidecarProcess() {
  daprd_.reset();
  redis_.reset();
  std::error_code ignored;  // a folder under the system's temporary one that stays is no harm
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace virtufin::bench

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dapr/child.h"

/// A real Dapr sidecar, and the broker and store behind it, for tests.
namespace virtufin::testing {

/// The path of a daprd, and of the servers behind it; or, in `missing`, what to install.
struct DaprTools {
  std::string daprd, redis_server, nats_server;
  std::string missing;  ///< of daprd and redis-server; empty: both are here
};
/// Asks tools/daprd.sh once.
const DaprTools& dapr_tools();

/// One component file: `name.yaml`, its type, its metadata.
struct Component {
  std::string name;
  std::string type;  ///< `state.in-memory`, `pubsub.redis`, …
  std::map<std::string, std::string> metadata;
  std::string yaml() const;
};

/// A redis-server on a port of its own, without a file.
class RedisServer {
 public:
  RedisServer();
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  std::uint16_t port() const { return port_; }
  Child& child() { return *child_; }
  /// The same port, empty again.
  void restart();

 private:
  TempDirectory directory_;
  std::uint16_t port_ = free_port();
  std::unique_ptr<Child> child_;
};

/// A daprd with the given components. Its ports stay the same over restarts.
///
/// Threads: one.
class Daprd {
 public:
  struct Options {
    std::string app_id = "virtufin-test";
    std::vector<Component> components;
    std::string api_token;  ///< empty: none asked for
    bool start = true;
  };
  explicit Daprd(Options options);

  /// host:port of its gRPC API.
  std::string endpoint() const { return "127.0.0.1:" + std::to_string(grpc_port_); }
  std::uint16_t http_port() const { return http_port_; }
  /// Starts it and waits until its API answers.
  void start();
  void stop();    ///< SIGTERM
  void kill();    ///< SIGKILL
  void freeze();  ///< SIGSTOP
  void thaw();    ///< SIGCONT
  bool running();
  std::string output() const { return child_ ? child_->output() : std::string(); }

 private:
  const Options options_;
  TempDirectory directory_;
  std::uint16_t grpc_port_ = free_port(), http_port_ = free_port(), internal_port_ = free_port();
  std::unique_ptr<Child> child_;
};

}  // namespace virtufin::testing

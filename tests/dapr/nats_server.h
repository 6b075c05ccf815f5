#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dapr/child.h"

namespace virtufin::testing {

/// A nats-server with JetStream on a port of its own; its streams are in a directory that goes with
/// it.
///
/// Threads: one.
class NatsServer {
 public:
  NatsServer();
  std::string url() const { return "nats://127.0.0.1:" + std::to_string(port_); }
  std::uint16_t port() const { return port_; }
  Child& child() { return *child_; }
  /// The same port and streams.
  void restart();

  /// Makes the stream anew: empty, without consumers, with a short duplicate window.
  void make_stream(const std::string& name, const std::vector<std::string>& subjects);
  /// What stands in the stream under that subject last, past the sidecar.
  std::string last_message(const std::string& stream, const std::string& subject);
  /// As another program on the broker publishes, past the sidecar; stands in the stream afterwards.
  void publish(const std::string& subject, const std::string& data);

 private:
  TempDirectory directory_;
  std::uint16_t port_ = free_port();
  std::unique_ptr<Child> child_;
};

}  // namespace virtufin::testing

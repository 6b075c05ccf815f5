#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace virtufin::bench {

/// The load's end of the first socket: a WebSocket server for one client that sends depth frames of
/// one symbol, and its REST depth snapshot. Every frame turns the imbalance around, so every frame
/// makes the example worker send exactly one order.
///
/// Threads: send() from one thread. Nothing is read from the client after the upgrade.
class FrameServer {
 public:
  FrameServer();
  ~FrameServer();
  std::uint16_t port() const;
  /// Blocks until a client has upgraded; throws after ten seconds.
  void wait_for_client();
  /// The next frame of the sequence.
  void send();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A bare echo between the same two sockets: a WebSocket client of `frame_port` and a gRPC server
/// stream on `grpc_port` that writes `reply_bytes` for every frame. Runs until it is killed.
void run_echo(std::uint16_t frame_port, std::uint16_t grpc_port, std::size_t reply_bytes);

}  // namespace virtufin::bench

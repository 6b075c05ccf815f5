#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace virtufin::venue {

inline constexpr std::chrono::seconds kTestDeadline{30};

/// A WebSocket client over Boost.Beast, every step with a deadline. One thread.
class TestClient {
 public:
  TestClient(std::uint16_t port, const std::string& target);
  ~TestClient();
  TestClient(TestClient&&) noexcept;

  /// Empty: connected. Else why not.
  const std::string& error() const;

  /// The next message; nothing if the connection ended (close_code() then) or the deadline passed.
  std::optional<std::string> read(std::chrono::milliseconds deadline = kTestDeadline);
  void write(std::string_view text);
  /// Sends a ping and returns the payload of the pong, having read on until it came.
  std::string ping(const std::string& payload);
  void close();
  std::uint16_t close_code() const;
  int pings_seen() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Status and body of one request.
std::pair<int, std::string> http_get(std::uint16_t port, const std::string& target);

/// A plain socket, for what no proper client does.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port);
  ~RawClient();
  void send(std::string_view bytes);
  /// Everything until the other side closes.
  std::string read_to_end();
  /// Reads on until `text` came; false if the connection ended or the deadline passed.
  bool read_until(std::string_view text);

 private:
  int fd_;
  std::string received_;
};

}  // namespace virtufin::venue

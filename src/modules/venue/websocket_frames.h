#pragma once

#include <absl/functional/function_ref.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// The server's half of RFC 6455's framing: writing unmasked frames into a buffer, many of which go
/// out in one write, and reading masked ones from a client in whatever pieces they come.
namespace virtufin::venue {

enum class Opcode : std::uint8_t {
  kContinuation = 0x0,
  kText = 0x1,
  kBinary = 0x2,
  kClose = 0x8,
  kPing = 0x9,
  kPong = 0xA,
};

/// Close codes of RFC 6455, section 7.4.1.
enum class CloseCode : std::uint16_t {
  kNormal = 1000,
  kGoingAway = 1001,
  kProtocolError = 1002,
  kBadData = 1007,
  kPolicy = 1008,
  kTooBig = 1009,
};

struct CloseReason {
  CloseCode code = CloseCode::kNormal;
  std::string text;
};

/// Appends one unfragmented frame.
void append_frame(Opcode opcode, std::string_view payload, std::string& out);
void append_close(const CloseReason& reason, std::string& out);

/// `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`.
std::string accept_key(std::string_view client_key);

/// Reads a client's frames and puts fragmented messages together. Control frames may come between
/// the fragments, as the RFC says.
///
/// Threads: one at a time. Holds at most `max_message_bytes` and one frame's header.
class ClientFrameReader {
 public:
  explicit ClientFrameReader(std::size_t max_message_bytes)
      : max_message_bytes_(max_message_bytes) {}

  /// The payload lives for the length of the call. Opcodes: text, binary, close, ping, pong.
  using OnMessage = absl::FunctionRef<void(Opcode opcode, std::string_view payload)>;

  /// Takes the next bytes. A reason: the client broke the protocol; close with it and read no more.
  std::optional<CloseReason> read(std::string_view bytes, OnMessage on_message);

 private:
  std::optional<CloseReason> take_header();
  std::optional<CloseReason> finish_frame(OnMessage on_message);

  const std::size_t max_message_bytes_;
  std::string header_;           ///< of the frame being read, as far as it came
  std::size_t header_size_ = 2;  ///< known after two bytes
  bool in_payload_ = false;
  bool final_ = false;
  Opcode opcode_ = Opcode::kText;
  std::uint64_t payload_size_ = 0;
  std::string payload_;
  std::string message_;  ///< fragments so far
  std::optional<Opcode> message_opcode_;
};

}  // namespace virtufin::venue

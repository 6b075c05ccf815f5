#include "modules/venue/websocket_frames.h"

#include <openssl/evp.h>
#include <simdjson.h>

#include <algorithm>
#include <array>

namespace virtufin::venue {
namespace {

constexpr std::size_t kMaxControlBytes = 125;
constexpr std::uint8_t kFinal = 0x80, kReserved = 0x70, kMasked = 0x80;
constexpr std::size_t kMaskBytes = 4;

bool is_control(Opcode opcode) { return (static_cast<std::uint8_t>(opcode) & 0x8) != 0; }

bool is_known(Opcode opcode) {
  switch (opcode) {
    case Opcode::kContinuation:
    case Opcode::kText:
    case Opcode::kBinary:
    case Opcode::kClose:
    case Opcode::kPing:
    case Opcode::kPong: return true;
  }
  return false;
}

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<std::uint8_t>(c);
  return value;
}

void append_big_endian(std::uint64_t value, int bytes, std::string& out) {
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift & 0xFF));
  }
}

CloseReason protocol_error(std::string_view text) {
  return {CloseCode::kProtocolError, std::string(text)};
}

}  // namespace

void append_frame(Opcode opcode, std::string_view payload, std::string& out) {
  out.push_back(static_cast<char>(kFinal | static_cast<std::uint8_t>(opcode)));
  if (payload.size() < 126) {
    out.push_back(static_cast<char>(payload.size()));
  } else if (payload.size() <= 0xFFFF) {
    out.push_back(126);
    append_big_endian(payload.size(), 2, out);
  } else {
    out.push_back(127);
    append_big_endian(payload.size(), 8, out);
  }
  out.append(payload);
}

void append_close(const CloseReason& reason, std::string& out) {
  std::string payload;
  append_big_endian(static_cast<std::uint16_t>(reason.code), 2, payload);
  payload.append(reason.text, 0, kMaxControlBytes - payload.size());
  append_frame(Opcode::kClose, payload, out);
}

std::string accept_key(std::string_view client_key) {
  std::string text(client_key);
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  std::array<unsigned char, 64> encoded{};
  const int length = EVP_EncodeBlock(encoded.data(), digest.data(), static_cast<int>(size));
  return {reinterpret_cast<const char*>(encoded.data()), static_cast<std::size_t>(length)};
}

std::optional<CloseReason> ClientFrameReader::read(std::string_view bytes, OnMessage on_message) {
  while (!bytes.empty() || (in_payload_ && payload_size_ == 0)) {
    if (!in_payload_) {
      const std::size_t count = std::min(header_size_ - header_.size(), bytes.size());
      header_.append(bytes.substr(0, count));
      bytes.remove_prefix(count);
      if (header_.size() < header_size_) continue;
      if (auto broken = take_header()) return broken;
      continue;
    }
    const std::size_t count =
        std::min(static_cast<std::size_t>(payload_size_) - payload_.size(), bytes.size());
    const std::string_view mask = std::string_view(header_).substr(header_.size() - kMaskBytes);
    for (const char c : bytes.substr(0, count)) {
      payload_.push_back(static_cast<char>(c ^ mask[payload_.size() % kMaskBytes]));
    }
    bytes.remove_prefix(count);
    if (payload_.size() < payload_size_) continue;
    if (auto broken = finish_frame(on_message)) return broken;
  }
  return {};
}

/// Called with two bytes, which say how long the header is, and again with all of it.
std::optional<CloseReason> ClientFrameReader::take_header() {
  const auto first = static_cast<std::uint8_t>(header_[0]);
  const auto second = static_cast<std::uint8_t>(header_[1]);
  const auto length = static_cast<std::uint8_t>(second & ~kMasked);
  if (header_size_ == 2) {
    opcode_ = static_cast<Opcode>(first & 0x0F);
    final_ = (first & kFinal) != 0;
    if ((first & kReserved) != 0) return protocol_error("a reserved bit is set");
    if (!is_known(opcode_)) return protocol_error("unknown opcode");
    if ((second & kMasked) == 0) return protocol_error("a client's frame must be masked");
    if (is_control(opcode_) && (!final_ || length > kMaxControlBytes)) {
      return protocol_error("a control frame is fragmented or longer than 125 bytes");
    }
    if (!is_control(opcode_) && (opcode_ == Opcode::kContinuation) != message_opcode_.has_value()) {
      return protocol_error("a continuation without its begin, or a begin within a message");
    }
    header_size_ = 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + kMaskBytes;
    return {};
  }
  payload_size_ = length;
  if (length >= 126) {
    payload_size_ =
        big_endian(std::string_view(header_).substr(2, header_.size() - 2 - kMaskBytes));
  }
  if (payload_size_ > max_message_bytes_ ||
      (!is_control(opcode_) && payload_size_ + message_.size() > max_message_bytes_)) {
    return CloseReason{CloseCode::kTooBig, "message too big"};
  }
  in_payload_ = true;
  return {};
}

std::optional<CloseReason> ClientFrameReader::finish_frame(OnMessage on_message) {
  std::string payload;
  payload.swap(payload_);
  const Opcode opcode = opcode_;
  in_payload_ = false;
  header_.clear();
  header_size_ = 2;
  if (is_control(opcode)) {
    if (opcode == Opcode::kClose && payload.size() == 1) {
      return protocol_error("a close frame with half a code");
    }
    on_message(opcode, payload);
    return {};
  }
  if (opcode != Opcode::kContinuation) message_opcode_ = opcode;
  message_ += payload;
  if (!final_) return {};
  std::string message;
  message.swap(message_);
  const Opcode whole = *message_opcode_;
  message_opcode_.reset();
  if (whole == Opcode::kText && !simdjson::validate_utf8(message)) {
    return CloseReason{CloseCode::kBadData, "a text message is not UTF-8"};
  }
  on_message(whole, message);
  return {};
}

}  // namespace virtufin::venue

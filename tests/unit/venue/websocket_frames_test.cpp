#include "modules/venue/websocket_frames.h"

#include <catch2/catch.hpp>
#include <utility>
#include <vector>

namespace virtufin::venue {
namespace {

std::string client_frame(int first_byte, std::string_view payload, bool masked = true) {
  const std::string_view mask = "\x11\x92\x03\x7f";
  std::string frame(1, static_cast<char>(first_byte));
  const int bit = masked ? 0x80 : 0;
  if (payload.size() < 126) {
    frame += static_cast<char>(bit | static_cast<int>(payload.size()));
  } else if (payload.size() < 65536) {
    frame += static_cast<char>(bit | 126);
    frame += static_cast<char>(payload.size() >> 8);
    frame += static_cast<char>(payload.size() & 0xFF);
  } else {
    frame += static_cast<char>(bit | 127);
    for (int shift = 56; shift >= 0; shift -= 8) {
      frame += static_cast<char>(payload.size() >> shift & 0xFF);
    }
  }
  if (masked) frame += mask;
  for (std::size_t i = 0; i < payload.size(); ++i) {
    frame += static_cast<char>(payload[i] ^ (masked ? mask[i % 4] : 0));
  }
  return frame;
}

using Messages = std::vector<std::pair<Opcode, std::string>>;

struct Result {
  Messages messages;
  std::optional<CloseReason> broken;
};
Result read(std::string_view bytes, std::size_t piece, std::size_t max = 1 << 20) {
  ClientFrameReader reader(max);
  Result result;
  while (!bytes.empty() && !result.broken) {
    result.broken =
        reader.read(bytes.substr(0, piece), [&](Opcode opcode, std::string_view payload) {
          result.messages.emplace_back(opcode, payload);
        });
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  return result;
}

TEST_CASE("a client's frames are read in whatever pieces they come") {
  const std::string big(70'000, 'z'), medium(300, 'm');
  const std::string bytes =
      client_frame(0x81, "hello") + client_frame(0x89, "") + client_frame(0x82, medium) +
      client_frame(0x01, "one ") + client_frame(0x8A, "between") + client_frame(0x00, "two ") +
      client_frame(0x80, "three") + client_frame(0x81, big) + client_frame(0x88, "\x03\xe8");
  const Messages expected{{Opcode::kText, "hello"},         {Opcode::kPing, ""},
                          {Opcode::kBinary, medium},        {Opcode::kPong, "between"},
                          {Opcode::kText, "one two three"}, {Opcode::kText, big},
                          {Opcode::kClose, "\x03\xe8"}};
  for (const std::size_t piece :
       {std::size_t{1}, std::size_t{3}, std::size_t{4096}, bytes.size()}) {
    INFO(piece);
    const Result result = read(bytes, piece);
    CHECK_FALSE(result.broken);
    CHECK(result.messages == expected);
  }
}

TEST_CASE("what breaks the protocol is refused with its close code") {
  const auto code = [](const std::string& bytes) {
    const Result result = read(bytes, 1, 1000);
    REQUIRE(result.broken);
    return result.broken->code;
  };
  CHECK(code(client_frame(0x81, "x", false)) == CloseCode::kProtocolError);  // not masked
  CHECK(code(client_frame(0xC1, "x")) == CloseCode::kProtocolError);         // reserved bit
  CHECK(code(client_frame(0x83, "x")) == CloseCode::kProtocolError);         // unknown opcode
  CHECK(code(client_frame(0x09, "x")) == CloseCode::kProtocolError);         // fragmented ping
  CHECK(code(client_frame(0x89, std::string(126, 'x'))) == CloseCode::kProtocolError);
  CHECK(code(client_frame(0x80, "x")) == CloseCode::kProtocolError);  // nothing to continue
  CHECK(code(client_frame(0x01, "x") + client_frame(0x81, "y")) == CloseCode::kProtocolError);
  CHECK(code(client_frame(0x88, "x")) == CloseCode::kProtocolError);  // half a code
  CHECK(code(client_frame(0x81, "\xff\xfe")) == CloseCode::kBadData);
  CHECK(code(client_frame(0x81, std::string(1001, 'x'))) == CloseCode::kTooBig);
  CHECK(code(client_frame(0x01, std::string(900, 'x')) +
             client_frame(0x80, std::string(101, 'x'))) == CloseCode::kTooBig);
  // A length is refused before its bytes come: a claim of 2^63 bytes costs nothing.
  CHECK(code(std::string("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", 14)) ==
        CloseCode::kTooBig);
}

TEST_CASE("the server's frames are unmasked and of the shortest length form") {
  const auto encoded = [](std::size_t size) {
    std::string out;
    append_frame(Opcode::kText, std::string(size, 'x'), out);
    return out;
  };
  CHECK(encoded(0) == std::string("\x81\x00", 2));
  CHECK(encoded(125).substr(0, 2) == "\x81\x7d");
  CHECK(encoded(126).substr(0, 4) == std::string("\x81\x7e\x00\x7e", 4));
  CHECK(encoded(65535).substr(0, 4) == "\x81\x7e\xff\xff");
  CHECK(encoded(65536).substr(0, 10) == std::string("\x81\x7f\0\0\0\0\0\1\0\0", 10));
  CHECK(encoded(65536).size() == 65546);
  std::string close;
  append_close({CloseCode::kGoingAway, "bye"}, close);
  CHECK(close ==
        "\x88\x05\x03\xe9"
        "bye");
}

TEST_CASE("the handshake's key is that of RFC 6455") {
  CHECK(accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

}  // namespace
}  // namespace virtufin::venue

#include "rpc/port.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "core/errors.h"

namespace virtufin::rpc {
namespace {

TEST_CASE("a free port is chosen and held") {
  const auto port = ReservedPort::reserve({"127.0.0.1", 0});
  REQUIRE(port.ok());
  CHECK(port->endpoint().port != 0);
  // Another program, which does not say SO_REUSEADDR, is not given it.
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port->endpoint().port);
  CHECK(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0);
  close(fd);
}

TEST_CASE("a port in use is named") {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(listen(fd, 1) == 0);
  socklen_t length = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  const std::uint16_t taken = ntohs(address.sin_port);
  for (const char* host : {"127.0.0.1", "localhost"}) {
    const auto port = ReservedPort::reserve({host, taken});
    CHECK(port.status().code() == absl::StatusCode::kUnavailable);
    CHECK(message(port.status()).find(fmt::format("{}:{} is in use", host, taken)) == 0);
  }
  close(fd);
}

TEST_CASE("a host that is none is refused") {
  const auto port = ReservedPort::reserve({"no such host", 1});
  CHECK(port.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(to_string({"::1", 80}) == "[::1]:80");
}

}  // namespace
}  // namespace virtufin::rpc

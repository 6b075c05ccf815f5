#include "rpc/port.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "core/errors.h"

namespace virtufin::rpc {

std::string to_string(const Endpoint& endpoint) {
  const bool v6 = endpoint.host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", endpoint.host, v6 ? "]" : "", endpoint.port);
}

absl::Status bind_error(const Endpoint& endpoint, int error_number) {
  if (error_number == EADDRINUSE) {
    return unavailable(
        "{} is in use by another program; stop it or choose another port in the configuration",
        to_string(endpoint));
  }
  return unavailable("cannot listen on {}: {}", to_string(endpoint), std::strerror(error_number));
}

absl::StatusOr<ReservedPort> ReservedPort::reserve(const Endpoint& endpoint) {
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(endpoint.host.c_str(), "0", &hints, &found); error != 0) {
    return invalid_argument("cannot listen on {}: {} is no address of this machine ({})",
                            to_string(endpoint), endpoint.host, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);

  ReservedPort reserved(endpoint);
  int last_error = EADDRNOTAVAIL;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    sockaddr_storage address{};
    std::memcpy(&address, at->ai_addr, at->ai_addrlen);
    // The port is at the same place in both kinds of address.
    reinterpret_cast<sockaddr_in*>(&address)->sin_port = htons(reserved.endpoint_.port);
    const int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      last_error = errno;
      continue;
    }
    // Without listening, SO_REUSEADDR lets gRPC bind beside us, but not us beside a listener.
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), at->ai_addrlen) != 0) {
      last_error = errno;
      close(fd);
      if (last_error == EADDRINUSE) return bind_error(reserved.endpoint_, last_error);
      continue;  // an address family that this machine does not have
    }
    socklen_t length = sizeof address;
    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
    reserved.endpoint_.port = ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
    reserved.sockets_.push_back(fd);
  }
  if (reserved.sockets_.empty()) return bind_error(endpoint, last_error);
  return reserved;
}

ReservedPort::ReservedPort(ReservedPort&& other) noexcept
    : endpoint_(std::move(other.endpoint_)), sockets_(std::exchange(other.sockets_, {})) {}

ReservedPort::~ReservedPort() {
  for (const int fd : sockets_) close(fd);
}

}  // namespace virtufin::rpc

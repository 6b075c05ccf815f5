#include "test_client.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>

namespace virtufin::venue {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using asio::ip::tcp;

tcp::endpoint loopback(std::uint16_t port) { return {asio::ip::address_v4::loopback(), port}; }

}  // namespace

struct TestClient::Impl {
  asio::io_context io;
  websocket::stream<tcp::socket> stream{io};
  beast::flat_buffer buffer;
  std::string error;
  std::optional<std::string> pong;
  int pings = 0;
  bool reading = false;
  std::optional<beast::error_code> read_result;

  /// Runs until `done` or the deadline.
  template <class Done>
  bool run(Done done, std::chrono::milliseconds deadline = kTestDeadline) {
    const auto until = std::chrono::steady_clock::now() + deadline;
    while (!done()) {
      io.restart();
      if (io.run_one_until(until) == 0) return done();
    }
    return true;
  }
  void begin_read() {
    if (reading) return;
    reading = true;
    read_result.reset();
    stream.async_read(buffer, [this](beast::error_code result, std::size_t) {
      reading = false;
      read_result = result;
    });
  }
};

TestClient::TestClient(std::uint16_t port, const std::string& target)
    : impl_(std::make_unique<Impl>()) {
  Impl& impl = *impl_;
  beast::error_code error;
  impl.stream.next_layer().connect(loopback(port), error);
  if (!error) {
    impl.stream.control_callback([&impl](websocket::frame_type type, beast::string_view payload) {
      if (type == websocket::frame_type::pong) impl.pong = std::string(payload);
      if (type == websocket::frame_type::ping) ++impl.pings;
    });
    std::optional<beast::error_code> result;
    impl.stream.async_handshake("127.0.0.1", target,
                                [&](beast::error_code done) { result = done; });
    impl.run([&] { return result.has_value(); });
    if (result) {
      error = *result;
    } else {
      error = beast::error::timeout;
      impl.stream.next_layer().close();
      impl.run([&] { return result.has_value(); });
    }
  }
  if (error) impl.error = error.message();
}

TestClient::TestClient(TestClient&&) noexcept = default;

TestClient::~TestClient() {
  if (!impl_) return;
  beast::error_code ignored;
  impl_->stream.next_layer().close(ignored);
  impl_->run([this] { return !impl_->reading; });
}

const std::string& TestClient::error() const { return impl_->error; }

std::optional<std::string> TestClient::read(std::chrono::milliseconds deadline) {
  Impl& impl = *impl_;
  impl.begin_read();
  if (!impl.run([&] { return impl.read_result.has_value(); }, deadline)) return {};
  if (*impl.read_result) return {};
  impl.read_result.reset();
  std::string text = beast::buffers_to_string(impl.buffer.data());
  impl.buffer.clear();
  return text;
}

void TestClient::write(std::string_view text) {
  impl_->stream.text(true);
  impl_->stream.write(asio::buffer(text.data(), text.size()));
}

std::string TestClient::ping(const std::string& payload) {
  Impl& impl = *impl_;
  impl.pong.reset();
  impl.stream.ping(websocket::ping_data(payload));
  const auto until = std::chrono::steady_clock::now() + kTestDeadline;
  while (!impl.pong && std::chrono::steady_clock::now() < until) {
    impl.begin_read();
    impl.run([&] { return impl.pong || impl.read_result; });
    if (impl.read_result) {
      if (*impl.read_result) break;
      impl.read_result.reset();
      impl.buffer.clear();
    }
  }
  return impl.pong.value_or("no pong");
}

void TestClient::close() {
  std::optional<beast::error_code> result;
  impl_->stream.async_close(websocket::close_code::normal,
                            [&](beast::error_code done) { result = done; });
  impl_->run([&] { return result.has_value(); });
}

std::uint16_t TestClient::close_code() const { return impl_->stream.reason().code; }
int TestClient::pings_seen() const { return impl_->pings; }

std::pair<int, std::string> http_get(std::uint16_t port, const std::string& target) {
  asio::io_context io;
  beast::tcp_stream stream(io);
  stream.connect(loopback(port));
  http::request<http::empty_body> request(http::verb::get, target, 11);
  request.set(http::field::host, "127.0.0.1");
  request.keep_alive(false);
  http::write(stream, request);
  beast::flat_buffer buffer;
  http::response<http::string_body> response;
  beast::error_code error;
  http::read(stream, buffer, response, error);
  if (error) return {0, error.message()};
  return {response.result_int(), response.body()};
}

RawClient::RawClient(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    received_ = "connect failed";
  }
}

RawClient::~RawClient() { ::close(fd_); }

void RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

std::string RawClient::read_to_end() {
  read_until(std::string_view("\0never sent\0", 12));
  return received_;
}

bool RawClient::read_until(std::string_view text) {
  const auto until = std::chrono::steady_clock::now() + kTestDeadline;
  char buffer[4096];
  while (received_.find(text) == std::string::npos) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd poll_fd{fd_, POLLIN, 0};
    if (left.count() <= 0 || ::poll(&poll_fd, 1, static_cast<int>(left.count())) <= 0) return false;
    const ssize_t count = ::recv(fd_, buffer, sizeof buffer, 0);
    if (count <= 0) return false;
    received_.append(buffer, static_cast<std::size_t>(count));
  }
  return true;
}

}  // namespace virtufin::venue

#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace virtufin::wsm::test {

using Socket = boost::asio::ip::tcp::socket;
using WebSocket = boost::beast::websocket::stream<Socket>;

/// A peer on loopback whose every connection runs a script of the test's, blocking, on a thread of
/// its own. The script is told which connection it has, from 0.
class Server {
 public:
  using Script = std::function<void(int connection, Socket socket)>;

  explicit Server(Script script)
      : script_(std::move(script)),
        acceptor_(io_, {boost::asio::ip::make_address("127.0.0.1"), 0}),
        accepting_([this] { accept(); }) {}

  ~Server() {
    stopping_ = true;
    boost::system::error_code ignored;
    // Wakes the accept, which close() alone does not.
    boost::asio::io_context io;
    Socket wake(io);
    wake.connect(acceptor_.local_endpoint(), ignored);
    accepting_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const int handle : handles_) ::shutdown(handle, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
    for (const int handle : handles_) ::close(handle);
  }

  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
  std::string url(const std::string& path = "/") const {
    return "ws://127.0.0.1:" + std::to_string(port()) + path;
  }
  int connections() const { return connections_; }

 private:
  void accept() {
    while (true) {
      boost::system::error_code error;
      Socket socket = acceptor_.accept(error);
      if (stopping_) return;
      if (error) continue;
      const std::lock_guard lock(mutex_);
      // A handle of our own, so that the destructor can wake a script that still reads.
      const int handle = ::dup(socket.native_handle());
      handles_.push_back(handle);
      threads_.emplace_back(
          [this, handle, number = connections_++, taken = std::move(socket)]() mutable {
            try {
              script_(number, std::move(taken));
            } catch (const boost::system::system_error&) {
              // The client went away: the test looks at the client.
            }
            ::shutdown(handle, SHUT_RDWR);
          });
    }
  }

  Script script_;
  boost::asio::io_context io_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> connections_{0};
  std::mutex mutex_;
  std::vector<int> handles_;
  std::vector<std::thread> threads_;
  std::thread accepting_;
};

/// Upgrades, and says what was asked for.
inline WebSocket upgraded(Socket socket, std::string* target = nullptr) {
  namespace http = boost::beast::http;
  boost::beast::flat_buffer buffer;
  http::request<http::string_body> request;
  http::read(socket, buffer, request);
  if (target != nullptr) *target = std::string(request.target());
  WebSocket stream(std::move(socket));
  stream.accept(request);
  return stream;
}

/// Reads until the peer closes.
inline void until_closed(WebSocket& stream) {
  boost::beast::flat_buffer buffer;
  boost::system::error_code error;
  while (!error) {
    stream.read(buffer, error);
    buffer.clear();
  }
}

/// The peer's next request, answered with `body` as JSON.
inline void answer_http(Socket& socket, const std::function<std::string(std::string)>& body_of) {
  namespace http = boost::beast::http;
  boost::beast::flat_buffer buffer;
  http::request<http::string_body> request;
  http::read(socket, buffer, request);
  http::response<http::string_body> response(http::status::ok, 11);
  response.body() = body_of(std::string(request.target()));
  response.prepare_payload();
  http::write(socket, response);
}

}  // namespace virtufin::wsm::test

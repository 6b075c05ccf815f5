#include "load/frame_server.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <future>
#include <stdexcept>
#include <thread>

namespace virtufin::bench {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using WebSocket = beast::websocket::stream<tcp::socket>;

constexpr char kSnapshot[] =
    R"({"lastUpdateId":1,"bids":[["100.00","5.00"],["99.99","7.00"]],"asks":[["100.01","5.00"],["100.02","7.00"]]})";

}  // namespace

struct FrameServer::Impl {
  asio::io_context io;
  tcp::acceptor acceptor{io, tcp::endpoint(asio::ip::address_v4::loopback(), 0)};
  std::unique_ptr<WebSocket> client;
  std::promise<void> upgraded;
  std::future<void> upgrade = upgraded.get_future();
  std::thread thread;
  std::uint64_t sequence = 1;

  /// Answers requests one after the other; the upgraded socket is kept, others are closed.
  void serve() {
    for (;;) {
      beast::error_code error;
      tcp::socket socket(io);
      acceptor.accept(socket, error);
      if (error) return;
      beast::flat_buffer buffer;
      http::request<http::string_body> request;
      http::read(socket, buffer, request, error);
      if (error) continue;
      if (beast::websocket::is_upgrade(request)) {
        socket.set_option(tcp::no_delay(true));
        client = std::make_unique<WebSocket>(std::move(socket));
        client->accept(request, error);
        if (!error) upgraded.set_value();
        continue;
      }
      http::response<http::string_body> response(http::status::ok, request.version());
      response.set(http::field::content_type, "application/json");
      response.body() = kSnapshot;
      response.keep_alive(false);
      response.prepare_payload();
      http::write(socket, response, error);
    }
  }
};

FrameServer::FrameServer() : impl_(std::make_unique<Impl>()) {
  impl_->thread = std::thread([this] { impl_->serve(); });
}

FrameServer::~FrameServer() {
  // Wakes the blocking accept; closing the acceptor alone does not.
  ::shutdown(impl_->acceptor.native_handle(), SHUT_RDWR);
  impl_->thread.join();
}

std::uint16_t FrameServer::port() const { return impl_->acceptor.local_endpoint().port(); }

void FrameServer::wait_for_client() {
  if (impl_->upgrade.wait_for(std::chrono::seconds(10)) != std::future_status::ready) {
    throw std::runtime_error("nobody connected to the frame server");
  }
}

void FrameServer::send() {
  const std::uint64_t u = ++impl_->sequence;
  const bool buy = u % 2 == 0;
  const std::string frame = fmt::format(
      R"({{"stream":"tickusdt@depth@100ms","data":{{"e":"depthUpdate","E":1700000000000,"s":"TICKUSDT","U":{0},"u":{0},"b":[["100.00","{1}"]],"a":[["100.01","{2}"]]}}}})",
      u, buy ? "9.00" : "1.00", buy ? "1.00" : "9.00");
  impl_->client->text(true);
  impl_->client->write(asio::buffer(frame));
}

}  // namespace virtufin::bench

#include "modules/venue/http_session.h"

#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "core/errors.h"
#include "modules/venue/rest.h"
#include "modules/venue/websocket_frames.h"
#include "modules/venue/websocket_session.h"

namespace virtufin::venue {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using boost::asio::ip::tcp;

constexpr std::uint64_t kMaxBodyBytes = 4096;  ///< no request of ours has one

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = text.find(separator);
    if (end != 0) parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return parts;
}

/// What a WebSocket path asks for.
struct StreamPath {
  std::vector<std::string> streams;
  bool combined = true;
  std::optional<Dialect> dialect;  ///< of the prefix
};

std::optional<StreamPath> parse_stream_path(const Target& target) {
  StreamPath asked;
  std::string_view path = target.path;
  for (const auto& [prefix, dialect] :
       {std::pair{std::string_view("/spot/"), Dialect::kSpot},
        std::pair{std::string_view("/futures/"), Dialect::kFutures}}) {
    if (path.starts_with(prefix)) {
      asked.dialect = dialect;
      path.remove_prefix(prefix.size() - 1);
      break;
    }
  }
  if (path == "/stream") {
    asked.streams = split(target.value("streams").value_or(""), '/');
    return asked;
  }
  if (path == "/ws" || path.starts_with("/ws/")) {
    asked.combined = false;
    asked.streams = split(path.substr(3), '/');
    return asked;
  }
  return {};
}

class HttpSession final : public Session, public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(Exchange& exchange, tcp::socket socket)
      : exchange_(exchange), stream_(std::move(socket)) {}

  void start() { read(exchange_.config().header_timeout); }

  void close() override { end(); }
  void abort() override { end(); }

 private:
  using Request = http::request<http::string_body>;

  void read(std::chrono::milliseconds timeout) {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(exchange_.config().max_header_bytes));
    parser_->body_limit(kMaxBodyBytes);
    stream_.expires_after(timeout);
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](beast::error_code error, std::size_t) {
                       self->on_read(error);
                     });
  }

  void on_read(beast::error_code error) {
    if (ended_) return;
    if (error == http::error::header_limit || error == http::error::body_limit) {
      return reply(rest_error(431, -1, "the request is too big"), 11, false);
    }
    if (error) return end();
    const Request request = parser_->release();
    const auto target = Target::parse({request.target().data(), request.target().size()});
    if (!target) {
      return reply(rest_error(400, -1, "the target's percent encoding is broken"),
                   request.version(), request.keep_alive());
    }
    if (beast::websocket::is_upgrade(request)) return upgrade(request, *target);
    if (request.method() != http::verb::get) {
      return reply(rest_error(405, -1, "only GET is served"), request.version(),
                   request.keep_alive());
    }
    reply(answer_rest(exchange_, *target, exchange_.now()), request.version(),
          request.keep_alive());
  }

  void reply(RestAnswer answer, unsigned version, bool keep_alive) {
    response_.emplace(static_cast<http::status>(answer.status), version);
    response_->set(http::field::content_type, "application/json;charset=UTF-8");
    response_->keep_alive(keep_alive);
    response_->body() = std::move(answer.body);
    response_->prepare_payload();
    stream_.expires_after(exchange_.config().header_timeout);
    http::async_write(stream_, *response_,
                      [self = shared_from_this()](beast::error_code error, std::size_t) {
                        if (error || !self->response_->keep_alive()) return self->end();
                        self->read(self->exchange_.config().idle_timeout);
                      });
  }

  void upgrade(const Request& request, const Target& target) {
    const auto asked = parse_stream_path(target);
    if (!asked) {
      return reply(rest_error(404, -1, "WebSocket paths are /stream and /ws"), request.version(),
                   false);
    }
    const auto key = request[http::field::sec_websocket_key];
    if (request[http::field::sec_websocket_version] != "13" || key.empty()) {
      return reply(rest_error(400, -1, "Sec-WebSocket-Version 13 and a key are needed"),
                   request.version(), false);
    }
    Market* market =
        asked->dialect ? exchange_.find(*asked->dialect) : exchange_.find_for(asked->streams);
    if (asked->dialect && market == nullptr) {
      return reply(rest_error(404, -1, "this market is not played; see venue.markets"),
                   request.version(), false);
    }
    http::response<http::empty_body> handshake(http::status::switching_protocols, 11);
    handshake.set(http::field::upgrade, "websocket");
    handshake.set(http::field::connection, "Upgrade");
    handshake.set(http::field::sec_websocket_accept, accept_key({key.data(), key.size()}));
    std::ostringstream head;
    head << handshake.base();

    WebSocketSession::Opening opening;
    opening.handshake = head.str();
    opening.leftover = beast::buffers_to_string(buffer_.data());
    opening.streams = asked->streams;
    opening.combined = asked->combined;
    opening.market = market;
    ended_ = true;
    stream_.expires_never();
    const auto self = shared_from_this();
    exchange_.remove(this);
    auto session =
        std::make_shared<WebSocketSession>(exchange_, stream_.release_socket(), std::move(opening));
    // There is room: this one's place was given up for it.
    if (exchange_.add(session)) session->start();
  }

  void end() {
    if (ended_) return;
    ended_ = true;
    stream_.close();
    exchange_.remove(this);
  }

  Exchange& exchange_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
  bool ended_ = false;
};

}  // namespace

void serve_http(Exchange& exchange, tcp::socket socket) {
  auto session = std::make_shared<HttpSession>(exchange, std::move(socket));
  if (!exchange.add(session)) {
    exchange.log()->warn("a connection was refused: venue.max_connections is {}",
                         exchange.config().max_connections);
    return;
  }
  session->start();
}

}  // namespace virtufin::venue

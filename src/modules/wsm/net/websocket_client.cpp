#include "modules/wsm/net/websocket_client.h"

#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <optional>

#include "core/errors.h"
#include "core/log.h"
#include "modules/wsm/feeds/levels.h"

namespace virtufin::wsm {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using asio::ip::tcp;
using boost::system::error_code;
using Tls = asio::ssl::stream<tcp::socket>;

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

template <class Stream>
class Client final : public WebSocketClient, public std::enable_shared_from_this<Client<Stream>> {
 public:
  Client(asio::io_context& io, Options options, const AddressGuard& guard)
      : io_(io), guard_(guard), options_(std::move(options)), timer_(io) {
    buffer_.max_size(options_.max_frame_bytes + kReadPadding);
  }

  void open(std::shared_ptr<Listener> listener) override {
    listener_ = std::move(listener);
    timer_.expires_after(options_.connect_timeout);
    timer_.async_wait([self = this->shared_from_this()](const error_code& error) {
      if (!error && !self->open_) self->timed_out();
    });
    dial_ = Dial::start(io_, options_.url, guard_,
                        [self = this->shared_from_this()](NetFailure failure, tcp::socket socket) {
                          if (!failure.status.ok()) return self->fail(std::move(failure));
                          self->on_connected(std::move(socket));
                        });
  }

  void pause() override { paused_ = true; }

  void resume() override {
    if (!paused_) return;
    paused_ = false;
    if (open_ && listener_ && !reading_) read();
  }

  void close() override {
    if (!listener_) return;
    listener_.reset();
    timer_.cancel();
    if (!open_) return cut();
    timer_.expires_after(options_.close_timeout);
    timer_.async_wait([self = this->shared_from_this()](const error_code& error) {
      if (!error) self->cut();
    });
    stream_->async_close(websocket::close_code::normal,
                         [self = this->shared_from_this()](const error_code&) {
                           self->timer_.cancel();
                           self->cut();
                         });
  }

 private:
  static constexpr bool kTls = std::is_same_v<Stream, Tls>;

  tcp::socket& socket() {
    if constexpr (kTls) {
      return stream_->next_layer().next_layer();
    } else {
      return stream_->next_layer();
    }
  }

  void on_connected(tcp::socket connected) {
    if constexpr (kTls) {
      stream_.emplace(std::move(connected), *options_.tls);
      Tls& tls = stream_->next_layer();
      const std::string name =
          options_.server_name.empty() ? options_.url.host : options_.server_name;
      error_code error;
      tls.set_verify_callback(asio::ssl::host_name_verification(name), error);
      // Names go into the ClientHello; addresses must not.
      error_code not_address;
      asio::ip::make_address(name, not_address);
      if (not_address && SSL_set_tlsext_host_name(tls.native_handle(), name.c_str()) != 1) {
        return fail({"tls", unavailable("TLS: the name '{}' cannot be sent", printable(name))});
      }
      stage_ = "tls";
      tls.async_handshake(asio::ssl::stream_base::client,
                          [self = this->shared_from_this()](const error_code& failed) {
                            if (failed) return self->tls_failed(failed);
                            self->upgrade();
                          });
    } else {
      stream_.emplace(std::move(connected));
      upgrade();
    }
  }

  void tls_failed(const error_code& error) {
    if constexpr (kTls) {
      const long verified = SSL_get_verify_result(stream_->next_layer().native_handle());
      const std::string reason =
          verified == X509_V_OK ? error.message() : X509_verify_cert_error_string(verified);
      fail({"tls", unavailable("TLS with {}: {}", options_.url.authority(), reason)});
    }
  }

  void upgrade() {
    if (!listener_) return cut();
    stage_ = "handshake";
    stream_->read_message_max(options_.max_frame_bytes);
    stream_->set_option(websocket::stream_base::decorator([this](websocket::request_type& request) {
      request.set(http::field::user_agent, "virtufin");
      for (const auto& [name, value] : options_.headers) request.set(name, value);
      if (!options_.subprotocols.empty()) {
        request.set(http::field::sec_websocket_protocol, joined(options_.subprotocols));
      }
    }));
    stream_->async_handshake(
        response_, options_.url.authority(), options_.url.target,
        [self = this->shared_from_this()](const error_code& error) { self->on_upgraded(error); });
  }

  void on_upgraded(const error_code& error) {
    if (!listener_) return cut();
    if (error == websocket::error::upgrade_declined) {
      return fail({"handshake",
                   unavailable("{} refused the WebSocket upgrade: HTTP {} {}",
                               options_.url.authority(), response_.result_int(),
                               printable({response_.reason().data(), response_.reason().size()}))});
    }
    if (error) {
      return fail({"handshake", unavailable("WebSocket upgrade with {}: {}",
                                            options_.url.authority(), error.message())});
    }
    open_ = true;
    timer_.cancel();
    const auto self = this->shared_from_this();
    const auto listener = listener_;
    listener->on_open();
    if (listener_ && !paused_ && !reading_) read();
  }

  void read() {
    reading_ = true;
    stream_->async_read(buffer_,
                        [self = this->shared_from_this()](const error_code& error, std::size_t) {
                          self->on_read(error);
                        });
  }

  void on_read(const error_code& error) {
    reading_ = false;
    if (!listener_) return;
    if (error) return read_failed(error);
    buffer_.prepare(
        kReadPadding);  // readable behind the message; the bytes themselves do not count
    const auto bytes = buffer_.data();
    listener_->on_message({static_cast<const char*>(bytes.data()), bytes.size()},
                          stream_->got_text());
    buffer_.consume(buffer_.size());
    if (listener_ && !paused_ && !reading_) read();
  }

  void read_failed(const error_code& error) {
    if (error == websocket::error::closed) {
      const auto& reason = stream_->reason();
      return fail({"closed", unavailable("{} closed the connection: {} {}",
                                         options_.url.authority(), reason.code,
                                         printable({reason.reason.data(), reason.reason.size()}))});
    }
    const bool broken_text = error == websocket::error::bad_frame_payload;
    fail({broken_text ? "payload" : "read",
          unavailable("reading from {}: {}", options_.url.authority(), error.message())});
  }

  void timed_out() {
    fail({"timeout",
          unavailable("{}: no connection within {} ms (in the {} stage)", options_.url.authority(),
                      options_.connect_timeout.count(), stage_)});
  }

  void fail(NetFailure failure) {
    if (!listener_) return;
    const auto listener = std::move(listener_);
    listener_.reset();
    timer_.cancel();
    cut();
    listener->on_closed(std::move(failure));
  }

  void cut() {
    if (dial_) dial_->cancel();
    if (!stream_) return;
    error_code ignored;  // the socket is gone either way
    socket().close(ignored);
  }

  asio::io_context& io_;
  const AddressGuard& guard_;
  const Options options_;
  asio::steady_timer timer_;
  std::shared_ptr<Dial> dial_;
  std::optional<websocket::stream<Stream>> stream_;
  websocket::response_type response_;
  beast::flat_buffer buffer_;
  std::shared_ptr<Listener> listener_;  ///< none: closed
  std::string_view stage_ = "connect";
  bool open_ = false;
  bool paused_ = false;
  bool reading_ = false;
};

}  // namespace

std::shared_ptr<WebSocketClient> WebSocketClient::create(asio::io_context& io, Options options,
                                                         const AddressGuard& guard) {
  if (options.url.tls) return std::make_shared<Client<Tls>>(io, std::move(options), guard);
  return std::make_shared<Client<tcp::socket>>(io, std::move(options), guard);
}

}  // namespace virtufin::wsm

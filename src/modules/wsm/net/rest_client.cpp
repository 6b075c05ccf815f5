#include "modules/wsm/net/rest_client.h"

#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <optional>

#include "core/errors.h"
#include "core/log.h"
#include "modules/wsm/net/dial.h"

namespace virtufin::wsm {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Tls = asio::ssl::stream<tcp::socket>;

std::chrono::seconds seconds_of(beast::string_view text) {
  std::int64_t seconds = 0;
  std::from_chars(text.data(), text.data() + text.size(), seconds);
  return std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, 86'400));
}

template <class Stream>
class Request final : public RestRequest, public std::enable_shared_from_this<Request<Stream>> {
 public:
  Request(asio::io_context& io, Options options, const AddressGuard& guard, Done done)
      : io_(io), guard_(guard), options_(std::move(options)), done_(std::move(done)), timer_(io) {}

  void run() {
    timer_.expires_after(options_.timeout);
    timer_.async_wait([self = this->shared_from_this()](const error_code& error) {
      if (!error) {
        self->finish(unavailable("GET {}{}: no answer within {} ms", self->options_.url.authority(),
                                 self->options_.url.target, self->options_.timeout.count()));
      }
    });
    dial_ = Dial::start(
        io_, options_.url, guard_,
        [self = this->shared_from_this()](const NetFailure& failure, tcp::socket socket) {
          if (!failure.status.ok()) return self->finish(failure.status);
          self->on_connected(std::move(socket));
        });
  }

  void cancel() override {
    done_ = nullptr;
    cut();
  }

 private:
  static constexpr bool kTls = std::is_same_v<Stream, Tls>;

  void on_connected(tcp::socket connected) {
    if (!done_) return;
    if constexpr (kTls) {
      stream_.emplace(std::move(connected), *options_.tls);
      error_code error;
      stream_->set_verify_callback(asio::ssl::host_name_verification(options_.url.host), error);
      error_code not_address;
      asio::ip::make_address(options_.url.host, not_address);
      if (not_address &&
          SSL_set_tlsext_host_name(stream_->native_handle(), options_.url.host.c_str()) != 1) {
        return finish(
            unavailable("TLS: the name '{}' cannot be sent", printable(options_.url.host)));
      }
      stream_->async_handshake(asio::ssl::stream_base::client,
                               [self = this->shared_from_this()](const error_code& failed) {
                                 if (failed) return self->failed("TLS", failed);
                                 self->send();
                               });
    } else {
      stream_.emplace(std::move(connected));
      send();
    }
  }

  void send() {
    if (!done_) return;
    request_.version(11);
    request_.method(http::verb::get);
    request_.target(options_.url.target);
    request_.set(http::field::host, options_.url.authority());
    request_.set(http::field::user_agent, "virtufin");
    request_.set(http::field::accept, "application/json");
    request_.set(http::field::connection, "close");
    parser_.body_limit(options_.max_bytes);
    http::async_write(*stream_, request_,
                      [self = this->shared_from_this()](const error_code& error, std::size_t) {
                        if (error) return self->failed("sending", error);
                        self->receive();
                      });
  }

  void receive() {
    if (!done_) return;
    http::async_read(*stream_, buffer_, parser_,
                     [self = this->shared_from_this()](const error_code& error, std::size_t) {
                       if (error) return self->failed("reading", error);
                       self->answer();
                     });
  }

  void answer() {
    auto& message = parser_.get();
    RestAnswer answer;
    answer.status = message.result_int();
    answer.reason = std::string(message.reason());
    answer.retry_after = seconds_of(message[http::field::retry_after]);
    answer.body = std::move(message.body());
    finish(std::move(answer));
  }

  void failed(std::string_view stage, const error_code& error) {
    finish(unavailable("GET {}{}: {}: {}", options_.url.authority(), options_.url.target, stage,
                       error.message()));
  }

  void finish(absl::StatusOr<RestAnswer> answer) {
    if (!done_) return;
    auto done = std::move(done_);
    done_ = nullptr;
    cut();
    done(std::move(answer));
  }

  void cut() {
    timer_.cancel();
    if (dial_) dial_->cancel();
    if (!stream_) return;
    error_code ignored;  // the socket is gone either way
    if constexpr (kTls) {
      stream_->next_layer().close(ignored);
    } else {
      stream_->close(ignored);
    }
  }

  asio::io_context& io_;
  const AddressGuard& guard_;
  const Options options_;
  Done done_;
  asio::steady_timer timer_;
  std::shared_ptr<Dial> dial_;
  std::optional<Stream> stream_;
  http::request<http::empty_body> request_;
  beast::flat_buffer buffer_;
  http::response_parser<http::string_body> parser_;
};

template <class Stream>
std::shared_ptr<RestRequest> start_request(asio::io_context& io, RestRequest::Options options,
                                           const AddressGuard& guard, RestRequest::Done done) {
  auto request = std::make_shared<Request<Stream>>(io, std::move(options), guard, std::move(done));
  request->run();
  return request;
}

}  // namespace

std::shared_ptr<RestRequest> RestRequest::start(asio::io_context& io, Options options,
                                                const AddressGuard& guard, Done done) {
  if (options.url.tls) return start_request<Tls>(io, std::move(options), guard, std::move(done));
  return start_request<tcp::socket>(io, std::move(options), guard, std::move(done));
}

}  // namespace virtufin::wsm

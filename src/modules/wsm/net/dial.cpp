#include "modules/wsm/net/dial.h"

#include <boost/asio/connect.hpp>
#include <string>
#include <vector>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::wsm {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

class DialOperation final : public Dial, public std::enable_shared_from_this<DialOperation> {
 public:
  DialOperation(boost::asio::io_context& io, const Url& url, const AddressGuard& guard, Done done)
      : url_(url), guard_(guard), done_(std::move(done)), resolver_(io), socket_(io) {}

  void run() {
    resolver_.async_resolve(url_.host, std::to_string(url_.port), tcp::resolver::numeric_service,
                            [self = shared_from_this()](const error_code& error,
                                                        const tcp::resolver::results_type& found) {
                              self->on_resolved(error, found);
                            });
  }

  void cancel() override {
    done_ = nullptr;
    resolver_.cancel();
    error_code ignored;  // a socket that does not close is closed by its destructor
    socket_.close(ignored);
  }

 private:
  void on_resolved(const error_code& error, const tcp::resolver::results_type& found) {
    if (!done_) return;
    if (error) {
      return finish({"resolve", unavailable("host '{}' does not resolve: {}", printable(url_.host),
                                            error.message())});
    }
    std::vector<tcp::endpoint> endpoints;
    absl::Status refused;
    for (const auto& entry : found) {
      const absl::Status status = guard_.check(url_.host, entry.endpoint().address());
      if (status.ok()) {
        endpoints.push_back(entry.endpoint());
      } else {
        refused = status;
      }
    }
    if (endpoints.empty()) return finish({"address", refused});
    boost::asio::async_connect(
        socket_, endpoints,
        [self = shared_from_this()](const error_code& failed, const tcp::endpoint&) {
          self->on_connected(failed);
        });
  }

  void on_connected(const error_code& error) {
    if (!done_) return;
    if (error) {
      return finish(
          {"connect", unavailable("{} does not answer: {}", url_.authority(), error.message())});
    }
    error_code ignored;  // without it we are slower, not wrong
    socket_.set_option(tcp::no_delay(true), ignored);
    finish({});
  }

  void finish(NetFailure failure) {
    const auto self = shared_from_this();
    auto done = std::move(done_);
    done_ = nullptr;
    done(std::move(failure), std::move(socket_));
  }

  const Url url_;
  const AddressGuard& guard_;
  Done done_;
  tcp::resolver resolver_;
  tcp::socket socket_;
};

}  // namespace

std::shared_ptr<Dial> Dial::start(boost::asio::io_context& io, const Url& url,
                                  const AddressGuard& guard, Done done) {
  auto operation = std::make_shared<DialOperation>(io, url, guard, std::move(done));
  operation->run();
  return operation;
}

}  // namespace virtufin::wsm

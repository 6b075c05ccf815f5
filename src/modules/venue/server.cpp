#include "modules/venue/server.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>
#include <thread>
#include <utility>

#include "core/errors.h"
#include "core/executor.h"
#include "modules/venue/exchange.h"
#include "modules/venue/http_session.h"
#include "modules/venue/playback.h"
#include "modules/venue/synthetic.h"

namespace virtufin::venue {
namespace {

using boost::asio::ip::tcp;

/// How long to wait before accepting again when the process is out of descriptors.
constexpr std::chrono::milliseconds kAcceptPause{100};

absl::StatusOr<std::unique_ptr<FrameSource>> make_source(Dialect dialect,
                                                         const VenueConfig& config) {
  if (config.source != "synthetic") {
    const auto stem = dialect == Dialect::kSpot ? "BINANCE" : "BINANCE_FUTURES";
    const auto recorded = read_recordings(config.recordings, stem);
    if (recorded.ok()) {
      auto playback = Playback::create(dialect, *recorded, {config.laps, config.keep_times});
      if (!playback.ok()) return playback.status();
      return std::unique_ptr<FrameSource>(*std::move(playback));
    }
    const bool absent = recorded.status().code() == absl::StatusCode::kNotFound;
    if (config.source == "recording" || !absent) return recorded.status();
    logger("venue")->info("{}: synthetic market ({})", name(dialect), message(recorded.status()));
  }
  SyntheticOptions options;
  options.symbols = config.symbols;
  options.seed = config.seed;
  options.rate = config.synthetic_rate;
  options.keep_times = config.keep_times;
  auto synthetic = SyntheticMarket::create(dialect, options);
  if (!synthetic.ok()) return synthetic.status();
  return std::unique_ptr<FrameSource>(*std::move(synthetic));
}

}  // namespace

struct VenueServer::Impl {
  Impl(const Clock& clock_in, Metrics& metrics_in, VenueConfig config_in)
      : config(std::move(config_in)),
        clock(clock_in),
        metrics(metrics_in),
        exchange(config, clock, metrics),
        acceptor(io),
        accept_pause(io) {}

  void accept();
  absl::Status add_markets();
  void end_all();

  const VenueConfig config;
  const Clock& clock;
  Metrics& metrics;
  boost::asio::io_context io{1};
  Exchange exchange;
  tcp::acceptor acceptor;
  boost::asio::steady_timer accept_pause;
  std::uint16_t port = 0;
  std::thread thread;
};

absl::Status VenueServer::Impl::add_markets() {
  for (const Dialect dialect : {Dialect::kSpot, Dialect::kFutures}) {
    const auto& wanted = config.markets;
    if (std::find(wanted.begin(), wanted.end(), name(dialect)) == wanted.end()) continue;
    auto source = make_source(dialect, config);
    if (!source.ok()) return with_context(source.status(), "venue");
    exchange.add_market(
        std::make_unique<Market>(dialect, *std::move(source), config, clock, metrics, io));
  }
  return absl::OkStatus();
}

void VenueServer::Impl::accept() {
  acceptor.async_accept([this](boost::system::error_code error, tcp::socket socket) {
    if (!acceptor.is_open()) return;
    if (error) {
      exchange.log()->warn("accepting a connection failed: {}", error.message());
      accept_pause.expires_after(kAcceptPause);
      accept_pause.async_wait([this](boost::system::error_code cancelled) {
        if (!cancelled && acceptor.is_open()) accept();
      });
      return;
    }
    boost::system::error_code ignored;  // an optimisation; the connection works without
    socket.set_option(tcp::no_delay(true), ignored);
    serve_http(exchange, std::move(socket));
    accept();
  });
}

/// When the loop's thread is gone: what is left of its work ends here, so that nothing outlives
/// what it refers to.
void VenueServer::Impl::end_all() {
  boost::system::error_code ignored;  // closing may not fail in a way that matters
  acceptor.close(ignored);
  accept_pause.cancel();
  for (const auto& market : exchange.markets()) market->stop();
  for (const auto& session : exchange.sessions()) session->abort();
  io.restart();
  io.run();
}

VenueServer::VenueServer(const Clock& clock, Metrics& metrics, VenueConfig config)
    : impl_(std::make_unique<Impl>(clock, metrics, std::move(config))) {}

VenueServer::~VenueServer() { stop(std::chrono::steady_clock::now()); }

absl::Status VenueServer::bind() {
  Impl& impl = *impl_;
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(impl.config.host, error);
  if (error) {
    return invalid_argument("venue.host '{}' is no IP address: {}", impl.config.host,
                            error.message());
  }
  const tcp::endpoint endpoint(address, impl.config.port);
  impl.acceptor.open(endpoint.protocol(), error);
  if (!error) impl.acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) impl.acceptor.bind(endpoint, error);
  if (!error) impl.acceptor.listen(boost::asio::socket_base::max_listen_connections, error);
  if (error) {
    boost::system::error_code ignored;  // the first error is the one to tell
    impl.acceptor.close(ignored);
    return unavailable("venue: cannot listen on {}:{}: {}; set venue.port to a free one",
                       impl.config.host, impl.config.port, error.message());
  }
  impl.port = impl.acceptor.local_endpoint().port();
  return absl::OkStatus();
}

std::uint16_t VenueServer::port() const { return impl_->port; }

absl::Status VenueServer::start() {
  Impl& impl = *impl_;
  if (!impl.acceptor.is_open()) return failed_precondition("venue: bind() comes before start()");
  VIRTUFIN_RETURN_IF_ERROR(impl.add_markets());
  impl.accept();
  if (impl.config.start == "now") {
    for (const auto& market : impl.exchange.markets()) market->begin();
  }
  impl.thread = std::thread([&impl] {
    set_thread_name("venue");
    impl.io.run();
  });
  return absl::OkStatus();
}

void VenueServer::close_intake() {
  boost::asio::post(impl_->io, [impl = impl_.get()] {
    boost::system::error_code ignored;  // it is closed afterwards either way
    impl->acceptor.close(ignored);
  });
}

void VenueServer::disconnect_clients() {
  boost::asio::post(impl_->io, [impl = impl_.get()] {
    for (const auto& session : impl->exchange.sessions()) session->abort();
  });
}

void VenueServer::stop(std::chrono::steady_clock::time_point deadline) {
  Impl& impl = *impl_;
  if (impl.thread.joinable()) {
    close_intake();
    // Shared: with a deadline in the past, the task runs when this function has moved on.
    const auto all_gone = std::make_shared<std::promise<void>>();
    boost::asio::post(impl.io, [&impl, all_gone] {
      for (const auto& market : impl.exchange.markets()) market->stop();
      impl.exchange.when_empty([all_gone] { all_gone->set_value(); });
      for (const auto& session : impl.exchange.sessions()) session->close();
    });
    all_gone->get_future().wait_until(deadline);
    impl.io.stop();
    impl.thread.join();
  }
  impl.end_all();
}

VenueStatus VenueServer::status() const { return impl_->exchange.status(); }

}  // namespace virtufin::venue

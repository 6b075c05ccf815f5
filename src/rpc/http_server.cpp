#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <mutex>

#include "core/errors.h"
#include "core/log.h"
#include "rpc/http_connection.h"
#include "rpc/http_dispatch.h"
#include "rpc/port.h"
#include "rpc/server.h"

namespace virtufin::rpc {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

/// How often timeouts are checked.
constexpr std::chrono::milliseconds kSweep{100};
/// Connections over the limit that are told so; more are closed at once.
constexpr std::int64_t kToldRefusals = 64;
constexpr int kBacklog = 1024;

}  // namespace

struct HttpServer::Impl {
  Impl(MethodTable& methods, Health& health, Metrics& metrics, Loops& process_loops,
       ServerLimits bounds)
      : loops(process_loops),
        limits(bounds),
        dispatch(methods, health, metrics),
        connections(metrics.gauge("virtufin_rpc_http_connections", "Open HTTP connections")),
        refused(metrics.counter("virtufin_rpc_http_connections_refused_total",
                                "HTTP connections over server.max_connections")) {
    for (std::size_t i = 0; i < loops.size(); ++i) {
      parts.push_back(std::make_unique<Part>(loops.at(i), limits));
    }
  }

  /// One loop's share.
  struct Part {
    Part(Loop& loop, const ServerLimits& bounds)
        : shard(std::make_shared<HttpShard>(loop, bounds)), sweep(loop.io()) {}
    const std::shared_ptr<HttpShard> shard;
    HttpDispatch::TableCache table;
    asio::steady_timer sweep;
    bool sweeping = false;
  };
  struct Listener {
    explicit Listener(asio::io_context& io) : acceptor(io), pause(io) {}
    tcp::acceptor acceptor;
    asio::steady_timer pause;  ///< when the process has no file descriptors left
  };

  void accept(Listener& listener);
  void adopt(Part& part, tcp::socket socket, bool one_too_many);
  void sweep_later(Part& part);
  void ended();
  /// Runs on every loop and waits for all.
  template <class Function>
  void on_every_loop(Function function);

  Loops& loops;
  const ServerLimits limits;
  HttpDispatch dispatch;
  const std::shared_ptr<Gauge> connections;
  const std::shared_ptr<Counter> refused;
  std::vector<std::unique_ptr<Part>> parts;
  std::vector<std::unique_ptr<Listener>> listeners;
  std::atomic<std::size_t> next_part{0};
  bool started = false;

  std::mutex mutex;
  std::condition_variable changed;
  std::int64_t open = 0;  ///< connections, those on their way to their loop included
};

void HttpServer::Impl::accept(Listener& listener) {
  if (!listener.acceptor.is_open()) return;
  Part& part = *parts[next_part.fetch_add(1, std::memory_order_relaxed) % parts.size()];
  listener.acceptor.async_accept(
      part.shard->loop.io(),
      [this, &listener, &part](boost::system::error_code error, tcp::socket socket) {
        if (error == asio::error::operation_aborted) return;
        if (error) {
          logger("rpc")->warn("accepting a connection: {}", error.message());
          listener.pause.expires_after(kSweep);
          listener.pause.async_wait([this, &listener](boost::system::error_code ended_early) {
            if (!ended_early) accept(listener);
          });
          return;
        }
        std::int64_t count = 0;
        {
          std::lock_guard lock(mutex);
          count = ++open;
        }
        connections->set(count);
        const bool one_too_many = count > limits.max_connections;
        if (one_too_many) refused->add();
        if (count > limits.max_connections + kToldRefusals) {
          socket.close(error);
          ended();
        } else {
          asio::post(part.shard->loop.io(),
                     [this, &part, one_too_many, socket = std::move(socket)]() mutable {
                       adopt(part, std::move(socket), one_too_many);
                     });
        }
        accept(listener);
      });
}

void HttpServer::Impl::adopt(Part& part, tcp::socket socket, bool one_too_many) {
  std::make_shared<HttpConnection>(part.shard, std::move(socket), one_too_many)->start();
  if (!part.sweeping) sweep_later(part);
}

void HttpServer::Impl::sweep_later(Part& part) {
  part.sweeping = !part.shard->connections.empty();
  if (!part.sweeping) return;
  part.sweep.expires_after(kSweep);
  part.sweep.async_wait([this, &part](boost::system::error_code error) {
    if (error) return;
    const SteadyTime now = std::chrono::steady_clock::now();
    auto& list = part.shard->connections;
    for (auto at = list.begin(); at != list.end();) {
      const std::shared_ptr<HttpConnection> connection = *at++;
      connection->check_time(now);
    }
    sweep_later(part);
  });
}

void HttpServer::Impl::ended() {
  std::lock_guard lock(mutex);
  --open;
  connections->set(open);
  changed.notify_all();
}

template <class Function>
void HttpServer::Impl::on_every_loop(Function function) {
  std::size_t left = parts.size();
  for (auto& part : parts) {
    asio::post(part->shard->loop.io(), [&, &here = *part] {
      function(here);
      std::lock_guard lock(mutex);
      --left;
      changed.notify_all();
    });
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return left == 0; });
}

HttpServer::HttpServer(MethodTable& methods, Health& health, Metrics& metrics, Loops& loops,
                       ServerLimits limits)
    : impl_(std::make_unique<Impl>(methods, health, metrics, loops, limits)) {
  for (auto& part : impl_->parts) {
    part->shard->dispatch = [impl = impl_.get(),
                             here = part.get()](const std::shared_ptr<HttpCall>& call) {
      impl->dispatch.dispatch(here->table, call);
    };
    part->shard->ended = [impl = impl_.get()] { impl->ended(); };
  }
}

HttpServer::~HttpServer() { drain(std::chrono::steady_clock::now()); }

void HttpServer::route(std::string_view verb, std::string_view path_template, HttpHandler handler) {
  impl_->dispatch.route(verb, path_template, std::move(handler));
}

absl::StatusOr<std::uint16_t> HttpServer::bind(const Endpoint& endpoint) {
  Impl& impl = *impl_;
  boost::system::error_code error;
  tcp::resolver resolver(impl.parts.front()->shard->loop.io());
  const auto found = resolver.resolve(endpoint.host, "0", tcp::resolver::passive, error);
  if (error) {
    return invalid_argument("cannot listen on {}: {} is no address of this machine ({})",
                            to_string(endpoint), endpoint.host, error.message());
  }
  // A name may have an IPv4 and an IPv6 address: both, on one port.
  Endpoint bound = endpoint;
  std::vector<std::unique_ptr<Impl::Listener>> listeners;
  for (const auto& entry : found) {
    const tcp::endpoint address(entry.endpoint().address(), bound.port);
    auto listener = std::make_unique<Impl::Listener>(
        impl.parts[listeners.size() % impl.parts.size()]->shard->loop.io());
    tcp::acceptor& acceptor = listener->acceptor;
    acceptor.open(address.protocol(), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error && address.protocol() == tcp::v6()) {
      acceptor.set_option(asio::ip::v6_only(true), error);
    }
    if (!error) acceptor.bind(address, error);
    if (!error) acceptor.listen(kBacklog, error);
    if (error == asio::error::address_in_use) return bind_error(bound, error.value());
    if (error) continue;  // an address family that this machine does not have
    bound.port = acceptor.local_endpoint().port();
    listeners.push_back(std::move(listener));
  }
  if (listeners.empty()) return bind_error(endpoint, error.value());
  for (auto& listener : listeners) impl.listeners.push_back(std::move(listener));
  return bound.port;
}

absl::Status HttpServer::start() {
  if (impl_->started) return failed_precondition("the HTTP server runs already");
  impl_->started = true;
  for (auto& listener : impl_->listeners) impl_->accept(*listener);
  return absl::OkStatus();
}

void HttpServer::drain(std::chrono::steady_clock::time_point deadline) {
  Impl& impl = *impl_;
  // Acceptors are closed on their loops, where they accept.
  for (auto& listener : impl.listeners) {
    asio::post(listener->acceptor.get_executor(), [&here = *listener] {
      boost::system::error_code ignored;  // closing cannot fail in a way that we could mend
      here.acceptor.close(ignored);
      here.pause.cancel();
    });
  }
  // All loops know before the first connection ends: who sees one end is told so by the others.
  impl.on_every_loop([](Impl::Part& part) { part.shard->draining = true; });
  impl.on_every_loop([](Impl::Part& part) {
    auto& list = part.shard->connections;
    for (auto at = list.begin(); at != list.end();) {
      const std::shared_ptr<HttpConnection> connection = *at++;
      connection->drain();
    }
  });
  {
    std::unique_lock lock(impl.mutex);
    impl.changed.wait_until(lock, deadline, [&] { return impl.open == 0; });
  }
  impl.on_every_loop([](Impl::Part& part) {
    while (!part.shard->connections.empty()) {
      const std::shared_ptr<HttpConnection> connection = part.shard->connections.front();
      connection->close();
    }
    part.sweep.cancel();
  });
  {
    // What was still on its way to its loop closes there, because the shard drains.
    std::unique_lock lock(impl.mutex);
    impl.changed.wait(lock, [&] { return impl.open == 0; });
  }
  // Completions that were cancelled have been posted; they run before this does.
  impl.on_every_loop([](Impl::Part&) {});
  impl.listeners.clear();
}

}  // namespace virtufin::rpc

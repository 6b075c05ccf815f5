#include "app/health_command.h"

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <cstdio>
#include <memory>

#include "core/errors.h"
#include "core/log.h"
#include "rpc/port.h"

namespace virtufin::app {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Error = boost::system::error_code;

constexpr std::uint64_t kMaxBodyBytes = 1 << 20;
constexpr std::size_t kMaxShownBytes = 4096;

/// One request and its answer, on the io_context of who asks. Life: until its last handler ran.
class Question : public std::enable_shared_from_this<Question> {
 public:
  Question(asio::io_context& io, const rpc::Endpoint& endpoint)
      : endpoint_(endpoint), resolver_(io), stream_(io) {
    response_.body_limit(kMaxBodyBytes);
  }

  void ask(std::chrono::milliseconds timeout) {
    stream_.expires_after(timeout);
    request_.method(http::verb::get);
    request_.target("/health");
    request_.set(http::field::host, rpc::to_string(endpoint_));
    request_.keep_alive(false);
    resolver_.async_resolve(
        endpoint_.host, std::to_string(endpoint_.port),
        [self = shared_from_this()](Error error, asio::ip::tcp::resolver::results_type found) {
          if (error) return self->fail(error);
          self->stream_.async_connect(found, [self](Error failed, const asio::ip::tcp::endpoint&) {
            if (failed) return self->fail(failed);
            self->send();
          });
        });
  }

  /// What came of it; UNAVAILABLE as long as nothing did.
  absl::StatusOr<std::string> take_answer() && { return std::move(answer_); }

 private:
  void send() {
    http::async_write(stream_, request_, [self = shared_from_this()](Error error, std::size_t) {
      if (error) return self->fail(error);
      http::async_read(self->stream_, self->buffer_, self->response_,
                       [self](Error failed, std::size_t) {
                         if (failed) return self->fail(failed);
                         self->finish();
                       });
    });
  }

  void finish() {
    auto& message = response_.get();
    if (message.result() == http::status::ok) {
      answer_ = std::move(message.body());
    } else {
      answer_ = unavailable("{} is not ready, {}: {}", rpc::to_string(endpoint_),
                            message.result_int(), printable(message.body(), kMaxShownBytes));
    }
  }

  void fail(Error error) {
    answer_ = unavailable("{} does not answer: {}", rpc::to_string(endpoint_), error.message());
  }

  const rpc::Endpoint endpoint_;
  asio::ip::tcp::resolver resolver_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  http::request<http::empty_body> request_;
  http::response_parser<http::string_body> response_;
  absl::StatusOr<std::string> answer_ = unavailable("no answer in time");
};

std::string reachable(const std::string& host) {
  Error error;
  const auto address = asio::ip::make_address(host, error);
  if (error || !address.is_unspecified()) return host;
  return address.is_v6() ? "::1" : "127.0.0.1";
}

int health(const std::string& path, std::chrono::milliseconds timeout) {
  const auto fail = [](const absl::Status& status) {
    fmt::print(stderr, "virtufin health: {}\n", message(status));
    return 1;
  };
  const auto loaded = load_config(path, Config::process_environment());
  if (!loaded.ok()) return fail(loaded.status());
  const auto endpoint = health_endpoint(loaded->process);
  if (!endpoint.ok()) return fail(endpoint.status());
  const auto answer = ask_health(*endpoint, timeout);
  if (!answer.ok()) return fail(answer.status());
  fmt::print("{}\n", *answer);
  return 0;
}

}  // namespace

absl::StatusOr<rpc::Endpoint> health_endpoint(const ProcessConfig& config) {
  rpc::Endpoint endpoint{"", 0};
  const char* module = "";
  if (config.gateway_enabled) {
    module = "gateway";
    endpoint = {config.gateway.host, config.gateway.http_port};
  } else if (config.workmanager_enabled) {
    module = "workmanager";
    endpoint = {config.workmanager.host, config.workmanager.http_port};
  } else if (config.wsm_enabled) {
    module = "wsm";
    endpoint = {config.wsm.host, config.wsm.http_port};
  } else {
    return failed_precondition(
        "no module of this configuration answers /health: gateway, workmanager and wsm are off");
  }
  if (endpoint.port == 0) {
    return failed_precondition(
        "{}.http_port is 0, a port that only the running process knows: give it a number", module);
  }
  endpoint.host = reachable(endpoint.host);
  return endpoint;
}

absl::StatusOr<std::string> ask_health(const rpc::Endpoint& endpoint,
                                       std::chrono::milliseconds timeout) {
  asio::io_context io;
  const auto question = std::make_shared<Question>(io, endpoint);
  question->ask(timeout);
  io.run_for(timeout);  // names are resolved outside the stream's own deadline
  return std::move(*question).take_answer();
}

void add_health(CLI::App& cli, Command& command) {
  CLI::App* subcommand =
      cli.add_subcommand("health", "Ask the process that runs here whether it is ready");
  auto path = std::make_shared<std::string>();
  auto timeout_ms = std::make_shared<int>(2000);
  subcommand->add_option("--config", *path, "The TOML file that the process runs with")
      ->type_name("FILE");
  subcommand->add_option("--timeout-ms", *timeout_ms, "For the answer (default 2000)")
      ->check(CLI::Range(1, 600'000));
  subcommand->callback([path, timeout_ms, &command] {
    command = [path, timeout_ms] { return health(*path, std::chrono::milliseconds(*timeout_ms)); };
  });
}

}  // namespace virtufin::app

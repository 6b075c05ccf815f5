#include "app/health_command.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <catch2/catch.hpp>
#include <string>
#include <thread>

#include "app/process.h"
#include "core/errors.h"

using namespace std::chrono_literals;
using virtufin::message;
using virtufin::app::ask_health;
using virtufin::app::health_endpoint;
using virtufin::app::Process;
using virtufin::app::ProcessConfig;
using Tcp = boost::asio::ip::tcp;

TEST_CASE("health is asked of the first module that answers HTTP, over loopback") {
  ProcessConfig config;
  config.gateway.host = "0.0.0.0";
  CHECK(health_endpoint(config)->host == "127.0.0.1");
  CHECK(health_endpoint(config)->port == 5001);

  config.gateway_enabled = false;
  config.workmanager.host = "::";
  CHECK(health_endpoint(config)->host == "::1");
  CHECK(health_endpoint(config)->port == 25001);

  config.workmanager_enabled = false;
  config.wsm.host = "192.0.2.1";
  CHECK(health_endpoint(config)->host == "192.0.2.1");
  CHECK(health_endpoint(config)->port == 15001);

  config.wsm.http_port = 0;
  CHECK(message(health_endpoint(config).status()).find("wsm.http_port") != std::string::npos);

  config.wsm_enabled = false;
  CHECK(health_endpoint(config).status().code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("a process that serves is healthy, one that stopped does not answer") {
  ProcessConfig config;
  config.gateway.http_port = config.gateway.grpc_port = 0;
  config.wsm_enabled = config.workmanager_enabled = false;
  Process process(config);
  REQUIRE(process.start().ok());
  const auto endpoint = process.addresses().front().http;
  const auto answer = ask_health(endpoint, 10s);
  INFO(answer.status());
  REQUIRE(answer.ok());
  CHECK(answer->find(R"("status":"Healthy")") != std::string::npos);

  process.stop();
  CHECK(ask_health(endpoint, 10s).status().code() == absl::StatusCode::kUnavailable);
}

TEST_CASE("what a process that is not ready says is passed on") {
  boost::asio::io_context io;
  Tcp::acceptor acceptor(io, {boost::asio::ip::make_address("127.0.0.1"), 0});
  std::string request;
  std::thread server([&acceptor, &request] {
    Tcp::socket socket = acceptor.accept();
    boost::asio::read_until(socket, boost::asio::dynamic_buffer(request), "\r\n\r\n");
    boost::asio::write(socket, boost::asio::buffer(std::string(
                                   "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 15\r\n\r\n"
                                   "sidecar is away")));
  });
  const auto answer = ask_health({"127.0.0.1", acceptor.local_endpoint().port()}, 10s);
  server.join();
  CHECK(request.starts_with("GET /health HTTP/1.1\r\n"));
  CHECK(answer.status().code() == absl::StatusCode::kUnavailable);
  CHECK(message(answer.status()).find("503: sidecar is away") != std::string::npos);
}

TEST_CASE("a process that takes the connection and says nothing is not healthy") {
  boost::asio::io_context io;
  const Tcp::acceptor silent(io, {boost::asio::ip::make_address("127.0.0.1"), 0});
  const auto answer = ask_health({"127.0.0.1", silent.local_endpoint().port()}, 50ms);
  CHECK(answer.status().code() == absl::StatusCode::kUnavailable);
}

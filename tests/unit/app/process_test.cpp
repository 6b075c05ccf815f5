#include "app/process.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <catch2/catch.hpp>

#include "core/errors.h"

using virtufin::message;
using virtufin::app::Process;
using virtufin::app::ProcessConfig;
using Tcp = boost::asio::ip::tcp;

namespace {

/// Every port a free one.
ProcessConfig on_free_ports() {
  ProcessConfig config;
  config.gateway.http_port = config.gateway.grpc_port = 0;
  config.wsm.http_port = config.wsm.grpc_port = 0;
  config.workmanager.http_port = config.workmanager.grpc_port = 0;
  config.venue.port = 0;
  config.drain = std::chrono::milliseconds(2000);
  return config;
}

/// The whole answer to a GET, head and body.
std::string get(std::uint16_t port, const std::string& path) {
  boost::asio::io_context io;
  Tcp::socket socket(io);
  socket.connect({boost::asio::ip::make_address("127.0.0.1"), port});
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  boost::asio::write(socket, boost::asio::buffer(request));
  std::string answer;
  boost::system::error_code error;
  boost::asio::read(socket, boost::asio::dynamic_buffer(answer), error);
  REQUIRE(error == boost::asio::error::eof);
  return answer;
}

bool refuses_connections(std::uint16_t port) {
  boost::asio::io_context io;
  Tcp::socket socket(io);
  boost::system::error_code error;
  socket.connect({boost::asio::ip::make_address("127.0.0.1"), port}, error);
  return error == boost::asio::error::connection_refused;
}

}  // namespace

TEST_CASE("a process of all modules starts, answers and stops") {
  ProcessConfig config = on_free_ports();
  config.venue_enabled = true;
  config.venue.source = "synthetic";
  Process process(config);
  const absl::Status started = process.start();
  INFO(started);
  REQUIRE(started.ok());

  REQUIRE(process.addresses().size() == 3);
  CHECK(process.addresses()[0].module == "gateway");
  CHECK(process.gateway() != nullptr);
  CHECK(process.workmanager() != nullptr);
  CHECK(process.venue() != nullptr);
  CHECK(process.wsm() != nullptr);
  CHECK(process.instance_id().size() == 36);
  for (const auto& address : process.addresses()) {
    INFO(address.module);
    const std::string version = get(address.http.port, "/version");
    CHECK(version.starts_with("HTTP/1.1 200"));
    CHECK(version.find(R"("modules":["gateway","workmanager","venue","wsm"]})") !=
          std::string::npos);
    CHECK(get(address.http.port, "/health").starts_with("HTTP/1.1 200"));
    CHECK(get(address.http.port, "/metrics").find("virtufin_build_info{") != std::string::npos);
  }

  const std::uint16_t port = process.addresses()[0].http.port;
  process.stop();
  process.stop();
  CHECK(refuses_connections(port));
}

TEST_CASE("one module alone serves its own ports") {
  ProcessConfig config = on_free_ports();
  config.gateway_enabled = config.workmanager_enabled = false;
  config.instance_id = "i-1";
  Process process(config);
  REQUIRE(process.start().ok());
  CHECK(process.instance_id() == "i-1");
  CHECK(process.gateway() == nullptr);
  REQUIRE(process.addresses().size() == 1);
  CHECK(process.addresses()[0].module == "wsm");
  CHECK(get(process.addresses()[0].http.port, "/version").find(R"("modules":["wsm"]})") !=
        std::string::npos);
}

TEST_CASE("a port in use is told by key, host and port, and nothing has started") {
  boost::asio::io_context io;
  Tcp::acceptor taken(io, {boost::asio::ip::make_address("127.0.0.1"), 0});
  const std::uint16_t port = taken.local_endpoint().port();
  for (const bool grpc : {false, true}) {
    ProcessConfig config = on_free_ports();
    (grpc ? config.wsm.grpc_port : config.wsm.http_port) = port;
    Process process(config);
    const absl::Status started = process.start();
    CHECK(started.code() == absl::StatusCode::kUnavailable);
    INFO(started);
    CHECK(message(started).starts_with(grpc ? "wsm.grpc_port: " : "wsm.http_port: "));
    CHECK(message(started).find("127.0.0.1:" + std::to_string(port)) != std::string_view::npos);
  }
}

TEST_CASE("a process that never started is destroyed quietly") {
  Process process(on_free_ports());
  process.stop();
  CHECK(process.addresses().empty());
}

// The bare servers that ours are measured against: what a careful program on the same libraries
// would do for one fixed answer, and nothing else.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cstdio>
#include <memory>
#include <thread>

#include "rpc/floors.h"
#include "rpc/servers.h"

namespace virtufin::bench {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

struct Bare {
  grpc::AsyncGenericService service;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  grpc::ByteBuffer reply;
};

struct BareCall {
  enum class Step { kArrive, kRead, kFinish };
  explicit BareCall(Bare& server) : bare(server), stream(&context) {
    bare.service.RequestCall(&context, &stream, bare.queue.get(), bare.queue.get(), this);
  }
  /// False: the call is over.
  bool proceed(bool ok) {
    switch (step) {
      case Step::kArrive:
        if (!ok) return false;
        new BareCall(bare);
        step = Step::kRead;
        stream.Read(&request, this);
        return true;
      case Step::kRead:
        step = Step::kFinish;
        stream.WriteAndFinish(bare.reply, grpc::WriteOptions(), grpc::Status::OK, this);
        return true;
      case Step::kFinish: break;
    }
    return false;
  }
  Bare& bare;
  grpc::GenericServerContext context;
  grpc::GenericServerAsyncReaderWriter stream;
  grpc::ByteBuffer request;
  Step step = Step::kArrive;
};

grpc::ByteBuffer filled(std::size_t bytes) {
  const grpc::Slice slice(std::string(bytes, 'x'));
  return grpc::ByteBuffer(&slice, 1);
}

std::unique_ptr<grpc::Server> start(Bare& bare) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterAsyncGenericService(&bare.service);
  bare.queue = builder.AddCompletionQueue();
  auto server = builder.BuildAndStart();
  std::printf("%d\n", port);
  std::fflush(stdout);
  return server;
}

}  // namespace

int serve_grpc_floor(std::size_t reply_bytes) {
  Bare bare;
  bare.reply = filled(reply_bytes);
  const auto server = start(bare);
  for (int i = 0; i < 32; ++i) new BareCall(bare);
  std::thread([] {
    char byte = 0;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    _exit(0);
  }).detach();
  void* tag = nullptr;
  bool ok = false;
  while (bare.queue->Next(&tag, &ok)) {
    auto* call = static_cast<BareCall*>(tag);
    if (!call->proceed(ok)) delete call;
  }
  return 0;
}

namespace {

struct BareHttp : std::enable_shared_from_this<BareHttp> {
  BareHttp(asio::ip::tcp::socket accepted, const std::string& reply_body)
      : socket(std::move(accepted)), body(reply_body) {}
  void read() {
    request = {};
    http::async_read(socket, in, request,
                     [self = shared_from_this()](boost::system::error_code error, std::size_t) {
                       if (!error) self->answer();
                     });
  }
  void answer() {
    response = {http::status::ok, request.version()};
    response.set(http::field::content_type, "application/json");
    response.keep_alive(request.keep_alive());
    response.body() = body;
    response.prepare_payload();
    http::async_write(socket, response,
                      [self = shared_from_this()](boost::system::error_code error, std::size_t) {
                        if (!error) self->read();
                      });
  }
  asio::ip::tcp::socket socket;
  const std::string& body;
  boost::beast::flat_buffer in;
  http::request<http::string_body> request;
  http::response<http::string_body> response;
};

void accept(asio::ip::tcp::acceptor& acceptor, const std::string& body) {
  acceptor.async_accept([&](boost::system::error_code error, asio::ip::tcp::socket socket) {
    if (error) return;
    socket.set_option(asio::ip::tcp::no_delay(true));
    std::make_shared<BareHttp>(std::move(socket), body)->read();
    accept(acceptor, body);
  });
}

}  // namespace

int serve_http_floor(std::size_t reply_bytes) {
  asio::io_context io(1);
  asio::ip::tcp::acceptor acceptor(io, {asio::ip::make_address("127.0.0.1"), 0});
  std::printf("%d\n", acceptor.local_endpoint().port());
  std::fflush(stdout);
  const std::string body(reply_bytes, 'x');
  accept(acceptor, body);
  std::thread([] {
    char byte = 0;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    _exit(0);
  }).detach();
  io.run();
  return 0;
}

}  // namespace virtufin::bench

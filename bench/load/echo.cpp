#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <mutex>
#include <thread>

#include "load/frame_server.h"

namespace virtufin::bench {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using tcp = asio::ip::tcp;

/// One server stream on a bare completion queue; writes wait their turn.
class StreamServer {
 public:
  StreamServer(std::uint16_t port, std::size_t reply_bytes) {
    const grpc::Slice slice(std::string(reply_bytes, 'x'));
    reply_ = grpc::ByteBuffer(&slice, 1);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port),
                             grpc::InsecureServerCredentials());
    builder.RegisterAsyncGenericService(&service_);
    queue_ = builder.AddCompletionQueue();
    server_ = builder.BuildAndStart();
    service_.RequestCall(&context_, &stream_, queue_.get(), queue_.get(), this);
  }

  void run() {
    void* tag = nullptr;
    bool ok = false;
    bool called = false;
    while (queue_->Next(&tag, &ok)) {
      if (!called) {
        called = true;
        stream_.SendInitialMetadata(&written_);
        writing_ = true;
        continue;
      }
      std::lock_guard lock(mutex_);
      writing_ = waiting_ > 0;
      if (writing_) {
        --waiting_;
        stream_.Write(reply_, &written_);
      }
    }
  }

  void reply() {
    std::lock_guard lock(mutex_);
    if (writing_) {
      ++waiting_;
      return;
    }
    writing_ = true;
    stream_.Write(reply_, &written_);
  }

 private:
  grpc::AsyncGenericService service_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  grpc::ByteBuffer reply_;
  std::mutex mutex_;
  bool writing_ = true;  // until somebody calls
  std::size_t waiting_ = 0;
  char written_ = 0;
};

}  // namespace

void run_echo(std::uint16_t frame_port, std::uint16_t grpc_port, std::size_t reply_bytes) {
  StreamServer server(grpc_port, reply_bytes);
  std::thread grpc([&] { server.run(); });

  asio::io_context io;
  beast::websocket::stream<tcp::socket> socket(io);
  socket.next_layer().connect({asio::ip::address_v4::loopback(), frame_port});
  socket.next_layer().set_option(tcp::no_delay(true));
  socket.handshake("127.0.0.1", "/stream");
  beast::flat_buffer buffer;
  std::function<void()> read = [&] {
    socket.async_read(buffer, [&](beast::error_code error, std::size_t) {
      if (error) return;
      server.reply();
      buffer.clear();
      read();
    });
  };
  read();
  io.run();
  std::_Exit(0);  // the load has closed its end; the server's thread has nothing to finish
}

}  // namespace virtufin::bench

#include "rpc/clients.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <memory>
#include <stdexcept>
#include <vector>

namespace virtufin::bench {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

constexpr int kCalls = 64;
constexpr int kChannels = 4;
constexpr int kHttpConnections = 32;
constexpr std::chrono::milliseconds kWarmUp{300};

grpc::ByteBuffer buffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

std::string bytes_of(grpc::ByteBuffer& from) {
  grpc::Slice slice;
  if (!from.DumpToSingleSlice(&slice).ok()) return {};
  return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
}

/// The generic stubs of a few connections of their own.
struct Stubs {
  Stubs(int port, int count) {
    for (int i = 0; i < count; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt("grpc.use_local_subchannel_pool", 1);
      stubs.push_back(std::make_unique<grpc::GenericStub>(grpc::CreateCustomChannel(
          "127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials(), arguments)));
    }
  }
  grpc::GenericStub& at(int i) { return *stubs[static_cast<std::size_t>(i) % stubs.size()]; }
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs;
};

/// Marks the beginning after the warm-up and the end after the span.
class Window {
 public:
  Window(std::chrono::milliseconds span, const std::function<void()>& mark)
      : begin_(Clock::now() + kWarmUp), end_(begin_ + span), mark_(mark) {}
  /// True while the load goes on.
  bool count(std::int64_t n = 1) {
    const auto now = Clock::now();
    if (!begun_ && now >= begin_) {
      begun_ = true;
      mark_();
    }
    if (!ended_ && now >= end_) {
      ended_ = true;
      mark_();
    }
    if (begun_ && !ended_) counted_ += n;
    return !ended_;
  }
  std::int64_t counted() const { return counted_; }

 private:
  const Clock::time_point begin_;
  const Clock::time_point end_;
  const std::function<void()>& mark_;
  bool begun_ = false;
  bool ended_ = false;
  std::int64_t counted_ = 0;
};

struct UnaryCall {
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
  grpc::ByteBuffer reply;
  grpc::Status status;

  void start(grpc::GenericStub& stub, const std::string& path, const grpc::ByteBuffer& request,
             grpc::CompletionQueue& queue) {
    context = std::make_unique<grpc::ClientContext>();
    reader = stub.PrepareUnaryCall(context.get(), path, request, &queue);
    reader->StartCall();
    reader->Finish(&reply, &status, this);
  }
};

}  // namespace

std::int64_t grpc_load(int port, const std::string& path, const std::string& request,
                       std::chrono::milliseconds span, const std::function<void()>& mark) {
  Stubs stubs(port, kChannels);
  grpc::CompletionQueue queue;
  const grpc::ByteBuffer bytes = buffer(request);
  std::vector<UnaryCall> calls(kCalls);
  for (int i = 0; i < kCalls; ++i)
    calls[static_cast<std::size_t>(i)].start(stubs.at(i), path, bytes, queue);
  Window window(span, mark);
  int running = kCalls;
  void* tag = nullptr;
  bool ok = false;
  while (running > 0 && queue.Next(&tag, &ok)) {
    auto* call = static_cast<UnaryCall*>(tag);
    if (!call->status.ok()) throw std::runtime_error("grpc: " + call->status.error_message());
    if (window.count()) {
      call->start(stubs.at(static_cast<int>(call - calls.data())), path, bytes, queue);
    } else {
      --running;
    }
  }
  return window.counted();
}

std::string grpc_once(int port, const std::string& path, const std::string& request) {
  Stubs stubs(port, 1);
  grpc::CompletionQueue queue;
  UnaryCall call;
  call.start(stubs.at(0), path, buffer(request), queue);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (!call.status.ok()) throw std::runtime_error("grpc: " + call.status.error_message());
  return bytes_of(call.reply);
}

namespace {

/// One connection of the load: the request out, the answer in, again. All answers have one length.
struct HttpLoop {
  HttpLoop(asio::io_context& io, int port) : socket(io) {
    socket.connect({asio::ip::make_address("127.0.0.1"), static_cast<std::uint16_t>(port)});
    socket.set_option(asio::ip::tcp::no_delay(true));
  }
  void go(const std::string& request, Window& window) {
    asio::write(socket, asio::buffer(request));
    asio::async_read(socket, asio::buffer(answer),
                     [this, &request, &window](boost::system::error_code error, std::size_t) {
                       if (error) throw std::runtime_error("http: " + error.message());
                       if (answer.compare(0, 12, "HTTP/1.1 200") != 0) {
                         throw std::runtime_error("http: " + answer);
                       }
                       if (window.count()) go(request, window);
                     });
  }
  asio::ip::tcp::socket socket;
  std::string answer;
};

/// One answer with its head.
std::string whole_answer(int port, const std::string& request, std::size_t& body_at) {
  asio::io_context io;
  HttpLoop once(io, port);
  asio::write(once.socket, asio::buffer(request));
  std::string answer;
  asio::read_until(once.socket, asio::dynamic_buffer(answer), "\r\n\r\n");
  body_at = answer.find("\r\n\r\n") + 4;
  const std::size_t length_at = answer.find("Content-Length: ");
  if (length_at == std::string::npos) throw std::runtime_error("http: " + answer);
  const std::size_t whole = body_at + std::stoul(answer.substr(length_at + 16));
  if (answer.size() < whole) {
    asio::read(once.socket, asio::dynamic_buffer(answer),
               asio::transfer_exactly(whole - answer.size()));
  }
  return answer;
}

}  // namespace

std::int64_t http_load(int port, const std::string& request, std::chrono::milliseconds span,
                       const std::function<void()>& mark) {
  std::size_t body_at = 0;
  const std::string first = whole_answer(port, request, body_at);
  asio::io_context io;
  Window window(span, mark);
  std::vector<std::unique_ptr<HttpLoop>> loops;
  for (int i = 0; i < kHttpConnections; ++i) {
    loops.push_back(std::make_unique<HttpLoop>(io, port));
    loops.back()->answer.resize(first.size());
    loops.back()->go(request, window);
  }
  io.run();
  return window.counted();
}

std::string http_once(int port, const std::string& request) {
  std::size_t body_at = 0;
  const std::string answer = whole_answer(port, request, body_at);
  return answer.substr(body_at);
}

}  // namespace virtufin::bench

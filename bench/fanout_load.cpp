// Subscribe's fan-out to a hundred clients, each on a connection of its own, beside a bare
// completion-queue server that writes the same bytes to a hundred streams. Each server is a process
// of its own, the client is the same; messages a second from the first to the last that arrives.
#include <fmt/format.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "bus/memory/memory_bus.h"
#include "core/event_writer.h"
#include "load/platform_process.h"
#include "modules/gateway/fanout.h"
#include "modules/gateway/pubsub_service.h"
#include "rpc/server.h"
#include "virtufin/pubsub.pb.h"

namespace virtufin::bench {
namespace {

using Steady = std::chrono::steady_clock;

constexpr std::size_t kStreams = 100;
constexpr std::size_t kEvents = 2000;  // fewer than a stream's queue holds: nothing is dropped
constexpr int kRounds = 3;
constexpr const char* kTopic = "act.exchange.binance.orderbook.update";
constexpr const char* kMethod = "/virtufin.Pubsub/Subscribe";

EventPtr sample() {
  const std::vector<Extension> extensions{{"scenarioid", "LIVE"},
                                          {"exchange", "binance"},
                                          {"clocktype", "wall"},
                                          {"eventtime", "2026-01-31T12:34:56.123456789Z"},
                                          {"walltime", "2026-01-31T12:34:56.123456789Z"},
                                          {"marketlane", "act"},
                                          {"portfoliolane", "act"},
                                          {"strategylane", "act"}};
  EventFields fields;
  fields.id = "0190b1f2-0000-8000-8000-000000000001";
  fields.type = "com.virtufin.exchange.binance.orderbook.updated";
  fields.source = "urn:com.virtufin.websocketmanager";
  fields.subject = "currency_pair/BTCUSDT";
  fields.time = "2026-01-31T12:34:56.123456789Z";
  fields.data_content_type = "application/json";
  fields.data = as_bytes(
      R"({"bids_delta":[["63251.10","0.42"]],"asks_delta":[["63251.20","0"]],"first_update_id":1,"last_update_id":2})");
  fields.extensions = extensions;
  return *make_event(fields);
}

/// The bytes of a response as the gateway serialises it.
grpc::ByteBuffer sample_bytes() {
  Metrics metrics;
  bus::MemoryBus bus({}, metrics);
  gateway::FanoutEvent event(bus.topic(kTopic), sample());
  event.make_proto();
  const std::string_view bytes = rpc::view(*event.proto());
  const grpc::Slice slice(bytes.data(), bytes.size());
  return grpc::ByteBuffer(&slice, 1);
}

/// The floor: streams on one completion queue and one thread, each write issued by the last one.
void serve_bare(std::uint16_t port) {
  struct Stream {
    grpc::GenericServerContext context;
    grpc::GenericServerAsyncReaderWriter call{&context};
    grpc::ByteBuffer request;
    enum { kAccepting, kReading, kStarting, kWriting } step = kAccepting;
    std::size_t written = 0;
  };
  const grpc::ByteBuffer bytes = sample_bytes();
  grpc::AsyncGenericService service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(fmt::format("127.0.0.1:{}", port), grpc::InsecureServerCredentials());
  builder.RegisterAsyncGenericService(&service);
  const auto queue = builder.AddCompletionQueue();
  const auto server = builder.BuildAndStart();
  std::vector<std::unique_ptr<Stream>> streams;
  std::size_t standing = 0;
  const auto accept = [&] {
    Stream& next = *streams.emplace_back(std::make_unique<Stream>());
    service.RequestCall(&next.context, &next.call, queue.get(), queue.get(), &next);
  };
  const auto write = [&](Stream& stream) {
    if (stream.written++ < kEvents) stream.call.Write(bytes, &stream);
  };
  accept();
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) {
    Stream& stream = *static_cast<Stream*>(tag);
    if (!ok) continue;
    switch (stream.step) {
      case Stream::kAccepting:
        accept();
        stream.step = Stream::kReading;
        stream.call.Read(&stream.request, &stream);
        break;
      case Stream::kReading:
        stream.step = Stream::kStarting;
        stream.call.SendInitialMetadata(&stream);
        break;
      case Stream::kStarting:
        stream.step = Stream::kWriting;
        if (++standing == kStreams) {
          for (const auto& each : streams) {
            if (each->step == Stream::kWriting) write(*each);
          }
        }
        break;
      case Stream::kWriting: write(stream); break;
    }
  }
}

/// The gateway's Pubsub behind the real server; publishes when all clients are there.
void serve_gateway(std::uint16_t port) {
  Metrics metrics;
  bus::MemoryBus bus({}, metrics);
  rpc::MethodTable methods;
  rpc::Health health;
  const auto fanout = std::make_shared<gateway::Fanout>(bus, metrics, gateway::GatewayConfig{});
  const auto pubsub = std::make_shared<gateway::PubsubService>(bus, fanout);
  pubsub->register_methods(methods);
  rpc::GrpcServer server(methods, health, metrics, {});
  if (!server.bind({"127.0.0.1", port}).ok() || !server.start().ok()) return;
  health.set_serving(true);
  while (fanout->open_streams() < kStreams) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const auto topic = bus.topic(kTopic);
  const EventPtr event = sample();
  for (std::size_t i = 0; i < kEvents; ++i) bus.publish(topic, event);
  for (;;)
    std::this_thread::sleep_for(std::chrono::hours(1));  // until the client ends this process
}

/// A hundred streams on one completion queue; answers the messages a second.
double receive(std::uint16_t port) {
  struct Stream {
    explicit Stream(const std::string& target) {
      grpc::ChannelArguments own;
      own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
      channel = grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), own);
      stub = std::make_unique<grpc::GenericStub>(channel);
    }
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<grpc::GenericStub> stub;
    grpc::ClientContext context;
    std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call;
    grpc::ByteBuffer message;
    enum { kStarting, kSubscribing, kReading } step = kStarting;
  };
  SubscribeRequest wanted;
  wanted.add_topics(kTopic);
  const grpc::Slice slice(wanted.SerializeAsString());
  const grpc::ByteBuffer request(&slice, 1);
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<Stream>> streams;
  const auto patience = std::chrono::system_clock::now() + std::chrono::seconds(120);
  for (std::size_t i = 0; i < kStreams; ++i) {
    Stream& stream =
        *streams.emplace_back(std::make_unique<Stream>(fmt::format("127.0.0.1:{}", port)));
    stream.context.set_deadline(patience);
    stream.context.set_wait_for_ready(true);
    stream.call = stream.stub->PrepareCall(&stream.context, kMethod, &queue);
    stream.call->StartCall(&stream);
  }
  std::size_t received = 0;
  Steady::time_point first;
  void* tag = nullptr;
  bool ok = false;
  while (received < kStreams * kEvents && queue.Next(&tag, &ok)) {
    Stream& stream = *static_cast<Stream*>(tag);
    if (!ok) throw std::runtime_error(fmt::format("a stream ended after {} messages", received));
    if (stream.step == Stream::kStarting) {
      stream.step = Stream::kSubscribing;
      stream.call->WriteLast(request, grpc::WriteOptions(), &stream);
      continue;
    }
    if (stream.step == Stream::kReading) {
      if (received++ == 0) first = Steady::now();
    }
    stream.step = Stream::kReading;
    stream.call->Read(&stream.message, &stream);
  }
  const std::chrono::duration<double> took = Steady::now() - first;
  for (const auto& stream : streams) stream->context.TryCancel();
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  return static_cast<double>(received) / took.count();
}

/// Processor time that a process has used, all threads.
double cpu_seconds(pid_t pid) {
  std::ifstream stat(fmt::format("/proc/{}/stat", pid));
  std::string text;
  std::getline(stat, text);
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

struct Figures {
  std::vector<double> rate, cpu_us;  ///< messages a second; of the server, a message

  void measure(const std::string& self, const std::string& role) {
    const std::uint16_t port = free_port();
    const Child server({self, role, std::to_string(port)}, {});
    rate.push_back(receive(port));
    cpu_us.push_back(1e6 * cpu_seconds(server.pid()) / (kStreams * kEvents));
  }
};

double median(std::vector<double> figures) {
  std::sort(figures.begin(), figures.end());
  return figures[figures.size() / 2];
}

}  // namespace
}  // namespace virtufin::bench

int main(int argc, char** argv) {
  using namespace virtufin::bench;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 2 && arguments[0] == "--bare") {
    serve_bare(static_cast<std::uint16_t>(std::stoi(arguments[1])));
    return 0;
  }
  if (arguments.size() == 2 && arguments[0] == "--gateway") {
    serve_gateway(static_cast<std::uint16_t>(std::stoi(arguments[1])));
    return 0;
  }
  if (arguments.size() == 2 && arguments[0] == "--only" &&
      !std::string("subscribe_fanout_100").starts_with(arguments[1])) {
    return 0;
  }
  try {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    Figures floor, value;
    for (int round = 0; round < kRounds; ++round) {
      floor.measure(self, "--bare");
      value.measure(self, "--gateway");
    }
    // The processor time tells on a busy machine too whether the server was the bottleneck.
    std::cout << fmt::format(
        "{{\"name\":\"subscribe_fanout_100\",\"value\":{:.0f},\"floor\":{:.0f},\"unit\":\"1/s\"}}\n"
        "{{\"name\":\"subscribe_fanout_100_cpu\",\"value\":{:.2f},\"floor\":{:.2f},\"unit\":\"us\"}"
        "}\n",
        median(value.rate), median(floor.rate), median(value.cpu_us), median(floor.cpu_us));
  } catch (const std::exception& error) {
    std::cerr << "fanout_load: " << error.what() << '\n';
    return 1;
  }
}

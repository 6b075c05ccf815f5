// event -> native worker -> output published, in memory and on one thread, beside a plain call of
// the same library's Process with the same event.
#include <benchmark/benchmark.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <memory>
#include <string>

#include "bus/memory/memory_bus.h"
#include "bus/memory/memory_store.h"
#include "core/event_template.h"
#include "core/log.h"
#include "modules/workmanager/workmanager.h"
#include "rpc/local_call.h"
#include "virtufin/workmanager.pb.h"
#include "virtufin_worker.h"

namespace virtufin {
namespace {

constexpr TimePoint kTime{std::chrono::nanoseconds(1'769'862'896'123'456'789)};

std::string library_path() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() /
         "bench-workers/libbench_echo.so";
}

[[noreturn]] void give_up(std::string_view what) {
  std::fprintf(stderr, "worker_bench: %.*s\n", static_cast<int>(what.size()), what.data());
  std::exit(1);
}

EventPtr sample() {
  static const Extension kExtensions[] = {{"correlationid", "0b9d3c52-5f0e-4c61-9f42-6c1b2a3d4e5f"},
                                          {"scenarioid", "LIVE"},
                                          {"exchange", "binance"},
                                          {"clocktype", "wall"},
                                          {"marketlane", "act"},
                                          {"portfoliolane", "act"},
                                          {"strategylane", "act"}};
  EventFields shape;
  shape.type = "com.virtufin.exchange.binance.orderbook.updated";
  shape.source = "urn:com.virtufin.websocketmanager";
  shape.subject = "currency_pair/BTCUSDT";
  shape.data_content_type = "application/json";
  shape.extensions = kExtensions;
  const std::string payload(200, '7');
  return EventTemplate::create(shape)->make(random_uuid(), kTime, kTime, as_bytes(payload));
}

void plain_call(benchmark::State& state) {
  void* library = ::dlopen(library_path().c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) give_up(::dlerror());
  const auto process = reinterpret_cast<decltype(&Process)>(::dlsym(library, "Process"));
  const auto free_result = reinterpret_cast<decltype(&FreeResult)>(::dlsym(library, "FreeResult"));
  const VirtufinHost host{};
  const EventPtr event = sample();
  for (auto _ : state) {
    std::uint8_t* out = nullptr;
    std::int32_t length = 0;
    process(&host, event->bytes().data(), static_cast<std::int32_t>(event->bytes().size()), &out,
            &length);
    benchmark::DoNotOptimize(out);
    free_result(out);
  }
}

/// A WorkManager with one inline worker, and a subscriber of what it puts out.
class Path {
 public:
  Path() {
    std::ifstream file(library_path(), std::ios::binary);
    CreateWorkerRequest request;
    request.mutable_code_source()->set_content(
        std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>()));
    request.set_mime_type("application/x-native-dll");
    request.add_topics("act.bench");
    request.set_dispatch("inline");
    request.set_start(true);
    if (!module_.start().ok()) give_up("the WorkManager does not start");
    std::promise<absl::Status> created;
    methods_.find_exact("virtufin.WorkManager/CreateWorker")
        ->call(std::make_shared<rpc::LocalCall>(), request,
               [&](absl::StatusOr<std::unique_ptr<google::protobuf::Message>> reply) {
                 created.set_value(reply.status());
               });
    if (const auto status = created.get_future().get(); !status.ok()) give_up(status.ToString());
    auto outputs =
        bus_.subscribe({"sc.LIVE.bench"}, {}, [this](const bus::Delivery&, bus::Receipt receipt) {
          ++seen_;
          std::move(receipt).answer(bus::Answer::kSuccess);
        });
    if (!outputs.ok()) give_up(outputs.status().ToString());
    outputs_ = *std::move(outputs);
    topic_ = bus_.topic("act.bench");
  }
  ~Path() { module_.stop(std::chrono::steady_clock::now() + std::chrono::seconds(5)); }

  void publish(EventPtr event) { bus_.publish(topic_, std::move(event)); }
  std::uint64_t seen() const { return seen_; }

 private:
  static std::unique_ptr<bus::MemoryStore> open_store(const Clock& clock, Metrics& metrics) {
    auto store = bus::MemoryStore::open({}, clock, metrics);
    if (!store.ok()) give_up(store.status().ToString());
    return *std::move(store);
  }

  WallClock clock_;
  Metrics metrics_;
  bus::MemoryBus bus_{{}, metrics_};
  std::unique_ptr<bus::MemoryStore> store_ = open_store(clock_, metrics_);
  rpc::MethodTable methods_;
  rpc::Health health_;
  Loops loops_{1};
  BlockingPool blocking_{"blocking", 1, 16};
  rpc::HttpServer http_{methods_, health_, metrics_, loops_, {}};
  Platform platform_{clock_,  bus_,     *store_, methods_,  http_,
                     health_, metrics_, loops_,  blocking_, "bench"};
  workmanager::WorkManagerModule module_{platform_, {}};
  std::uint64_t seen_ = 0;
  std::unique_ptr<bus::Subscription> outputs_;
  bus::TopicPtr topic_;
};

void through_the_platform(benchmark::State& state) {
  static Path path;
  const EventPtr event = sample();
  const std::uint64_t before = path.seen();
  std::uint64_t sent = 0;
  for (auto _ : state) {
    path.publish(event);
    ++sent;
  }
  if (path.seen() - before != sent) state.SkipWithError("outputs are missing");
}

BENCHMARK(plain_call)->Name("worker_native/floor");
BENCHMARK(through_the_platform)->Name("worker_native/value");

}  // namespace
}  // namespace virtufin

BENCHMARK_MAIN();

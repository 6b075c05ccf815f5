// frame in → order event out: a WebSocket server that sends frames at a fixed rate, the platform
// with the imbalance worker as a process of its own, and a gRPC subscriber of its orders. The floor
// is the same two sockets with a bare echo in the middle.
//
// Every frame makes exactly one order, so the n-th order answers the n-th frame. A latency is
// counted from the moment at which the frame was due, not from when it was sent: a stall is charged
// to every frame that it delays (coordinated omission).
#include <absl/strings/escaping.h>
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <mutex>
#include <stdexcept>
#include <string_view>

#include "load/frame_server.h"
#include "load/order_stream.h"
#include "load/platform_process.h"
#include "virtufin/pubsub.pb.h"

namespace virtufin::bench {
namespace {

constexpr int kRate = 1000;  // frames a second: far below what either end can do
constexpr int kWarmUp = 500;
constexpr int kFrames = 3000;
constexpr int kRounds = 3;
constexpr std::size_t kOrderBytes = 700;  // about what one order is on the wire

constexpr std::array<std::string_view, 3> kRows{"tick_to_order_p50", "tick_to_order_p99",
                                                "tick_to_order_batched_p50"};

std::int64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

void sleep_until_ns(std::int64_t due) {
  const timespec time{due / 1'000'000'000, due % 1'000'000'000};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr);
}

/// When each reply came, in order.
class Arrivals {
 public:
  void add() {
    std::lock_guard lock(mutex_);
    at_.push_back(now_ns());
    if (at_.size() == wanted_) complete_.notify_one();
  }
  /// Waits a moment for more than `count`; false if none came.
  bool more_than(std::size_t count, std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    wanted_ = count + 1;
    return complete_.wait_for(lock, time, [&] { return at_.size() > count; });
  }
  void clear() {
    std::lock_guard lock(mutex_);
    at_.clear();
  }
  std::vector<std::int64_t> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    wanted_ = count;
    if (!complete_.wait_for(lock, std::chrono::seconds(10), [&] { return at_.size() >= count; })) {
      throw std::runtime_error(fmt::format("{} replies to {} frames", at_.size(), count));
    }
    return at_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable complete_;
  std::vector<std::int64_t> at_;
  std::size_t wanted_ = 0;
};

struct Latency {
  double p50_us, p99_us;
};

/// Until the middle answers every frame (the platform has its book): one frame at a time, none
/// under way when it returns.
void prime(FrameServer& frames, Arrivals& arrivals) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    frames.send();
    if (!arrivals.more_than(0, std::chrono::milliseconds(100))) continue;
    // The answered frame's own is in; the frames before it will never have one.
    arrivals.clear();
    return;
  }
  throw std::runtime_error("no order after 100 frames");
}

Latency measure(FrameServer& frames, Arrivals& arrivals) {
  prime(frames, arrivals);
  constexpr std::int64_t kStep = 1'000'000'000 / kRate;
  std::vector<std::int64_t> due;
  const std::int64_t start = now_ns() + 10'000'000;
  for (int i = 0; i < kWarmUp + kFrames; ++i) {
    due.push_back(start + i * kStep);
    sleep_until_ns(due.back());
    frames.send();
  }
  const auto at = arrivals.wait_for(due.size());
  std::vector<std::int64_t> latencies;
  for (std::size_t i = kWarmUp; i < due.size(); ++i) latencies.push_back(at[i] - due[i]);
  std::sort(latencies.begin(), latencies.end());
  return {latencies[latencies.size() / 2] / 1e3, latencies[latencies.size() * 99 / 100] / 1e3};
}

std::string subscribe_request() {
  SubscribeRequest request;
  request.add_topics("sc.LIVE.orders");
  return request.SerializeAsString();
}

Latency floor_round(const std::string& self) {
  FrameServer frames;
  const std::uint16_t port = free_port();
  Child echo({self, "--echo", std::to_string(frames.port()), std::to_string(port)}, {});
  Arrivals arrivals;
  OrderStream orders(fmt::format("127.0.0.1:{}", port), "/echo/Stream", subscribe_request(),
                     [&](std::size_t) { arrivals.add(); });
  frames.wait_for_client();
  return measure(frames, arrivals);
}

Latency platform_round(const std::string& binary, const std::string& worker,
                       const std::string& durability) {
  FrameServer frames;
  std::map<std::string, std::string> environment{{"VIRTUFIN_STATE__DURABILITY", durability}};
  const auto folder =
      std::filesystem::temp_directory_path() / fmt::format("tick_load.{}", getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  if (durability != "none") environment["VIRTUFIN_STATE__PATH"] = (folder / "state.db").string();
  Latency latency;
  {
    PlatformProcess platform(binary, environment);
    http_request(
        platform.http_port(), "POST", "/v1/workers",
        fmt::format(
            R"({{"mimeType":"application/x-native-dll","start":true,)"
            R"("topics":["act.exchange.binance.orderbook.update","act.exchange.binance.orderbook.snapshot"],)"
            R"("codeSource":{{"content":"{}"}}}})",
            worker));
    Arrivals arrivals;
    OrderStream orders(fmt::format("127.0.0.1:{}", platform.grpc_port()),
                       "/virtufin.Pubsub/Subscribe", subscribe_request(),
                       [&](std::size_t) { arrivals.add(); });
    http_request(platform.http_port(), "POST", "/v1/connections",
                 fmt::format(R"({{"url":"ws://127.0.0.1:{0}/stream","feed":{{"venue":"binance",)"
                             R"("symbols":["TICKUSDT"],"channels":["depth"],)"
                             R"("restUrl":"http://127.0.0.1:{0}"}}}})",
                             frames.port()));
    frames.wait_for_client();
    latency = measure(frames, arrivals);
  }
  std::filesystem::remove_all(folder);
  return latency;
}

std::string base64_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  return absl::Base64Escape(bytes);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void print_row(std::string_view name, double value, double floor) {
  std::cout << fmt::format(R"({{"name":"{}","value":{:.1f},"floor":{:.1f},"unit":"us"}})", name,
                           value, floor)
            << std::endl;
}

void run(const std::string& self, const std::string& binary, const std::string& worker_file) {
  const std::string worker = base64_file(worker_file);
  std::vector<double> floor50, floor99, none50, none99, batched50;
  for (int round = 0; round < kRounds; ++round) {
    const Latency floor = floor_round(self);
    const Latency none = platform_round(binary, worker, "none");
    const Latency batched = platform_round(binary, worker, "batched");
    floor50.push_back(floor.p50_us);
    floor99.push_back(floor.p99_us);
    none50.push_back(none.p50_us);
    none99.push_back(none.p99_us);
    batched50.push_back(batched.p50_us);
  }
  print_row(kRows[0], median(none50), median(floor50));
  print_row(kRows[1], median(none99), median(floor99));
  print_row(kRows[2], median(batched50), median(floor50));
}

}  // namespace
}  // namespace virtufin::bench

int main(int argc, char** argv) {
  namespace bench = virtufin::bench;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::filesystem::path folder = std::filesystem::path(self).parent_path();
  try {
    if (argc == 4 && std::string(argv[1]) == "--echo") {
      bench::run_echo(static_cast<std::uint16_t>(std::stoi(argv[2])),
                      static_cast<std::uint16_t>(std::stoi(argv[3])), bench::kOrderBytes);
      return 0;
    }
    const std::string only = argc == 3 && std::string(argv[1]) == "--only" ? argv[2] : "";
    const auto wanted = [&](std::string_view row) { return row.starts_with(only); };
    if (std::none_of(bench::kRows.begin(), bench::kRows.end(), wanted)) return 0;
    bench::run(self, folder / "virtufin", folder / "workers/libimbalance.so");
  } catch (const std::exception& error) {
    std::cerr << "tick_load: " << error.what() << '\n';
    return 1;
  }
}

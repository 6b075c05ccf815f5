// The simulated exchange as a source of load: writing one recorded frame with its times and ids
// moved, beside copying its bytes; and frames a second over a loopback WebSocket to a reader that
// only counts them, beside the same bytes from a thread that does nothing but write.
#include <benchmark/benchmark.h>

#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/errors.h"
#include "modules/venue/playback.h"
#include "modules/venue/server.h"
#include "modules/venue/synthetic.h"
#include "modules/venue/websocket_frames.h"

namespace virtufin::venue {
namespace {

using boost::asio::ip::tcp;

constexpr int kFrames = 2000;  ///< of the recording
constexpr int kFramesPerRead = 10'000;
constexpr std::size_t kBufferBytes = 128 << 10;

template <class Value>
Value must(absl::StatusOr<Value> value) {
  if (!value.ok()) {
    std::cerr << value.status() << "\n";
    std::exit(1);
  }
  return *std::move(value);
}

/// What the synthetic market plays, as frames of a recording.
const std::vector<std::string>& texts() {
  static const std::vector<std::string> kTexts = [] {
    SyntheticOptions options;
    options.symbols = {"BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"};
    options.keep_times = true;
    const auto market = must(SyntheticMarket::create(Dialect::kFutures, options));
    std::vector<std::string> frames(kFrames);
    for (std::string& text : frames) market->write_next(kSyntheticBegin, text);
    return frames;
  }();
  return kTexts;
}

RecordedVenue recording() {
  RecordedVenue venue;
  auto& connection = venue.connections.emplace_back();
  connection.url = "wss://x";
  for (std::size_t i = 0; i < texts().size(); ++i) {
    connection.frames.push_back({kSyntheticBegin + std::chrono::milliseconds(i), texts()[i], i});
  }
  return venue;
}

void frame_floor(benchmark::State& state) {
  std::string out;
  std::size_t next = 0;
  for (auto _ : state) {
    out.assign(texts()[next]);
    benchmark::DoNotOptimize(out.data());
    if (++next == texts().size()) next = 0;
  }
}
BENCHMARK(frame_floor)->Name("venue_frame/floor");

void frame_value(benchmark::State& state) {
  const auto playback = must(Playback::create(Dialect::kFutures, recording(), {0, false}));
  const WallClock clock;
  const TimePoint now = clock.now();
  std::string out;
  for (auto _ : state) {
    out.clear();
    playback->write_next(now, out);
    benchmark::DoNotOptimize(out.data());
  }
}
BENCHMARK(frame_value)->Name("venue_frame/value");

/// Counts the frames of a WebSocket connection by their lengths, and looks at nothing else.
class CountingReader {
 public:
  explicit CountingReader(std::uint16_t port) : socket_(io_) {
    socket_.connect({boost::asio::ip::address_v4::loopback(), port});
  }

  void request(const std::string& target) {
    const std::string text = "GET " + target +
                             " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    boost::asio::write(socket_, boost::asio::buffer(text));
    std::string head;
    const std::size_t end =
        boost::asio::read_until(socket_, boost::asio::dynamic_buffer(head), "\r\n\r\n");
    count(std::string_view(head).substr(end));
  }

  void read(std::uint64_t frames) {
    for (const std::uint64_t until = frames_ + frames; frames_ < until;) {
      const std::size_t bytes = socket_.read_some(boost::asio::buffer(buffer_));
      count({buffer_.data(), bytes});
    }
  }

 private:
  void count(std::string_view bytes) {
    while (!bytes.empty()) {
      if (skip_ > 0) {
        const std::size_t step = std::min(skip_, bytes.size());
        skip_ -= step;
        bytes.remove_prefix(step);
        continue;
      }
      header_.push_back(bytes.front());
      bytes.remove_prefix(1);
      if (header_.size() < 2) continue;
      const auto length = static_cast<std::uint8_t>(header_[1]);
      if (length == 126 && header_.size() < 4) continue;
      skip_ = length < 126 ? length
                           : static_cast<std::size_t>(static_cast<std::uint8_t>(header_[2])) << 8 |
                                 static_cast<std::uint8_t>(header_[3]);
      header_.clear();
      ++frames_;
    }
  }

  boost::asio::io_context io_;
  tcp::socket socket_;
  std::array<char, kBufferBytes> buffer_;
  std::string header_;
  std::size_t skip_ = 0;
  std::uint64_t frames_ = 0;
};

void read_frames(benchmark::State& state, CountingReader& reader) {
  reader.read(kFramesPerRead);
  for (auto _ : state) reader.read(kFramesPerRead);
  state.SetItemsProcessed(state.iterations() * kFramesPerRead);
}

void send_floor(benchmark::State& state) {
  boost::asio::io_context io;
  tcp::acceptor acceptor(io, {boost::asio::ip::address_v4::loopback(), 0});
  std::thread writer([&] {
    std::string block;
    for (std::size_t i = 0; block.size() < kBufferBytes; ++i) {
      append_frame(Opcode::kText, texts()[i % texts().size()], block);
    }
    tcp::socket socket = acceptor.accept();
    boost::system::error_code error;
    while (!error) boost::asio::write(socket, boost::asio::buffer(block), error);
  });
  {
    CountingReader reader(acceptor.local_endpoint().port());
    read_frames(state, reader);
  }
  writer.join();
}
BENCHMARK(send_floor)->Name("venue_send/floor")->UseRealTime();

void send_value(benchmark::State& state) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("venue_bench." + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  {
    std::ofstream file(folder / "BINANCE_FUTURES.ws.0");
    file << "wss://x <-> 1704067200\n";
    for (std::size_t i = 0; i < texts().size(); ++i) {
      file << 1'704'067'200 + i << ": " << texts()[i] << "\n";
    }
  }
  WallClock clock;
  Metrics metrics;
  VenueConfig config;
  config.port = 0;
  config.recordings = folder.string();
  config.source = "recording";
  config.markets = {"binance-futures"};
  config.speed = 0;
  config.laps = 0;
  {
    VenueServer server(clock, metrics, config);
    absl::Status status = server.bind();
    if (status.ok()) status = server.start();
    if (!status.ok()) {
      std::cerr << status << "\n";
      std::exit(1);
    }
    CountingReader reader(server.port());
    std::string streams;
    for (const std::string symbol : {"btcusdt", "ethusdt", "solusdt", "xrpusdt"}) {
      for (const std::string channel : {"depth@100ms", "bookTicker", "aggTrade", "kline_1m"}) {
        streams += (streams.empty() ? "" : "/") + symbol + "@" + channel;
      }
    }
    reader.request("/stream?streams=" + streams);
    read_frames(state, reader);
  }
  std::filesystem::remove_all(folder);
}
BENCHMARK(send_value)->Name("venue_send/value")->UseRealTime();

}  // namespace
}  // namespace virtufin::venue

BENCHMARK_MAIN();

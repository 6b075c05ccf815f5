#include "app/demo.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "app/demo_table.h"
#include "app/process.h"
#include "app/signals.h"
#include "app/startup_report.h"
#include "app/summary.h"
#include "app/version.h"
#include "core/errors.h"
#include "core/log.h"
#include "modules/venue/venue.h"
#include "modules/workmanager/workmanager.h"
#include "modules/wsm/wsm.h"
#include "rpc/local_call.h"
#include "virtufin/websocketmanager.pb.h"
#include "virtufin/workmanager.pb.h"

namespace virtufin::app {
namespace {

using std::chrono::steady_clock;

constexpr char kTag[] = "demo";
constexpr char kTagValue[] = "imbalance";

struct DemoOptions {
  std::string config;
  std::string recordings;
  std::string worker;
  std::string summary;
  std::string log_level = "warn";
  double speed = 20;
  std::int64_t rate = 0;
  std::uint64_t laps = 0;
  double seconds = 0;
  int http_port = -1, grpc_port = -1;
  bool synthetic = false;
};

/// The example worker beside the binary, where the build and the container put it.
std::string default_worker() {
  std::error_code error;
  const auto binary = std::filesystem::read_symlink("/proc/self/exe", error);
  return (binary.parent_path() / "workers" / "libimbalance.so").string();
}

/// A call of this process's own table, as any client would make it, that waits for the answer.
template <class Reply>
absl::StatusOr<Reply> call(Process& process, std::string_view method,
                           const google::protobuf::Message& request) {
  const auto row = process.platform().methods.find(method);
  if (!row.ok()) return row.status();
  const auto made =
      std::make_shared<rpc::LocalCall>(steady_clock::now() + std::chrono::seconds(30));
  std::promise<absl::StatusOr<Reply>> promise;
  auto answer = promise.get_future();
  (*row)->call(made, request,
               [&promise](absl::StatusOr<std::unique_ptr<google::protobuf::Message>> reply) {
                 if (!reply.ok()) return promise.set_value(reply.status());
                 promise.set_value(std::move(static_cast<Reply&>(**reply)));
               });
  auto result = answer.get();
  made->end();
  return result;
}

ListWorkersRequest workers_of_demo() {
  ListWorkersRequest request;
  auto* filter = request.add_filters();
  filter->set_key(kTag);
  filter->set_value(kTagValue);
  return request;
}

absl::Status delete_workers(Process& process) {
  const auto listed =
      call<ListWorkersResponse>(process, "virtufin.WorkManager/ListWorkers", workers_of_demo());
  if (!listed.ok()) return listed.status();
  for (const WorkerInfo& worker : listed->workers()) {
    DeleteWorkerRequest request;
    request.set_id(worker.id());
    const auto deleted =
        call<DeleteWorkerResponse>(process, "virtufin.WorkManager/DeleteWorker", request);
    if (!deleted.ok()) return deleted.status();
  }
  return absl::OkStatus();
}

bool elsewhere(const ProcessConfig& config, std::string_view service) {
  const auto& others = config.gateway.other_services;
  return std::any_of(others.begin(), others.end(), [&](const gateway::ServiceSpec& spec) {
    return spec.name == service && !spec.hosts.empty();
  });
}

class Demo {
 public:
  explicit Demo(const DemoOptions& options) : options_(options) {}
  absl::StatusOr<Summary> run();

 private:
  absl::StatusOr<ProcessConfig> configure() const;
  absl::Status create_worker();
  absl::Status connect();
  void watch(StopSignals& signals);
  void settle();
  void await_deliveries(steady_clock::time_point deadline);
  Summary count() const;
  void count_frames(Summary& summary) const;
  void count_work(Summary& summary) const;
  void leave_others();
  bool played_out() const;
  void print_places() const;

  const DemoOptions& options_;
  std::unique_ptr<Process> process_;
  std::vector<std::string> connections_;
  steady_clock::time_point start_;
  std::optional<double> stopped_after_;
  std::optional<Summary> counted_;  ///< where the modules are in other processes
};

absl::StatusOr<ProcessConfig> Demo::configure() const {
  auto loaded = load_config(options_.config, Config::process_environment());
  if (!loaded.ok()) return loaded.status();
  ProcessConfig config = std::move(loaded->process);
  // What the config says is in another process is left there.
  config.wsm_enabled = !elsewhere(config, "websocketmanager");
  config.workmanager_enabled = !elsewhere(config, "workmanager");
  config.venue_enabled = config.gateway_enabled = true;
  config.venue.port = 0;
  config.venue.speed = options_.speed;
  config.venue.laps = options_.laps;
  // The rate asked for is of both markets together.
  const auto markets = static_cast<std::int64_t>(config.venue.markets.size());
  config.venue.rate = options_.rate == 0 ? 0 : std::max<std::int64_t>(1, options_.rate / markets);
  config.venue.source = options_.synthetic ? "synthetic" : "auto";
  if (!options_.recordings.empty()) {
    config.venue.recordings = options_.recordings;
    config.venue.source = "recording";  // asked for by name: not having it is an error
  }
  // What is printed is the table: the log only speaks when something is wrong.
  config.log.level = options_.log_level;
  if (options_.http_port >= 0)
    config.gateway.http_port = static_cast<std::uint16_t>(options_.http_port);
  if (options_.grpc_port >= 0)
    config.gateway.grpc_port = static_cast<std::uint16_t>(options_.grpc_port);
  return config;
}

absl::Status Demo::create_worker() {
  const std::string path = options_.worker.empty() ? default_worker() : options_.worker;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return not_found("cannot read the worker {}: build the examples, or give another with --worker",
                     path);
  }
  // One of a run before, where the state is kept.
  VIRTUFIN_RETURN_IF_ERROR(delete_workers(*process_));

  CreateWorkerRequest request;
  request.mutable_code_source()->set_content(
      std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>()));
  request.set_mime_type("application/x-native-dll");
  for (const auto& market : process_->venue()->status().markets) {
    for (const char* event : {"orderbook.update", "orderbook.snapshot", "feed.gap"}) {
      request.add_topics(fmt::format("act.exchange.{}.{}", market.name, event));
    }
  }
  (*request.mutable_tags())[kTag] = kTagValue;
  request.set_start(true);
  const auto created =
      call<CreateWorkerResponse>(*process_, "virtufin.WorkManager/CreateWorker", request);
  return with_context(created.status(), path);
}

absl::Status Demo::connect() {
  for (const auto& market : process_->venue()->status().markets) {
    ConnectRequest request;
    const std::string host = fmt::format("127.0.0.1:{}", process_->venue()->port());
    // By name: synthetic markets have the same streams.
    const char* side = market.name == "binance-futures" ? "futures" : "spot";
    request.set_url(
        fmt::format("ws://{}/{}/stream?streams={}", host, side, fmt::join(market.streams, "/")));
    (*request.mutable_tags())[kTag] = market.name;
    request.mutable_feed()->set_venue(market.name);
    request.mutable_feed()->set_rest_url("http://" + host);
    const auto connected =
        call<ConnectResponse>(*process_, "virtufin.WebSocketManager/Connect", request);
    if (!connected.ok()) return with_context(connected.status(), market.name);
    connections_.push_back(connected->id());
  }
  return absl::OkStatus();
}

Summary Demo::count() const {
  Summary summary;
  summary.seconds =
      stopped_after_.value_or(std::chrono::duration<double>(steady_clock::now() - start_).count());
  for (const auto& market : process_->venue()->status().markets) {
    summary.frames_sent += market.frames_sent;
  }
  count_frames(summary);
  count_work(summary);
  return summary;
}

void Demo::count_frames(Summary& summary) const {
  const auto add = [&summary](const auto& in) {
    summary.frames_in += in.frames_in;
    summary.market_frames += in.market_frames;
    summary.control_frames += in.control_frames;
    summary.duplicates += in.duplicates;
    summary.not_published += in.not_published;
    summary.undecodable += in.undecodable;
    summary.frame_events += in.frame_events;
    summary.other_events += in.other_events;
  };
  if (process_->wsm() != nullptr) return add(process_->wsm()->totals());
  const auto listed =
      call<ListResponse>(*process_, "virtufin.WebSocketManager/List", ListRequest());
  if (!listed.ok()) return;  // the sums do not add up then, and say so
  for (const auto& connection : listed->connections()) {
    if (std::find(connections_.begin(), connections_.end(), connection.id()) ==
        connections_.end()) {
      continue;
    }
    wsm::Totals in;
    in.frames_in = connection.frames_in();
    in.market_frames = connection.market_frames();
    in.control_frames = connection.control_frames();
    in.duplicates = connection.duplicates();
    in.not_published = connection.not_published();
    in.undecodable = connection.undecodable();
    in.frame_events = connection.frame_events();
    in.other_events = connection.other_events();
    add(in);
  }
}

void Demo::count_work(Summary& summary) const {
  workmanager::Totals work;
  if (process_->workmanager() != nullptr) {
    work = process_->workmanager()->totals();
  } else {
    const auto listed =
        call<ListWorkersResponse>(*process_, "virtufin.WorkManager/ListWorkers", workers_of_demo());
    if (!listed.ok()) return;
    for (const WorkerInfo& worker : listed->workers()) {
      work.delivered += worker.delivered();
      work.processed += worker.processed();
      work.dead_lettered += worker.dead_lettered();
      work.dropped += worker.dropped();
      work.in_flight += worker.in_flight();
      work.orders += worker.orders();
      work.orders_recorded += worker.orders_recorded();
      work.lag_p50_us = worker.lag_p50_us();
      work.lag_p99_us = worker.lag_p99_us();
    }
  }
  summary.events_delivered = work.delivered;
  summary.processed = work.processed;
  summary.dead_lettered = work.dead_lettered;
  summary.dropped = work.dropped;
  summary.in_flight = work.in_flight;
  summary.orders = work.orders;
  summary.orders_recorded = work.orders_recorded;
  summary.lag_p50_us = static_cast<double>(work.lag_p50_us);
  summary.lag_p99_us = static_cast<double>(work.lag_p99_us);
}

bool Demo::played_out() const {
  for (const auto& market : process_->venue()->status().markets) {
    if (!market.finished) return false;
  }
  return true;
}

void Demo::watch(StopSignals& signals) {
  DemoTable table(isatty(STDOUT_FILENO) != 0);
  for (auto next = start_ + std::chrono::seconds(1);; next += std::chrono::seconds(1)) {
    auto until = next;
    if (options_.seconds > 0) {
      const auto end = start_ + std::chrono::duration_cast<steady_clock::duration>(
                                    std::chrono::duration<double>(options_.seconds));
      until = std::min(until, end);
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - steady_clock::now());
    const bool asked = signals.wait_for(std::max(left, std::chrono::milliseconds(0))).has_value();
    fmt::print("{}", table.row(count()));
    std::fflush(stdout);
    const double ran = std::chrono::duration<double>(steady_clock::now() - start_).count();
    if (asked || (options_.seconds > 0 && ran >= options_.seconds) || played_out()) return;
  }
}

/// The venue leaves first: what it has sent is read to the end, so that nothing is under way when
/// the rest stops and every count is final.
void Demo::settle() {
  const auto deadline = steady_clock::now() + process_->config().drain;
  stopped_after_ = std::chrono::duration<double>(steady_clock::now() - start_).count();
  // That the venue leaves is not the warning that it would be in the middle of a run.
  if (LogConfig log = process_->config().log; log.level == "warn") {
    log.level = "error";
    configure_logging(log);
  }
  process_->venue()->stop(deadline);
  const auto all_closed = [this] {
    const auto listed =
        call<ListResponse>(*process_, "virtufin.WebSocketManager/List", ListRequest());
    if (!listed.ok()) return true;
    for (const auto& connection : listed->connections()) {
      if (connection.status() == "connected") return false;
    }
    return true;
  };
  // The close frame comes behind all others; it is read by somebody else's thread.
  while (!all_closed() && steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const bool split = process_->wsm() == nullptr || process_->workmanager() == nullptr;
  if (split || process_->config().bus_kind == kBusDapr) await_deliveries(deadline);
  if (split) leave_others();
  process_->stop();
}

/// What was published last comes back from the broker a little later.
void Demo::await_deliveries(steady_clock::time_point deadline) {
  constexpr std::chrono::milliseconds kQuiet{500};
  constexpr std::chrono::milliseconds kPause{20};
  Summary before = count();
  auto since = steady_clock::now();
  while (steady_clock::now() - since < kQuiet && steady_clock::now() < deadline) {
    std::this_thread::sleep_for(kPause);
    Summary now = count();
    if (now.events_delivered != before.events_delivered || now.processed != before.processed ||
        now.in_flight != 0) {
      since = steady_clock::now();
    }
    before = std::move(now);
  }
}

/// Other processes go on after the demo: their last counts are taken, and what it left there goes.
void Demo::leave_others() {
  counted_ = count();
  for (const std::string& id : connections_) {
    DisconnectRequest request;
    request.set_id(id);
    const auto gone =
        call<DisconnectResponse>(*process_, "virtufin.WebSocketManager/Disconnect", request);
    if (!gone.ok()) fmt::print(stderr, "connection {}: {}\n", id, message(gone.status()));
  }
  const absl::Status deleted = delete_workers(*process_);
  if (!deleted.ok()) fmt::print(stderr, "worker: {}\n", message(deleted));
}

void Demo::print_places() const {
  auto lines = startup_report(process_->config(), process_->addresses());
  std::string markets;
  std::vector<std::string_view> names;
  const auto status = process_->venue()->status();
  for (const auto& market : status.markets) {
    names.push_back(market.name);
    markets += fmt::format("{}{} ({}, {} streams)", markets.empty() ? "" : ", ", market.name,
                           market.source, market.streams.size());
  }
  lines.push_back(
      {"venue", fmt::format("http://127.0.0.1:{}: {}", process_->venue()->port(), markets)});
  lines.push_back(
      {"worker", fmt::format("imbalance, on the order books of {}", fmt::join(names, " and "))});
  lines.push_back({"orders", "sc.LIVE.orders, recorded at sc.LIVE.trading.order.<order_id>"});
  fmt::print("{}\n{}", version_line(), aligned(lines));
  std::fflush(stdout);
}

absl::StatusOr<Summary> Demo::run() {
  auto config = configure();
  if (!config.ok()) return config.status();
  configure_logging(config->log);

  StopSignals signals;
  process_ = std::make_unique<Process>(std::move(*config));
  const auto stop_asked = [&signals] {
    return signals.wait_for(std::chrono::milliseconds(0)).has_value();
  };
  if (const absl::Status status = process_->start(stop_asked); !status.ok()) return status;
  if (const absl::Status status = create_worker(); !status.ok()) return status;
  start_ = steady_clock::now();
  if (const absl::Status status = connect(); !status.ok()) return status;
  print_places();
  watch(signals);
  settle();
  return counted_ ? *counted_ : count();
}

absl::Status write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return unavailable("cannot write the summary to {}: is the folder there?", path);
  return absl::OkStatus();
}

int run_demo(const DemoOptions& options) {
  const auto fail = [](const absl::Status& status) {
    fmt::print(stderr, "virtufin demo: {}\n", message(status));
    return 1;
  };
  const auto summary = Demo(options).run();
  if (!summary.ok()) return fail(summary.status());
  fmt::print("\n{}", summary->text());
  const auto mistakes = summary->mistakes();
  for (const std::string& mistake : mistakes) fmt::print(stderr, "does not add up: {}\n", mistake);
  if (mistakes.empty()) fmt::print("  all counts add up\n");
  if (!options.summary.empty()) {
    const absl::Status written = write_file(options.summary, summary->json());
    if (!written.ok()) return fail(written);
  }
  return mistakes.empty() ? 0 : 1;
}

}  // namespace

void add_demo(CLI::App& cli, Command& command) {
  CLI::App* demo = cli.add_subcommand(
      "demo", "Play recorded exchange traffic through everything, on loopback; Ctrl-C ends it");
  auto options = std::make_shared<DemoOptions>();
  demo->add_option("--config", options->config, "TOML file under the demo's own settings")
      ->type_name("FILE");
  auto* recordings =
      demo->add_option("--recordings", options->recordings,
                       "Folder of the recordings (default: the configured one, "
                       "../shared/recordings; the synthetic market if there is none)")
          ->type_name("DIR");
  demo->add_flag("--synthetic", options->synthetic, "Play the synthetic market")
      ->excludes(recordings);
  auto* speed = demo->add_option("--speed", options->speed,
                                 "Times the recorded pace; 0: as fast as it is read (default 20)")
                    ->check(CLI::Range(0.0, 1e6));
  demo->add_option("--rate", options->rate, "Frames a second of both markets, instead of a pace")
      ->check(CLI::Range(2, 10'000'000))
      ->excludes(speed);
  demo->add_option("--laps", options->laps,
                   "End after so many laps of the recordings (default: loop)")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}));
  demo->add_option("--seconds", options->seconds, "End after so long (default: at Ctrl-C)")
      ->check(CLI::Range(0.001, 1e7));
  demo->add_option("--summary", options->summary, "Write the summary as one JSON object")
      ->type_name("FILE");
  demo->add_option("--worker", options->worker, "Another native worker than the imbalance example")
      ->type_name("FILE");
  demo->add_option("--http-port", options->http_port, "Of REST; 0: a free one (default 5001)")
      ->check(CLI::Range(0, 65'535));
  demo->add_option("--grpc-port", options->grpc_port, "Of gRPC; 0: a free one (default 5002)")
      ->check(CLI::Range(0, 65'535));
  demo->add_option("--log", options->log_level,
                   "Level of the log, on standard error (default warn)")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}));
  demo->callback([options, &command] { command = [options] { return run_demo(*options); }; });
}

}  // namespace virtufin::app

#include "modules/workmanager/workmanager.h"

#include <openssl/evp.h>

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "core/errors.h"
#include "core/log.h"
#include "core/uuid.h"
#include "modules/workmanager/engines/native/native_engine.h"
#include "modules/workmanager/environment.h"
#include "modules/workmanager/lifecycle.h"
#include "modules/workmanager/worker.h"
#include "modules/workmanager/worker_records.h"
#include "virtufin/workmanager.pb.h"

namespace virtufin::workmanager {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::chrono::milliseconds kWatchInterval{50};
constexpr std::array kMethods = {
    "virtufin.WorkManager/CreateWorker", "virtufin.WorkManager/StartWorker",
    "virtufin.WorkManager/StopWorker", "virtufin.WorkManager/DeleteWorker",
    "virtufin.WorkManager/ListWorkers"};

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr);
  std::string out;
  for (unsigned int i = 0; i < length; ++i) out += fmt::format("{:02x}", digest[i]);
  return out;
}

bool same_hex(std::string_view left, std::string_view right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  });
}

/// Counts what is begun and not ended; wait() until all is or the deadline has passed.
class Outstanding {
 public:
  void begin() {
    std::lock_guard lock(mutex_);
    ++count_;
  }
  void end() {
    std::lock_guard lock(mutex_);
    if (--count_ == 0) ended_.notify_all();
  }
  bool wait(SteadyTime deadline) {
    std::unique_lock lock(mutex_);
    return ended_.wait_until(lock, deadline, [this] { return count_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  std::size_t count_ = 0;
};

}  // namespace

/// Held by the callbacks that are out; after stop() they find it stopped and do nothing.
class WorkManagerModule::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(Platform& platform, WorkManagerConfig config)
      : platform_(platform),
        config_(std::move(config)),
        log_(logger("workmanager")),
        shared_(new WorkerShared{
            platform_, config_, std::make_shared<WorkerPool>("worker", config_.worker_threads),
            std::make_shared<OrderIndex>(platform.store, platform.clock, platform.loops, config_),
            log_}),
        records_(platform.store),
        lifecycle_(platform) {
    engines_.push_back(
        std::make_unique<native::NativeEngine>(config_.code, config_.code_dir, platform.methods));
  }

  void add_methods();
  absl::Status start();
  void close_intake() { intake_ = false; }
  void stop(SteadyTime deadline);
  Totals totals() const;

 private:
  struct Entry {
    std::shared_ptr<Worker> worker;
    Engine* engine = nullptr;
    bool running = false;     ///< the saved state
    bool recovering = false;  ///< did not come back; tried again
    bool deleting = false;    ///< as good as gone; the event in hand is waited for
  };

  template <class Reply>
  void on_blocking_pool(rpc::ReplyTo<Reply> reply,
                        absl::AnyInvocable<void(Impl&, rpc::ReplyTo<Reply>)> work);
  void create(const CreateWorkerRequest& request, rpc::ReplyTo<CreateWorkerResponse> reply);
  void start_worker(const std::string& id, rpc::ReplyTo<StartWorkerResponse> reply);
  void stop_worker(const std::string& id, rpc::ReplyTo<StopWorkerResponse> reply);
  void delete_worker(const std::string& id, rpc::ReplyTo<DeleteWorkerResponse> reply);
  ListWorkersResponse list(const ListWorkersRequest& request) const;

  absl::StatusOr<Engine*> engine_for(std::string_view mime_type) const;
  absl::StatusOr<std::shared_ptr<WorkerCode>> load(Engine& engine, const WorkerSpec& spec) const;
  absl::StatusOr<Entry> make_entry(WorkerSpec spec, bool must_load);
  absl::Status begin(Entry& entry);
  absl::StatusOr<Entry> find(const std::string& id) const;
  absl::Status set_running(const std::string& id, bool running);
  void remove(const std::string& id);
  void on_failed(const Worker& worker);
  void bring_back(const std::string& id);
  void recover();
  std::vector<std::shared_ptr<Worker>> workers() const;
  static void fill(const Entry& entry, const std::string& instance, WorkerInfo& info);
  void every(std::chrono::milliseconds interval, std::function<void(Impl&)> work);

  Platform& platform_;
  const WorkManagerConfig config_;
  Logger log_;
  const std::shared_ptr<const WorkerShared> shared_;
  WorkerRecords records_;
  Lifecycle lifecycle_;
  std::vector<std::unique_ptr<Engine>> engines_;

  /// One change of workers at a time, by threads that may wait.
  std::mutex control_;
  std::atomic<bool> intake_{true};
  std::atomic<bool> stopped_{false};

  mutable std::mutex mutex_;  ///< guards what follows; never held while anything else runs
  std::map<std::string, Entry> entries_;
  Counts retired_;  ///< of deleted workers
  Histogram retired_lag_;
};

template <class Reply>
void WorkManagerModule::Impl::on_blocking_pool(
    rpc::ReplyTo<Reply> reply, absl::AnyInvocable<void(Impl&, rpc::ReplyTo<Reply>)> work) {
  // Shared, because a full pool gives the task, and the reply in it, no way back.
  const auto held = std::make_shared<rpc::ReplyTo<Reply>>(std::move(reply));
  const bool posted =
      platform_.blocking.post([self = shared_from_this(), held, work = std::move(work)]() mutable {
        std::lock_guard lock(self->control_);
        if (self->stopped_) return (*held)(unavailable("the WorkManager is stopping"));
        work(*self, std::move(*held));
      });
  if (!posted) (*held)(resource_exhausted("too many changes of workers wait; try again"));
}

void WorkManagerModule::Impl::add_methods() {
  using rpc::CallPtr;
  using rpc::ReplyTo;
  auto& table = platform_.methods;
  const auto self = shared_from_this();
  table.unary<CreateWorkerRequest, CreateWorkerResponse>(
      kMethods[0],
      [self](CallPtr, const CreateWorkerRequest& request, ReplyTo<CreateWorkerResponse> reply) {
        if (!self->intake_) return reply(unavailable("the WorkManager is stopping"));
        self->on_blocking_pool<CreateWorkerResponse>(
            std::move(reply), [&request](Impl& impl, ReplyTo<CreateWorkerResponse> answer) {
              impl.create(request, std::move(answer));
            });
      });
  table.unary<StartWorkerRequest, StartWorkerResponse>(
      kMethods[1],
      [self](CallPtr, const StartWorkerRequest& request, ReplyTo<StartWorkerResponse> reply) {
        self->on_blocking_pool<StartWorkerResponse>(
            std::move(reply), [id = request.id()](Impl& impl, ReplyTo<StartWorkerResponse> answer) {
              impl.start_worker(id, std::move(answer));
            });
      });
  table.unary<StopWorkerRequest, StopWorkerResponse>(
      kMethods[2],
      [self](CallPtr, const StopWorkerRequest& request, ReplyTo<StopWorkerResponse> reply) {
        self->on_blocking_pool<StopWorkerResponse>(
            std::move(reply), [id = request.id()](Impl& impl, ReplyTo<StopWorkerResponse> answer) {
              impl.stop_worker(id, std::move(answer));
            });
      });
  table.unary<DeleteWorkerRequest, DeleteWorkerResponse>(
      kMethods[3],
      [self](CallPtr, const DeleteWorkerRequest& request, ReplyTo<DeleteWorkerResponse> reply) {
        self->on_blocking_pool<DeleteWorkerResponse>(
            std::move(reply),
            [id = request.id()](Impl& impl, ReplyTo<DeleteWorkerResponse> answer) {
              impl.delete_worker(id, std::move(answer));
            });
      });
  table.unary<ListWorkersRequest, ListWorkersResponse>(
      kMethods[4], [self](CallPtr, const ListWorkersRequest& request,
                          ReplyTo<ListWorkersResponse> reply) { reply(self->list(request)); });
}

absl::StatusOr<Engine*> WorkManagerModule::Impl::engine_for(std::string_view mime_type) const {
  std::string known;
  for (const auto& engine : engines_) {
    if (engine->accepts(mime_type)) return engine.get();
    known +=
        fmt::format("{}{} ({})", known.empty() ? "" : ", ", engine->mime_type(), engine->label());
  }
  return invalid_argument("no engine runs mime_type '{}'; there are: {}", printable(mime_type),
                          known);
}

absl::StatusOr<std::shared_ptr<WorkerCode>> WorkManagerModule::Impl::load(
    Engine& engine, const WorkerSpec& spec) const {
  return engine.load({.worker_id = spec.id,
                      .first_topic = spec.topics.front(),
                      .code = as_bytes(spec.code),
                      .inline_dispatch = spec.dispatch == Dispatch::kInline,
                      .timeout = spec.timeout});
}

absl::StatusOr<WorkManagerModule::Impl::Entry> WorkManagerModule::Impl::make_entry(WorkerSpec spec,
                                                                                   bool must_load) {
  auto engine = engine_for(spec.mime_type);
  if (!engine.ok()) return engine.status();
  auto scenario = records_.scenario(spec.scenario, platform_.clock.now());
  if (!scenario.ok()) return scenario.status();
  Entry entry;
  entry.engine = *engine;
  entry.running = spec.running;
  auto code = load(**engine, spec);
  if (!code.ok() && must_load) return code.status();
  entry.worker = std::make_shared<Worker>(std::move(spec), *std::move(scenario), shared_,
                                          [weak = weak_from_this()](const Worker& worker) {
                                            if (const auto self = weak.lock())
                                              self->on_failed(worker);
                                          });
  if (code.ok()) {
    entry.worker->set_code(*std::move(code));
  } else {
    entry.recovering = true;
    entry.worker->set_failed(std::string(message(code.status())));
    log_->error("worker {} does not load and is tried again: {}", entry.worker->spec().id,
                message(code.status()));
    lifecycle_.publish(entry.worker->spec(), "failed", "load", message(code.status()));
  }
  return entry;
}

void WorkManagerModule::Impl::create(const CreateWorkerRequest& request,
                                     rpc::ReplyTo<CreateWorkerResponse> reply) {
  {
    std::lock_guard lock(mutex_);
    if (entries_.size() >= config_.max_workers) {
      return reply(resource_exhausted("there are {} workers, the limit is max_workers = {}",
                                      entries_.size(), config_.max_workers));
    }
  }
  auto spec = spec_from_request(request, config_);
  if (!spec.ok()) return reply(spec.status());
  const auto& source = request.code_source();
  if (source.source_case() == CodeSource::kUrl) {
    return reply(unimplemented("code from a URL is not available yet; send it as content"));
  }
  if (source.source_case() != CodeSource::kContent || source.content().empty()) {
    return reply(invalid_argument("code_source.content is empty; send the worker's code"));
  }
  spec->code = source.content();
  if (!source.sha256().empty()) {
    const std::string actual = sha256_hex(spec->code);
    if (!same_hex(actual, source.sha256())) {
      return reply(invalid_argument("the code's SHA-256 is {}, code_source.sha256 says {}", actual,
                                    printable(source.sha256())));
    }
  }
  spec->id = random_uuid().view();
  spec->created_at = platform_.clock.now();
  spec->running = request.start();

  auto entry = make_entry(*std::move(spec), true);
  if (!entry.ok()) return reply(entry.status());
  const WorkerSpec& made = entry->worker->spec();
  auto status = records_.save(made);
  if (status.ok()) status = records_.add_to_index(made.id);
  if (status.ok()) {
    lifecycle_.publish(made, "created");
    if (entry->running) status = begin(*entry);
  }
  if (!status.ok()) {
    if (const auto erased = records_.erase(made.id); !erased.ok()) {
      log_->warn("the record of worker {} stays behind: {}", made.id, message(erased));
    }
    entry->worker->close();
    return reply(status);
  }
  {
    std::lock_guard lock(mutex_);
    entries_.emplace(made.id, *entry);
  }
  CreateWorkerResponse response;
  response.set_id(made.id);
  reply(std::move(response));
}

/// Subscribes; loads the code first if a call that hung has taken it along.
absl::Status WorkManagerModule::Impl::begin(Entry& entry) {
  const WorkerSpec& spec = entry.worker->spec();
  if (!entry.worker->has_code()) {
    auto code = load(*entry.engine, spec);
    if (!code.ok()) return code.status();
    entry.worker->set_code(*std::move(code));
  }
  const bool running = entry.worker->state() == Worker::State::kOnline ||
                       entry.worker->state() == Worker::State::kDegraded;
  if (running) return absl::OkStatus();
  lifecycle_.publish(spec, "starting");
  const auto status = entry.worker->start();
  if (status.ok()) {
    lifecycle_.publish(spec, "online");
  } else {
    lifecycle_.publish(spec, "failed", "start", message(status));
  }
  return status;
}

absl::StatusOr<WorkManagerModule::Impl::Entry> WorkManagerModule::Impl::find(
    const std::string& id) const {
  std::lock_guard lock(mutex_);
  const auto at = entries_.find(id);
  if (at == entries_.end() || at->second.deleting) {
    return not_found("no worker '{}'; ListWorkers names them", printable(id));
  }
  return at->second;
}

absl::Status WorkManagerModule::Impl::set_running(const std::string& id, bool running) {
  auto entry = find(id);
  if (!entry.ok()) return entry.status();
  if (entry->running == running) return absl::OkStatus();
  WorkerSpec spec = entry->worker->spec();
  spec.running = running;
  VIRTUFIN_RETURN_IF_ERROR(records_.save(spec));
  std::lock_guard lock(mutex_);
  entries_[id].running = running;
  return absl::OkStatus();
}

void WorkManagerModule::Impl::start_worker(const std::string& id,
                                           rpc::ReplyTo<StartWorkerResponse> reply) {
  auto entry = find(id);
  if (!entry.ok()) return reply(entry.status());
  auto status = begin(*entry);
  if (status.ok()) {
    {
      std::lock_guard lock(mutex_);
      entries_[id].recovering = false;
    }
    status = set_running(id, true);
  }
  if (!status.ok()) return reply(status);
  reply(StartWorkerResponse());
}

void WorkManagerModule::Impl::stop_worker(const std::string& id,
                                          rpc::ReplyTo<StopWorkerResponse> reply) {
  auto entry = find(id);
  if (!entry.ok()) return reply(entry.status());
  if (const auto status = set_running(id, false); !status.ok()) return reply(status);
  const bool was_stopped = entry->worker->state() == Worker::State::kStopped;
  if (!was_stopped) lifecycle_.publish(entry->worker->spec(), "stopping");
  entry->worker->stop([self = shared_from_this(), worker = entry->worker, was_stopped,
                       reply = std::move(reply)]() mutable {
    if (!was_stopped && !self->stopped_) self->lifecycle_.publish(worker->spec(), "stopped");
    reply(StopWorkerResponse());
  });
}

void WorkManagerModule::Impl::delete_worker(const std::string& id,
                                            rpc::ReplyTo<DeleteWorkerResponse> reply) {
  auto entry = find(id);
  if (!entry.ok()) return reply(entry.status());
  if (const auto status = records_.erase(id); !status.ok()) return reply(status);
  {
    std::lock_guard lock(mutex_);
    entries_[id].deleting = true;
  }
  // The rest waits for the event in hand and must not hold up other changes meanwhile.
  entry->worker->stop(
      [self = shared_from_this(), worker = entry->worker, reply = std::move(reply)]() mutable {
        self->remove(worker->spec().id);
        if (!self->stopped_) self->lifecycle_.publish(worker->spec(), "deleted");
        reply(DeleteWorkerResponse());
      });
}

void WorkManagerModule::Impl::remove(const std::string& id) {
  std::shared_ptr<Worker> worker;
  {
    std::lock_guard lock(mutex_);
    const auto at = entries_.find(id);
    if (at == entries_.end()) return;
    worker = std::move(at->second.worker);
    entries_.erase(at);
    retired_ += worker->counts();
    retired_lag_.merge(worker->lag());
  }
  worker->close();
}

void WorkManagerModule::Impl::on_failed(const Worker& worker) {
  if (!stopped_) lifecycle_.publish(worker.spec(), "failed", "runtime", worker.last_error());
}

std::vector<std::shared_ptr<Worker>> WorkManagerModule::Impl::workers() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Worker>> all;
  all.reserve(entries_.size());
  for (const auto& [id, entry] : entries_) all.push_back(entry.worker);
  return all;
}

void WorkManagerModule::Impl::fill(const Entry& entry, const std::string& instance,
                                   WorkerInfo& info) {
  const Worker& worker = *entry.worker;
  const WorkerSpec& spec = worker.spec();
  const Counts counts = worker.counts();
  const Worker::State state = worker.state();
  const bool running = state == Worker::State::kOnline || state == Worker::State::kDegraded ||
                       state == Worker::State::kStarting;
  info.set_id(spec.id);
  info.set_mime_type(spec.mime_type);
  info.set_language(std::string(entry.engine->label()));
  for (const auto& topic : spec.topics) info.add_topics(topic);
  info.set_created_at(format_time(spec.created_at));
  info.set_status(running ? WORKER_STATUS_RUNNING : WORKER_STATUS_STOPPED);
  info.mutable_config()->insert(spec.config.begin(), spec.config.end());
  info.mutable_tags()->insert(spec.tags.begin(), spec.tags.end());
  info.set_delivered(counts.delivered);
  info.set_processed(counts.processed);
  info.set_failed(counts.failed);
  info.set_dead_lettered(counts.dead_lettered);
  info.set_dropped(counts.dropped);
  info.set_in_flight(counts.in_flight);
  info.set_outputs(counts.outputs);
  info.set_orders(counts.orders);
  info.set_orders_recorded(counts.orders_recorded);
  info.set_lag_p50_us(worker.lag().quantile_ns(0.5) / 1000);
  info.set_lag_p99_us(worker.lag().quantile_ns(0.99) / 1000);
  info.set_last_error(worker.last_error());
  info.set_scenario(spec.scenario);
  info.set_state(std::string(workmanager::name(state)));
  info.set_instance(instance);
}

ListWorkersResponse WorkManagerModule::Impl::list(const ListWorkersRequest& request) const {
  std::vector<Entry> all;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, entry] : entries_) {
      if (!entry.deleting) all.push_back(entry);
    }
  }
  ListWorkersResponse response;
  for (const auto& entry : all) {
    const auto& tags = entry.worker->spec().tags;
    const bool wanted = std::all_of(request.filters().begin(), request.filters().end(),
                                    [&](const TagFilter& filter) {
                                      const auto at = tags.find(filter.key());
                                      return at != tags.end() && at->second == filter.value();
                                    });
    if (wanted) fill(entry, platform_.instance_id, *response.add_workers());
  }
  return response;
}

Totals WorkManagerModule::Impl::totals() const {
  Totals totals;
  Histogram lag;
  std::lock_guard lock(mutex_);
  static_cast<Counts&>(totals) = retired_;
  lag.merge(retired_lag_);
  for (const auto& [id, entry] : entries_) {
    totals += entry.worker->counts();
    lag.merge(entry.worker->lag());
  }
  totals.workers = entries_.size();
  totals.lag_p50_us = lag.quantile_ns(0.5) / 1000;
  totals.lag_p99_us = lag.quantile_ns(0.99) / 1000;
  return totals;
}

/// Runs `work` again and again on a loop until the module stops.
void WorkManagerModule::Impl::every(std::chrono::milliseconds interval,
                                    std::function<void(Impl&)> work) {
  auto timer = std::make_shared<boost::asio::steady_timer>(platform_.loops.at(0).io(), interval);
  timer->async_wait([timer, interval, work = std::move(work),
                     weak = weak_from_this()](const boost::system::error_code&) {
    const auto self = weak.lock();
    if (self == nullptr || self->stopped_) return;
    work(*self);
    self->every(interval, work);
  });
}

void WorkManagerModule::Impl::bring_back(const std::string& id) {
  auto spec = records_.load(id);
  if (!spec.ok()) {
    return log_->error("worker {} is in the index and not readable: {}", printable(id),
                       message(spec.status()));
  }
  auto entry = make_entry(*std::move(spec), false);
  if (!entry.ok()) {
    return log_->error("worker {} does not come back: {}", printable(id), message(entry.status()));
  }
  if (entry->running && !entry->recovering) {
    if (const auto status = begin(*entry); !status.ok()) {
      entry->recovering = true;
      entry->worker->set_failed(std::string(message(status)));
    }
  }
  std::lock_guard lock(mutex_);
  entries_.emplace(id, *std::move(entry));
}

absl::Status WorkManagerModule::Impl::start() {
  shared_->orders->start();
  auto ids = records_.index();
  if (!ids.ok()) return with_context(ids.status(), "the workers of the state store");
  for (const auto& id : *ids) bring_back(id);
  if (!ids->empty()) log_->info("{} workers came back", workers().size());
  every(kWatchInterval, [](Impl& self) {
    const auto now = std::chrono::steady_clock::now();
    for (const auto& worker : self.workers()) worker->watch(now);
  });
  every(config_.recovery_interval, [](Impl& self) {
    const bool posted = self.platform_.blocking.post([impl = self.shared_from_this()] {
      std::lock_guard lock(impl->control_);
      if (!impl->stopped_) impl->recover();
    });
    if (!posted) self.log_->warn("no thread is free to load workers that did not come back");
  });
  return absl::OkStatus();
}

/// Tries the workers that did not come back again.
void WorkManagerModule::Impl::recover() {
  std::vector<std::pair<std::string, Entry>> all;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, entry] : entries_) {
      if (entry.recovering && !entry.deleting) all.emplace_back(id, entry);
    }
  }
  for (auto& [id, entry] : all) {
    absl::Status status;
    if (entry.running) {
      status = begin(entry);
    } else if (auto code = load(*entry.engine, entry.worker->spec()); code.ok()) {
      entry.worker->set_code(*std::move(code));
    } else {
      status = code.status();
    }
    if (!status.ok()) {
      entry.worker->set_failed(std::string(message(status)));
      continue;
    }
    log_->info("worker {} came back", id);
    std::lock_guard lock(mutex_);
    entries_[id].recovering = false;
  }
}

void WorkManagerModule::Impl::stop(SteadyTime deadline) {
  {
    std::lock_guard lock(control_);
    if (stopped_) return;
    intake_ = false;
  }
  const auto all = workers();
  const auto draining = std::make_shared<Outstanding>();
  for (const auto& worker : all) {
    draining->begin();
    worker->drain([draining] { draining->end(); });
  }
  if (!draining->wait(deadline)) log_->warn("workers still had events when the time was over");

  const auto stopping = std::make_shared<Outstanding>();
  for (const auto& worker : all) {
    stopping->begin();
    worker->stop([stopping] { stopping->end(); });
  }
  if (!stopping->wait(deadline)) log_->warn("workers were still busy when the time was over");

  const auto writing = std::make_shared<Outstanding>();
  writing->begin();
  shared_->orders->close([writing] { writing->end(); });
  // A moment beyond the deadline: what is late here is made up for at the next start.
  if (!writing->wait(
          std::max(deadline, std::chrono::steady_clock::now() + std::chrono::milliseconds(100)))) {
    log_->warn("the index of orders was not finished; the next start completes it");
  }
  std::lock_guard lock(control_);
  stopped_ = true;
  for (const auto& worker : all) worker->close();
}

WorkManagerModule::WorkManagerModule(Platform& platform, WorkManagerConfig config)
    : impl_(std::make_shared<Impl>(platform, std::move(config))) {
  prepare_worker_environment();  // in case main has not
  impl_->add_methods();
  methods_ = &platform.methods;
}

WorkManagerModule::~WorkManagerModule() {
  stop(std::chrono::steady_clock::now());
  for (const auto* method : kMethods) methods_->remove(method);
}

absl::Status WorkManagerModule::start() { return impl_->start(); }
void WorkManagerModule::close_intake() { impl_->close_intake(); }
void WorkManagerModule::stop(SteadyTime deadline) { impl_->stop(deadline); }
Totals WorkManagerModule::totals() const { return impl_->totals(); }

std::vector<HealthEntry> WorkManagerModule::health() const {
  // A worker that fails is its own affair: ListWorkers and the lifecycle topic tell.
  return {{"workmanager", absl::OkStatus()}};
}

}  // namespace virtufin::workmanager

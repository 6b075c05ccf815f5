#include "modules/workmanager/workmanager.h"

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <utility>

#include "core/errors.h"
#include "modules/workmanager/engines/native/native_engine.h"
#include "modules/workmanager/environment.h"
#include "modules/workmanager/workmanager_impl.h"

namespace virtufin::workmanager {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::chrono::milliseconds kWatchInterval{50};

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

WorkManagerModule::Impl::Impl(Platform& platform, WorkManagerConfig config)
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

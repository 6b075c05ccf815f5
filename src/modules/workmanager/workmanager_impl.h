#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/statusor.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/log.h"
#include "core/metrics.h"
#include "modules/workmanager/lifecycle.h"
#include "modules/workmanager/worker.h"
#include "modules/workmanager/worker_records.h"
#include "modules/workmanager/workmanager.h"
#include "rpc/method.h"
#include "virtufin/workmanager.pb.h"

/// Private to WorkManagerModule: workmanager.cpp keeps the workers, workmanager_calls.cpp answers
/// calls.
namespace virtufin::workmanager {

inline constexpr std::array kMethods = {
    "virtufin.WorkManager/CreateWorker", "virtufin.WorkManager/StartWorker",
    "virtufin.WorkManager/StopWorker", "virtufin.WorkManager/DeleteWorker",
    "virtufin.WorkManager/ListWorkers"};

/// Held by the callbacks that are out; after stop() they find it stopped and do nothing.
class WorkManagerModule::Impl : public std::enable_shared_from_this<Impl> {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  Impl(Platform& platform, WorkManagerConfig config);

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

}  // namespace virtufin::workmanager

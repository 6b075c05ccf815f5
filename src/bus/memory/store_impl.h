#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bus/memory/memory_store.h"
#include "bus/memory/query.h"
#include "bus/memory/records.h"
#include "bus/memory/state_file.h"
#include "bus/memory/timer.h"
#include "core/executor.h"
#include "core/metrics.h"
#include "core/time.h"

/// Private to MemoryStore: memory_store.cpp reads, store_writes.cpp writes.
namespace virtufin::bus {

struct MemoryStore::Impl {
  using Change = memory::Change;
  using Changes = memory::Changes;
  using Version = memory::Version;
  using VersionPtr = memory::VersionPtr;
  using Settled = absl::AnyInvocable<void(absl::Status)>;
  struct Write {
    Changes changes;
    Settled settled;
  };

  /// Records looked at under one hold of the lock by queries and expiry.
  static constexpr std::size_t kWalkRecords = 256;
  /// How many etags the ceiling is ahead; more than may ever wait.
  static constexpr std::uint64_t kEtagReserve = 1u << 20;

  Impl(const StateConfig& config, const Clock& clock, Metrics& metrics);
  ~Impl();

  static std::string etag_of(const VersionPtr& version) {
    return version ? std::to_string(version->etag) : std::string();
  }

  void transact(std::vector<std::variant<Save, Erase>> wanted, Done<std::monostate> done);
  void run_writer();
  void sweep();
  absl::StatusOr<std::vector<Item>> run_query(const memory::Query& query, std::size_t limit);

  absl::Status check(const Save& save) const;
  absl::Status check(const Erase& erase) const;

  // Under mutex.
  void show();
  absl::StatusOr<VersionPtr> make_version(const Save& save, TimePoint now);
  absl::StatusOr<VersionPtr> make_version(const Erase& erase, TimePoint now);
  std::size_t room() const;  ///< for changes that wait
  absl::Status check_room(std::size_t changes);
  /// Puts a change in place, and remembers what to go back to if the file refuses it.
  void apply(Change change, Changes& changes);
  /// True: settled() will be called by the writer; false: it is done.
  bool enqueue(Changes changes, Settled& settled);
  void start_sweeper(const VersionPtr& version);

  absl::Status write_batch(const std::vector<Write>& batch, std::uint64_t etag_ceiling);

  /// `finish(status, etag)` here, or by the writer.
  template <class OneWrite, class Finish>
  void write_one(OneWrite write, Finish finish) {
    if (absl::Status status = check(write); !status.ok()) return finish(std::move(status), {});
    const TimePoint now = clock.now();
    std::unique_lock lock(mutex);
    absl::Status status = check_room(1);
    VersionPtr version;
    if (status.ok()) {
      auto made = make_version(write, now);
      if (made.ok()) {
        version = *std::move(made);
      } else {
        status = made.status();
        conflicts->add();
      }
    }
    if (!status.ok()) {
      lock.unlock();
      return finish(std::move(status), {});
    }
    start_sweeper(version);
    std::string etag = etag_of(version);
    Changes changes;
    apply({std::move(write.key), std::move(version)}, changes);
    if (!file) {
      writes->add();
      show();
      lock.unlock();
      return finish(absl::OkStatus(), std::move(etag));
    }
    Settled settled = [finish = std::move(finish), etag = std::move(etag)](absl::Status s) mutable {
      finish(std::move(s), std::move(etag));
    };
    enqueue(std::move(changes), settled);
    const bool sleeping = std::exchange(writer_sleeps, false);
    lock.unlock();
    if (sleeping) wake.notify_one();
  }

  const StateConfig config;
  const Clock& clock;
  const std::shared_ptr<Gauge> records_gauge, bytes_gauge, waiting_gauge;
  const std::shared_ptr<Counter> writes, conflicts, failures;
  const std::shared_ptr<Histogram> commit_seconds;

  mutable std::mutex mutex;
  memory::Records records;
  std::uint64_t next_etag = 1;
  std::deque<Write> queue;
  std::size_t waiting = 0;  // changes that are not in the file yet
  bool writer_sleeps = false;
  bool stopping = false;
  absl::Status health;
  std::condition_variable wake;
  std::unique_ptr<memory::StateFile> file;  // null: durability none
  std::optional<BlockingPool> queries;
  std::optional<memory::Timer> sweeper;
  std::thread writer;
};

}  // namespace virtufin::bus

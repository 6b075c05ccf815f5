#include "bus/memory/memory_store.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "bus/memory/query.h"
#include "bus/memory/records.h"
#include "bus/memory/state_file.h"
#include "bus/memory/timer.h"
#include "bus/state_check.h"
#include "core/config.h"
#include "core/errors.h"
#include "core/executor.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/time.h"

namespace virtufin::bus {
namespace {

using memory::Change;
using memory::Changes;
using memory::Query;
using memory::QueryRun;
using memory::Records;
using memory::StateFile;
using memory::Timer;
using memory::Version;
using memory::VersionPtr;

/// Changes of one transaction of the file; more wait for the next.
constexpr std::size_t kBatchChanges = 4096;
/// How many etags the ceiling is ahead; more than may ever wait.
constexpr std::uint64_t kEtagReserve = 1u << 20;
/// Records looked at under one hold of the lock by queries and expiry.
constexpr std::size_t kWalkRecords = 256;

const Logger& log() {
  static const Logger kLogger = logger("state");
  return kLogger;
}

std::string etag_of(const VersionPtr& version) {
  return version ? std::to_string(version->etag) : std::string();
}

absl::Status check_condition(std::string_view key, const Condition& condition,
                             const VersionPtr& now) {
  if (std::holds_alternative<IfAbsent>(condition)) {
    if (!now) return absl::OkStatus();
    return aborted("key '{}' exists already, with etag {}", printable(key), now->etag);
  }
  if (const auto* wanted = std::get_if<IfEtag>(&condition)) {
    if (wanted->etag == etag_of(now)) return absl::OkStatus();
    if (!now)
      return aborted("key '{}' does not exist, etag {} was expected", printable(key),
                     printable(wanted->etag));
    return aborted("key '{}' has etag {}, not {}: read it again", printable(key), now->etag,
                   printable(wanted->etag));
  }
  return absl::OkStatus();
}

Item make_item(std::string key, const VersionPtr& version) {
  if (!version) return {std::move(key), {}, {}};
  return {std::move(key), version->value, etag_of(version)};
}

}  // namespace

void StateConfig::read(ConfigSection section) {
  section.choice("durability", durability, {"none", "batched", "commit"},
                 "none: memory only; batched: group commit, survives kill -9; commit: survives "
                 "power loss");
  section.value("path", path, "The SQLite file; used unless durability is none");
  section.value("queue_writes", queue_writes, "Writes that may wait for their commit",
                {1, 262'144});
  section.value("queue_queries", queue_queries, "Queries that may wait for their turn",
                {1, 65'536});
  section.value("query_items_max", query_items_max, "Items that one query answers", {1, 1'000'000});
  section.value("query_sort_max", query_sort_max, "Matches that one query sorts", {1, 100'000'000});
  section.value("value_bytes_max", value_bytes_max, "The largest value", {1, 512 << 20});
  section.value("expire_ms", expire_ms, "Between two looks for records past their ttl",
                {1, 3'600'000});
  section.value("services", services, "Names registered beside the gateway's own");
}

struct MemoryStore::Impl {
  using Settled = absl::AnyInvocable<void(absl::Status)>;
  struct Write {
    Changes changes;
    Settled settled;
  };

  Impl(const StateConfig& c, const Clock& k, Metrics& metrics)
      : config(c),
        clock(k),
        records_gauge(metrics.gauge("virtufin_state_records", "Records in the store")),
        bytes_gauge(metrics.gauge("virtufin_state_bytes", "Memory that the records take")),
        waiting_gauge(
            metrics.gauge("virtufin_state_waiting_writes", "Writes that wait for their commit")),
        writes(metrics.counter("virtufin_state_writes_total", "Writes that were acknowledged")),
        conflicts(metrics.counter("virtufin_state_conflicts_total",
                                  "Writes whose condition did not hold")),
        failures(metrics.counter("virtufin_state_write_failures_total",
                                 "Writes that the file did not take, or that found no room")),
        commit_seconds(
            metrics.histogram("virtufin_state_commit_seconds", "Transactions of the file")) {}

  ~Impl() {
    sweeper.reset();
    queries.reset();
    if (writer.joinable()) {
      {
        std::lock_guard lock(mutex);
        stopping = true;
      }
      wake.notify_one();
      writer.join();
    }
  }

  void show() {  // under mutex
    records_gauge->set(static_cast<std::int64_t>(records.count()));
    bytes_gauge->set(static_cast<std::int64_t>(records.bytes()));
    waiting_gauge->set(static_cast<std::int64_t>(waiting));
  }

  // --- Writing ---------------------------------------------------------------------------------

  /// Under mutex: what a write makes of a key, or why it may not.
  absl::StatusOr<VersionPtr> make_version(const Save& save, TimePoint now) {
    VIRTUFIN_RETURN_IF_ERROR(
        check_condition(save.key, save.condition, records.find(save.key, now)));
    TimePoint expiry = TimePoint::max();
    // A time that the clock cannot tell is never.
    if (save.ttl && *save.ttl < std::chrono::duration_cast<std::chrono::seconds>(expiry - now)) {
      expiry = now + *save.ttl;
    }
    return VersionPtr(new Version(save.value, next_etag++, expiry));
  }
  absl::StatusOr<VersionPtr> make_version(const Erase& erase, TimePoint now) {
    VIRTUFIN_RETURN_IF_ERROR(
        check_condition(erase.key, erase.condition, records.find(erase.key, now)));
    return VersionPtr();
  }

  absl::Status check(const Save& save) const {
    VIRTUFIN_RETURN_IF_ERROR(check_key(save.key));
    if (save.value.size() > config.value_bytes_max) {
      return invalid_argument(
          "the value of key '{}' has {} bytes, at most {} are taken "
          "(state.value_bytes_max)",
          printable(save.key), save.value.size(), config.value_bytes_max);
    }
    return check_ttl(save.key, save.ttl);
  }
  absl::Status check(const Erase& erase) const { return check_key(erase.key); }

  /// Under mutex.
  bool has_room(std::size_t changes) const {
    return !file || waiting + changes <= config.queue_writes;
  }
  absl::Status check_room(std::size_t changes) {
    if (has_room(changes)) return absl::OkStatus();
    failures->add();
    return resource_exhausted(
        "{} writes wait for the disk and {} more were asked for, at most {} may wait: write "
        "slower, "
        "or raise state.queue_writes",
        waiting, changes, config.queue_writes);
  }

  /// Under mutex. Puts a change in place, and remembers what to go back to if the file refuses it.
  void apply(Change change, Changes& changes) {
    VersionPtr before = records.replace(change.key, change.version);
    if (file) {
      records.expect_commit(change.key, std::move(before));
      changes.push_back(std::move(change));
    }
  }

  /// Under mutex. True: settled() will be called by the writer; false: it is done.
  bool enqueue(Changes changes, Settled& settled) {
    if (!file) {
      writes->add();
      show();
      return false;
    }
    waiting += changes.size();
    show();
    queue.push_back({std::move(changes), std::move(settled)});
    return true;
  }

  template <class Change1, class Finish>
  void write_one(Change1 write, Finish finish) {
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

  void transact(std::vector<std::variant<Save, Erase>> wanted, Done<std::monostate> done) {
    const auto key_of = [](const auto& write) -> const std::string& { return write.key; };
    for (const auto& write : wanted) {
      absl::Status status = std::visit([&](const auto& w) { return check(w); }, write);
      if (!status.ok()) return done(std::move(status));
    }
    const TimePoint now = clock.now();
    std::unique_lock lock(mutex);
    absl::Status status = check_room(wanted.size());
    std::vector<std::pair<const std::string*, VersionPtr>> undo;
    Changes made;
    for (auto& write : wanted) {
      if (!status.ok()) break;
      auto version = std::visit([&](const auto& w) { return make_version(w, now); }, write);
      if (!version.ok()) {
        status = version.status();
        conflicts->add();
        break;
      }
      start_sweeper(*version);
      const std::string& key = std::visit(key_of, write);
      undo.emplace_back(&key, records.replace(key, *version));
      made.push_back({key, *std::move(version)});
    }
    if (!status.ok()) {
      while (!undo.empty()) {
        records.replace(*undo.back().first, std::move(undo.back().second));
        undo.pop_back();
      }
      lock.unlock();
      return done(std::move(status));
    }
    if (file) {
      for (auto& [key, before] : undo) records.expect_commit(*key, std::move(before));
    }
    Settled settled = [done = std::move(done)](absl::Status s) mutable {
      if (s.ok()) {
        done(std::monostate());
      } else {
        done(std::move(s));
      }
    };
    const bool later = !made.empty() && enqueue(std::move(made), settled);
    const bool sleeping = later && std::exchange(writer_sleeps, false);
    lock.unlock();
    if (sleeping) wake.notify_one();
    if (!later) settled(absl::OkStatus());
  }

  // --- The writer's thread ---------------------------------------------------------------------

  void run_writer() {
    set_thread_name("state-writer");
    std::unique_lock lock(mutex);
    for (;;) {
      while (queue.empty() && !stopping) {
        writer_sleeps = true;
        wake.wait(lock);
      }
      writer_sleeps = false;
      if (queue.empty()) return;
      std::vector<Write> batch;
      for (std::size_t changes = 0; !queue.empty() && changes < kBatchChanges;) {
        changes += queue.front().changes.size();
        batch.push_back(std::move(queue.front()));
        queue.pop_front();
      }
      std::uint64_t ceiling = 0;
      if (next_etag + kEtagReserve / 2 > file->etag_ceiling()) ceiling = next_etag + kEtagReserve;
      lock.unlock();
      absl::Status status = write_batch(batch, ceiling);
      lock.lock();
      if (status.ok()) {
        for (const Write& write : batch) {
          for (const Change& change : write.changes) records.committed(change.key, change.version);
          waiting -= write.changes.size();
        }
        writes->add(batch.size());
        if (!health.ok()) log()->info("state file '{}' can be written again", config.path);
      } else {
        // What came after was checked against what failed: it fails with it.
        for (Write& write : queue) batch.push_back(std::move(write));
        queue.clear();
        for (const Write& write : batch) {
          for (const Change& change : write.changes) records.roll_back(change.key);
        }
        waiting = 0;
        failures->add(batch.size());
        if (health.ok()) log()->error("{}", message(status));
      }
      health = status;
      show();
      lock.unlock();
      for (Write& write : batch) write.settled(status);
      batch.clear();
      lock.lock();
    }
  }

  absl::Status write_batch(const std::vector<Write>& batch, std::uint64_t etag_ceiling) {
    const auto begin = std::chrono::steady_clock::now();
    const auto write_all = [&]() -> absl::Status {
      VIRTUFIN_RETURN_IF_ERROR(file->begin());
      for (const Write& write : batch) {
        for (const Change& change : write.changes) VIRTUFIN_RETURN_IF_ERROR(file->write(change));
      }
      if (etag_ceiling != 0) VIRTUFIN_RETURN_IF_ERROR(file->raise_etag_ceiling(etag_ceiling));
      return file->commit();
    };
    absl::Status status = write_all();
    if (!status.ok()) file->roll_back();
    commit_seconds->record_ns((std::chrono::steady_clock::now() - begin).count());
    return status;
  }

  // --- Expiry ----------------------------------------------------------------------------------

  /// Under mutex.
  void start_sweeper(const VersionPtr& version) {
    if (sweeper || !version || version->expiry == TimePoint::max()) return;
    sweeper.emplace("state-expiry", config.expire_ms, [this] { sweep(); });
  }

  void sweep() {
    const TimePoint now = clock.now();
    for (;;) {
      std::unique_lock lock(mutex);
      auto gone = records.expired(now, kWalkRecords);
      if (gone.empty() || !has_room(gone.size())) return;
      const bool more = gone.size() == kWalkRecords;
      Changes changes;
      for (auto& [key, version] : gone) apply({std::move(key), nullptr}, changes);
      Settled nobody_waits = [](const absl::Status&) {};
      const bool sleeping =
          enqueue(std::move(changes), nobody_waits) && std::exchange(writer_sleeps, false);
      lock.unlock();
      if (sleeping) wake.notify_one();
      if (!more) return;
    }
  }

  // --- Queries ---------------------------------------------------------------------------------

  absl::StatusOr<std::vector<Item>> run_query(const Query& query, std::size_t limit) {
    limit = std::min(limit, query.limit().value_or(limit));
    struct Match {
      QueryRun::SortKey sort;
      std::string key;
      VersionPtr version;
    };
    std::vector<Match> matches;
    QueryRun run(query);
    const TimePoint now = clock.now();
    std::string after = query.sorted() ? std::string() : query.token();
    for (;;) {
      std::vector<std::pair<std::string, VersionPtr>> some;
      {
        std::lock_guard lock(mutex);
        some = records.walk(query.prefix(), after, now, kWalkRecords);
      }
      for (auto& [key, version] : some) {
        if (!run.matches(key, version->value)) continue;
        if (query.sorted() && matches.size() == config.query_sort_max) {
          return resource_exhausted(
              "more than {} records match and would have to be sorted (state.query_sort_max): "
              "narrow the filter",
              config.query_sort_max);
        }
        matches.push_back({query.sorted() ? run.sort_key() : QueryRun::SortKey(), key, version});
        if (!query.sorted() && matches.size() == limit) break;
      }
      if (some.size() < kWalkRecords || (!query.sorted() && matches.size() >= limit)) break;
      after = some.back().first;
    }
    std::size_t first = 0;
    if (query.sorted()) {
      std::sort(matches.begin(), matches.end(), [&](const Match& a, const Match& b) {
        return run.before(a.sort, a.key, b.sort, b.key);
      });
      if (!query.token().empty()) {
        const auto last = std::find_if(matches.begin(), matches.end(),
                                       [&](const Match& m) { return m.key == query.token(); });
        if (last == matches.end()) {
          return invalid_argument("page.token '{}' is the key of no record that matches (any more)",
                                  printable(query.token()));
        }
        first = static_cast<std::size_t>(last - matches.begin()) + 1;
      }
    }
    std::vector<Item> items;
    for (std::size_t i = first; i < matches.size() && items.size() < limit; ++i) {
      items.push_back(make_item(std::move(matches[i].key), matches[i].version));
    }
    return items;
  }

  const StateConfig config;
  const Clock& clock;
  const std::shared_ptr<Gauge> records_gauge, bytes_gauge, waiting_gauge;
  const std::shared_ptr<Counter> writes, conflicts, failures;
  const std::shared_ptr<Histogram> commit_seconds;

  mutable std::mutex mutex;
  Records records;
  std::uint64_t next_etag = 1;
  std::deque<Write> queue;
  std::size_t waiting = 0;  // changes that are not in the file yet
  bool writer_sleeps = false;
  bool stopping = false;
  absl::Status health;
  std::condition_variable wake;
  std::unique_ptr<StateFile> file;  // null: durability none
  std::optional<BlockingPool> queries;
  std::optional<Timer> sweeper;
  std::thread writer;
};

MemoryStore::MemoryStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MemoryStore::~MemoryStore() = default;

absl::StatusOr<std::unique_ptr<MemoryStore>> MemoryStore::open(const StateConfig& config,
                                                               const Clock& clock,
                                                               Metrics& metrics) {
  auto impl = std::make_unique<Impl>(config, clock, metrics);
  if (config.durability == "none") {
    // Nothing remembers the etags of the run before; the time keeps them apart.
    impl->next_etag = static_cast<std::uint64_t>(
        std::max<std::int64_t>(clock.now().time_since_epoch().count(), 1));
    return std::unique_ptr<MemoryStore>(new MemoryStore(std::move(impl)));
  }
  auto file = StateFile::open(config.path, config.durability == "commit");
  if (!file.ok()) return file.status();
  bool any_expiry = false;
  VIRTUFIN_RETURN_IF_ERROR((*file)->load([&](std::string key, VersionPtr version) {
    any_expiry |= version->expiry != TimePoint::max();
    impl->records.replace(key, std::move(version));
  }));
  impl->next_etag = (*file)->etag_ceiling();
  VIRTUFIN_RETURN_IF_ERROR((*file)->begin());
  VIRTUFIN_RETURN_IF_ERROR((*file)->raise_etag_ceiling(impl->next_etag + kEtagReserve));
  VIRTUFIN_RETURN_IF_ERROR((*file)->commit());
  impl->file = *std::move(file);
  impl->show();
  impl->writer = std::thread([raw = impl.get()] { raw->run_writer(); });
  if (any_expiry)
    impl->sweeper.emplace("state-expiry", config.expire_ms, [raw = impl.get()] { raw->sweep(); });
  return std::unique_ptr<MemoryStore>(new MemoryStore(std::move(impl)));
}

void MemoryStore::get(std::string key, Done<Item> done) {
  if (absl::Status status = check_key(key); !status.ok()) return done(std::move(status));
  const TimePoint now = impl_->clock.now();
  VersionPtr version;
  {
    std::lock_guard lock(impl_->mutex);
    version = impl_->records.find(key, now);
  }
  done(make_item(std::move(key), version));
}

void MemoryStore::get(std::vector<std::string> keys, Done<std::vector<Item>> done) {
  for (const auto& key : keys) {
    if (absl::Status status = check_key(key); !status.ok()) return done(std::move(status));
  }
  const TimePoint now = impl_->clock.now();
  std::vector<VersionPtr> versions;
  versions.reserve(keys.size());
  {
    std::lock_guard lock(impl_->mutex);
    for (const auto& key : keys) versions.push_back(impl_->records.find(key, now));
  }
  std::vector<Item> items;
  items.reserve(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    items.push_back(make_item(std::move(keys[i]), versions[i]));
  }
  done(std::move(items));
}

void MemoryStore::save(Save save, Done<std::string> done) {
  impl_->write_one(std::move(save),
                   [done = std::move(done)](absl::Status status, std::string etag) mutable {
                     if (status.ok()) {
                       done(std::move(etag));
                     } else {
                       done(std::move(status));
                     }
                   });
}

void MemoryStore::erase(Erase erase, Done<std::monostate> done) {
  impl_->write_one(std::move(erase),
                   [done = std::move(done)](absl::Status status, const std::string&) mutable {
                     if (status.ok()) {
                       done(std::monostate());
                     } else {
                       done(std::move(status));
                     }
                   });
}

void MemoryStore::transact(std::vector<std::variant<Save, Erase>> writes,
                           Done<std::monostate> done) {
  impl_->transact(std::move(writes), std::move(done));
}

void MemoryStore::query(std::string text, std::size_t limit, Done<std::vector<Item>> done) {
  auto query = Query::parse(text);
  if (!query.ok()) return done(query.status());
  const std::size_t most = impl_->config.query_items_max;
  limit = limit == 0 ? most : std::min(limit, most);
  // Shared, so that a queue without room leaves it here to be told.
  auto shared_done = std::make_shared<Done<std::vector<Item>>>(std::move(done));
  bool taken;
  {
    std::lock_guard lock(impl_->mutex);
    if (!impl_->queries) impl_->queries.emplace("state-query", 1, impl_->config.queue_queries);
    taken = impl_->queries->post([impl = impl_.get(), query = *std::move(query), limit,
                                  shared_done] { (*shared_done)(impl->run_query(query, limit)); });
  }
  if (!taken) {
    (*shared_done)(resource_exhausted("{} queries wait already (state.queue_queries)",
                                      impl_->config.queue_queries));
  }
}

std::size_t MemoryStore::records() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->records.count();
}

std::size_t MemoryStore::bytes() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->records.bytes();
}

absl::Status MemoryStore::health() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->health;
}

}  // namespace virtufin::bus

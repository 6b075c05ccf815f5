#include <algorithm>
#include <limits>
#include <utility>

#include "bus/memory/store_impl.h"
#include "bus/state_check.h"
#include "core/errors.h"
#include "core/log.h"

/// The store's writing half: conditions, transactions, the thread that writes the file, expiry.
namespace virtufin::bus {
namespace {

using memory::Change;
using memory::Changes;
using memory::Version;
using memory::VersionPtr;

/// Changes of one transaction of the file; more wait for the next.
constexpr std::size_t kBatchChanges = 4096;

const Logger& log() {
  static const Logger kLogger = logger("state");
  return kLogger;
}

absl::Status check_condition(std::string_view key, const Condition& condition,
                             const VersionPtr& now) {
  if (std::holds_alternative<IfAbsent>(condition)) {
    if (!now) return absl::OkStatus();
    return aborted("key '{}' exists already, with etag {}", printable(key), now->etag);
  }
  if (const auto* wanted = std::get_if<IfEtag>(&condition)) {
    if (wanted->etag == (now ? std::to_string(now->etag) : std::string())) return absl::OkStatus();
    if (!now)
      return aborted("key '{}' does not exist, etag {} was expected", printable(key),
                     printable(wanted->etag));
    return aborted("key '{}' has etag {}, not {}: read it again", printable(key), now->etag,
                   printable(wanted->etag));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<MemoryStore::Impl::VersionPtr> MemoryStore::Impl::make_version(const Save& save,
                                                                              TimePoint now) {
  VIRTUFIN_RETURN_IF_ERROR(check_condition(save.key, save.condition, records.find(save.key, now)));
  TimePoint expiry = TimePoint::max();
  // A time that the clock cannot tell is never.
  if (save.ttl && *save.ttl < std::chrono::duration_cast<std::chrono::seconds>(expiry - now)) {
    expiry = now + *save.ttl;
  }
  return VersionPtr(new Version(save.value, next_etag++, expiry));
}
absl::StatusOr<MemoryStore::Impl::VersionPtr> MemoryStore::Impl::make_version(const Erase& erase,
                                                                              TimePoint now) {
  VIRTUFIN_RETURN_IF_ERROR(
      check_condition(erase.key, erase.condition, records.find(erase.key, now)));
  return VersionPtr();
}

absl::Status MemoryStore::Impl::check(const Save& save) const {
  VIRTUFIN_RETURN_IF_ERROR(check_key(save.key));
  if (save.value.size() > config.value_bytes_max) {
    return invalid_argument(
        "the value of key '{}' has {} bytes, at most {} are taken "
        "(state.value_bytes_max)",
        printable(save.key), save.value.size(), config.value_bytes_max);
  }
  return check_ttl(save.key, save.ttl);
}

absl::Status MemoryStore::Impl::check(const Erase& erase) const { return check_key(erase.key); }

std::size_t MemoryStore::Impl::room() const {
  return file ? config.queue_writes - std::min(waiting, config.queue_writes)
              : std::numeric_limits<std::size_t>::max();
}

absl::Status MemoryStore::Impl::check_room(std::size_t changes) {
  if (changes <= room()) return absl::OkStatus();
  failures->add();
  return resource_exhausted(
      "{} writes wait for the disk and {} more were asked for, at most {} may wait: write slower, "
      "or raise state.queue_writes",
      waiting, changes, config.queue_writes);
}

void MemoryStore::Impl::apply(Change change, Changes& changes) {
  VersionPtr before = records.replace(change.key, change.version);
  if (file) {
    records.expect_commit(change.key, std::move(before));
    changes.push_back(std::move(change));
  }
}

bool MemoryStore::Impl::enqueue(Changes changes, Settled& settled) {
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

void MemoryStore::Impl::transact(std::vector<std::variant<Save, Erase>> wanted,
                                 Done<std::monostate> done) {
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

// --- The writer's thread ------------------------------------------------------------------------

void MemoryStore::Impl::run_writer() {
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

absl::Status MemoryStore::Impl::write_batch(const std::vector<Write>& batch,
                                            std::uint64_t etag_ceiling) {
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

// --- Expiry -------------------------------------------------------------------------------------

void MemoryStore::Impl::start_sweeper(const VersionPtr& version) {
  if (sweeper || !version || version->expiry == TimePoint::max()) return;
  sweeper.emplace("state-expiry", config.expire_ms, [this] { sweep(); });
}

void MemoryStore::Impl::sweep() {
  const TimePoint now = clock.now();
  for (;;) {
    std::unique_lock lock(mutex);
    // With no room there is a next time.
    const std::size_t most = std::min(kWalkRecords, room());
    auto gone = records.expired(now, most);
    if (gone.empty()) return;
    const bool more = gone.size() == most;
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

}  // namespace virtufin::bus

#include "bus/memory/memory_store.h"

#include <algorithm>
#include <utility>

#include "bus/memory/store_impl.h"
#include "bus/state_check.h"
#include "core/config.h"
#include "core/errors.h"
#include "core/log.h"

namespace virtufin::bus {
namespace {

using memory::Query;
using memory::QueryRun;
using memory::StateFile;
using memory::VersionPtr;

Item make_item(std::string key, const VersionPtr& version) {
  if (!version) return {std::move(key), {}, {}};
  return {std::move(key), version->value, std::to_string(version->etag)};
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

MemoryStore::Impl::Impl(const StateConfig& c, const Clock& k, Metrics& metrics)
    : config(c),
      clock(k),
      records_gauge(metrics.gauge("virtufin_state_records", "Records in the store")),
      bytes_gauge(metrics.gauge("virtufin_state_bytes", "Memory that the records take")),
      waiting_gauge(
          metrics.gauge("virtufin_state_waiting_writes", "Writes that wait for their commit")),
      writes(metrics.counter("virtufin_state_writes_total", "Writes that were acknowledged")),
      conflicts(
          metrics.counter("virtufin_state_conflicts_total", "Writes whose condition did not hold")),
      failures(metrics.counter("virtufin_state_write_failures_total",
                               "Writes that the file did not take, or that found no room")),
      commit_seconds(
          metrics.histogram("virtufin_state_commit_seconds", "Transactions of the file")) {}

MemoryStore::Impl::~Impl() {
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

void MemoryStore::Impl::show() {
  records_gauge->set(static_cast<std::int64_t>(records.count()));
  bytes_gauge->set(static_cast<std::int64_t>(records.bytes()));
  waiting_gauge->set(static_cast<std::int64_t>(waiting));
}

absl::StatusOr<std::vector<Item>> MemoryStore::Impl::run_query(const Query& query,
                                                               std::size_t limit) {
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
  VIRTUFIN_RETURN_IF_ERROR((*file)->raise_etag_ceiling(impl->next_etag + Impl::kEtagReserve));
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

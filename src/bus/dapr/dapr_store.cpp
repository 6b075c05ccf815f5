#include "bus/dapr/dapr_store.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

#include "bus/dapr/key_order.h"
#include "bus/dapr/state_calls.h"
#include "bus/dapr/state_transaction.h"
#include "bus/state_check.h"
#include "core/errors.h"
#include "core/log.h"
#include "core/metrics.h"

namespace virtufin::bus {
namespace {

using sidecar::KeyOrder;
using sidecar::StateCalls;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using AnyWrite = std::variant<Save, Erase>;

/// How often a write is tried again that the component refused though its condition holds.
constexpr int kMaxAttempts = 8;
constexpr milliseconds kRetryFirst{10};
constexpr milliseconds kRetryMax{500};
/// Keys remembered as written with first-write concurrency; forgetting one costs a call.
constexpr std::size_t kMaxMarked = 4096;

const std::string& key_of(const AnyWrite& write) {
  return std::visit([](const auto& w) -> const std::string& { return w.key; }, write);
}

std::size_t bytes_of(const AnyWrite& write) {
  const auto* save = std::get_if<Save>(&write);
  return key_of(write).size() + (save ? save->value.size() : 0);
}

sidecar::Write as_write(const AnyWrite& write) {
  if (const auto* save = std::get_if<Save>(&write)) {
    return {save->key, save->value, {}, false, false, save->ttl};
  }
  return {key_of(write), {}, {}, false, true, {}};
}

}  // namespace

struct DaprStore::Impl : std::enable_shared_from_this<DaprStore::Impl> {
  /// One call of save(), erase() or transact() on its way.
  struct Operation {
    std::vector<AnyWrite> writes;
    std::vector<std::string> keys;  // distinct
    StateCalls::Told done;
    bool transaction = false;
    std::size_t bytes = 0;
    steady_clock::time_point asked = steady_clock::now();
    std::size_t lines_ahead = 0;  // KeyOrder's
    bool started = false;
    bool counted = false;  // in calls_out
    int attempts = 0;
    Backoff backoff{kRetryFirst, kRetryMax};
  };
  using Group = std::vector<Operation*>;

  Impl(Sidecar& sidecar, Metrics& metrics)
      : config(sidecar.config()),
        calls(sidecar),
        waiting_gauge(metrics.gauge("virtufin_state_waiting_writes",
                                    "Writes that wait for their turn or their answer")),
        writes(metrics.counter("virtufin_state_writes_total", "Writes that were acknowledged")),
        conflicts(metrics.counter("virtufin_state_conflicts_total",
                                  "Writes whose condition did not hold")),
        failures(metrics.counter("virtufin_state_write_failures_total",
                                 "Writes that failed, or that found no room")) {}

  // --- Admission and order ---------------------------------------------------------------------

  absl::Status check_room(std::size_t bytes) const {  // under mutex
    if (closed) return unavailable("state store '{}' is being closed", calls.store());
    if (alive < config.queue_writes && bytes_alive + bytes <= config.queue_write_bytes) {
      return absl::OkStatus();
    }
    return unavailable(
        "{} state operations with {} bytes wait for the sidecar, no more may "
        "(bus.dapr.queue_writes "
        "{}, queue_write_bytes {}): is the sidecar slow or away?",
        alive, bytes_alive, config.queue_writes, config.queue_write_bytes);
  }
  void enter(std::size_t bytes) {  // under mutex
    ++alive;
    bytes_alive += bytes;
    waiting_gauge->set(static_cast<std::int64_t>(alive));
  }
  void leave(std::size_t count, std::size_t bytes) {  // not under mutex
    std::lock_guard lock(mutex);
    alive -= count;
    bytes_alive -= bytes;
    waiting_gauge->set(static_cast<std::int64_t>(alive));
    if (alive == 0) idle.notify_all();
  }

  void add(std::vector<AnyWrite> wanted, bool transaction, StateCalls::Told done) {
    for (const AnyWrite& write : wanted) {
      absl::Status status = check_key(key_of(write));
      const auto* save = std::get_if<Save>(&write);
      if (status.ok() && save) status = check_ttl(save->key, save->ttl);
      if (!status.ok()) return done(std::move(status));
    }
    if (wanted.empty()) return done(absl::OkStatus());
    auto operation = std::make_unique<Operation>();
    operation->transaction = transaction;
    for (const AnyWrite& write : wanted) {
      operation->keys.push_back(key_of(write));
      operation->bytes += bytes_of(write);
    }
    auto& keys = operation->keys;
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    operation->writes = std::move(wanted);
    absl::Status status;
    {
      std::lock_guard lock(mutex);
      status = check_room(operation->bytes);
      if (status.ok()) {
        enter(operation->bytes);
        operation->done = std::move(done);
        Operation* added = operation.release();
        operations.insert(added);
        if (order.add(added, added->keys)) make_ready(added);
      }
    }
    if (!status.ok()) {
      failures->add();
      return done(std::move(status));
    }
    pump();
  }

  /// A save without a condition, of a key that is not known to need its etag.
  bool is_plain(const Operation& operation) const {  // under mutex
    if (operation.transaction) return false;
    const auto* save = std::get_if<Save>(&operation.writes.front());
    return save && std::holds_alternative<std::monostate>(save->condition) &&
           !marked.contains(save->key);
  }
  void make_ready(Operation* operation) {  // under mutex
    (is_plain(*operation) ? plain : others).push_back(operation);
  }

  /// Starts what may start. Called after whatever may have made room. One thread at a time does it
  /// for all, so that a `done` that writes again is never deeper in the stack than the one before.
  void pump() {
    {
      std::lock_guard lock(mutex);
      if (std::exchange(pumping, true)) {
        pump_again = true;
        return;
      }
    }
    for (;;) {
      const bool settled = start_ready();
      std::lock_guard lock(mutex);
      if (!std::exchange(pump_again, false) && !settled) {
        pumping = false;
        return;
      }
    }
  }

  /// True: some were too old, which may have let others through.
  bool start_ready() {
    std::vector<Group> groups;
    std::vector<Operation*> single;
    Group expired;
    {
      std::lock_guard lock(mutex);
      const auto too_old = steady_clock::now() - config.queue_wait;
      const auto take = [&](std::deque<Operation*>& from) {
        Operation* operation = from.front();
        from.pop_front();
        operation->started = true;
        return operation;
      };
      while (!closed && !plain.empty() && save_calls_out < config.save_calls) {
        Group group;
        std::size_t bytes = 0;
        while (!plain.empty() && group.size() < config.save_max) {
          if (plain.front()->asked < too_old) {
            expired.push_back(take(plain));
            continue;
          }
          bytes += plain.front()->bytes;
          if (!group.empty() && bytes > config.save_bytes_max) break;
          group.push_back(take(plain));
        }
        if (group.empty()) break;
        ++save_calls_out;
        groups.push_back(std::move(group));
      }
      while (!closed && !others.empty() && calls_out < config.state_calls) {
        const bool old = others.front()->asked < too_old;
        Operation* operation = take(others);
        operation->counted = true;
        ++calls_out;
        (old ? expired : single).push_back(operation);
      }
    }
    for (Group& group : groups) save_group(std::move(group));
    for (Operation* operation : single) start(operation);
    if (expired.empty()) return false;
    settle(std::move(expired),
           unavailable("state store '{}': not written within {} ms (bus.dapr.queue_wait_ms): is "
                       "the sidecar slow or away?",
                       calls.store(), config.queue_wait.count()));
    return true;
  }

  void finish(Operation* operation, const absl::Status& status) {
    finish(Group{operation}, status);
  }
  void finish(Group group, const absl::Status& status) {
    settle(std::move(group), status);
    pump();
  }
  void settle(Group group, const absl::Status& status) {
    {
      std::lock_guard lock(mutex);
      std::vector<Operation*> ready;
      for (Operation* operation : group) {
        if (!closed) order.remove(operation->keys, ready);
        operations.erase(operation);
        if (operation->counted) --calls_out;
      }
      for (Operation* operation : ready) make_ready(operation);
    }
    if (status.ok()) {
      writes->add(group.size());
    } else {
      (status.code() == absl::StatusCode::kAborted ? conflicts : failures)->add(group.size());
    }
    std::size_t bytes = 0;
    for (Operation* operation : group) {
      bytes += operation->bytes;
      operation->done(status);
      delete operation;
    }
    leave(group.size(), bytes);
  }

  // --- Plain saves, together -------------------------------------------------------------------

  void save_group(Group group) {
    std::vector<sidecar::Write> items;
    items.reserve(group.size());
    for (const Operation* operation : group) items.push_back(as_write(operation->writes.front()));
    calls.save(items, [self = shared_from_this(),
                       group = std::move(group)](const absl::Status& told) mutable {
      {
        std::lock_guard lock(self->mutex);
        --self->save_calls_out;
      }
      self->group_saved(std::move(group), told);
    });
  }

  void group_saved(Group group, const absl::Status& told) {
    if (told.ok() || StateCalls::is_outage(told))
      return finish(std::move(group), calls.explained(told));
    // One of them spoils it for all: each for itself. To write one twice does no harm.
    {
      std::lock_guard lock(mutex);
      for (Operation* operation : group) operation->counted = true;
      calls_out += group.size();
    }
    if (group.size() == 1) return refused(group.front(), told);
    for (Operation* operation : group) write(operation, {}, false);
    pump();
  }

  // --- One write, under its condition ----------------------------------------------------------

  void start(Operation* operation) {
    if (operation->transaction) return start_transaction(operation);
    const AnyWrite& wanted = operation->writes.front();
    const auto* erase = std::get_if<Erase>(&wanted);
    if (erase && std::holds_alternative<std::monostate>(erase->condition)) {
      return write(operation, {}, false);
    }
    read_first(operation);
  }

  void read_first(Operation* operation) {
    calls.get(operation->keys.front(),
              [self = shared_from_this(), operation](absl::StatusOr<Item> now) {
                if (!now.ok()) return self->finish(operation, now.status());
                self->decide(operation, *now);
              });
  }

  void decide(Operation* operation, const Item& now) {
    const AnyWrite& wanted = operation->writes.front();
    absl::Status status = sidecar::check_condition(wanted, now.etag);
    if (!status.ok()) return finish(operation, status);
    const Condition& condition = sidecar::condition_of(wanted);
    if (std::holds_alternative<IfAbsent>(condition) && std::holds_alternative<Erase>(wanted)) {
      return finish(operation, absl::OkStatus());
    }
    const bool plain_save = std::holds_alternative<std::monostate>(condition);
    if (plain_save && !now.etag.empty()) {
      std::lock_guard lock(mutex);
      if (marked.size() >= kMaxMarked) marked.clear();
      marked.insert(key_of(wanted));
    }
    write(operation, now.etag, !plain_save || !now.etag.empty());
  }

  void write(Operation* operation, const std::string& etag, bool first_write) {
    sidecar::Write item = as_write(operation->writes.front());
    item.etag = etag;
    item.first_write = first_write;
    auto told = [self = shared_from_this(), operation](const absl::Status& status) {
      if (status.ok()) return self->finish(operation, status);
      self->refused(operation, status);
    };
    if (item.erase) {
      calls.erase(item, std::move(told));
    } else {
      calls.save({item}, std::move(told));
    }
  }

  /// What the component says no to is read again: the condition may not hold any more, the key may
  /// want an etag, or what has expired may still be in the way.
  void refused(Operation* operation, const absl::Status& told) {
    try_again(operation, told, [this, operation] { read_first(operation); });
  }

  template <class Again>
  void try_again(Operation* operation, const absl::Status& told, Again again) {
    if (!StateCalls::is_refusal(told) || ++operation->attempts >= kMaxAttempts || is_closed()) {
      return finish(operation, told.code() == absl::StatusCode::kAborted
                                   ? with_context(told, calls.store())
                                   : calls.explained(told));
    }
    if (operation->attempts == 1) return again();
    calls.after(operation->backoff.next(),
                [self = shared_from_this(), again = std::move(again)] { again(); });
  }

  // --- Transactions ----------------------------------------------------------------------------

  void start_transaction(Operation* operation) {
    calls.get_many(operation->keys,
                   [self = shared_from_this(), operation](absl::StatusOr<std::vector<Item>> now) {
                     if (!now.ok()) return self->finish(operation, now.status());
                     self->write_transaction(operation, *now);
                   });
  }

  void write_transaction(Operation* operation, const std::vector<Item>& now) {
    const auto plan = sidecar::plan_transaction(operation->writes, now);
    if (!plan.ok()) return finish(operation, plan.status());
    if (plan->empty()) return finish(operation, absl::OkStatus());
    calls.transact(*plan, [self = shared_from_this(), operation](const absl::Status& told) {
      if (told.ok()) return self->finish(operation, told);
      self->try_again(operation, told,
                      [impl = self.get(), operation] { impl->start_transaction(operation); });
    });
  }

  // --- Reads -----------------------------------------------------------------------------------

  /// Room for a read; its `done` then, which makes room again.
  template <class T>
  std::optional<Done<T>> admit(std::size_t bytes, Done<T>& done) {
    absl::Status status;
    {
      std::lock_guard lock(mutex);
      status = check_room(bytes);
      if (status.ok()) enter(bytes);
    }
    if (!status.ok()) {
      done(std::move(status));
      return {};
    }
    return Done<T>([self = shared_from_this(), bytes,
                    done = std::move(done)](absl::StatusOr<T> result) mutable {
      done(std::move(result));
      self->leave(1, bytes);
    });
  }

  bool is_closed() {
    std::lock_guard lock(mutex);
    return closed;
  }

  void close() {
    Group waiting;
    {
      std::lock_guard lock(mutex);
      closed = true;
      for (Operation* operation : operations) {
        if (!operation->started) waiting.push_back(operation);
      }
      // From here on nobody comes after what is out: the order of keys is not kept any more.
      for (Operation* operation : waiting) operations.erase(operation);
      plain.clear();
      others.clear();
    }
    std::size_t bytes = 0;
    for (Operation* operation : waiting) {
      bytes += operation->bytes;
      operation->done(unavailable("state store '{}' is being closed", calls.store()));
      delete operation;
    }
    leave(waiting.size(), bytes);
    std::unique_lock lock(mutex);
    idle.wait_for(lock, config.call_timeout, [this] { return alive == 0; });
  }

  const DaprConfig& config;
  StateCalls calls;
  const std::shared_ptr<Gauge> waiting_gauge;
  const std::shared_ptr<Counter> writes, conflicts, failures;

  std::mutex mutex;
  std::condition_variable idle;  // nothing is alive
  bool closed = false;
  bool pumping = false, pump_again = false;
  std::size_t alive = 0, bytes_alive = 0;  // operations and reads whose done has not returned
  std::size_t save_calls_out = 0, calls_out = 0;
  KeyOrder<Operation> order;
  absl::flat_hash_set<Operation*> operations;  // not finished
  std::deque<Operation*> plain, others;        // first in their lines, not started
  absl::flat_hash_set<std::string> marked;     // keys that Redis takes only over their etag
};

DaprStore::DaprStore(Sidecar& sidecar, Metrics& metrics)
    : impl_(std::make_shared<Impl>(sidecar, metrics)) {}

DaprStore::~DaprStore() { impl_->close(); }

void DaprStore::get(std::string key, Done<Item> done) {
  if (absl::Status status = check_key(key); !status.ok()) return done(std::move(status));
  auto admitted = impl_->admit(key.size(), done);
  if (admitted) impl_->calls.get(key, *std::move(admitted));
}

void DaprStore::get(std::vector<std::string> keys, Done<std::vector<Item>> done) {
  std::size_t bytes = 0;
  for (const std::string& key : keys) {
    bytes += key.size();
    if (absl::Status status = check_key(key); !status.ok()) return done(std::move(status));
  }
  if (keys.empty()) return done(std::vector<Item>());
  auto admitted = impl_->admit(bytes, done);
  if (!admitted) return;
  std::vector<std::string> distinct = keys;
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  impl_->calls.get_many(std::move(distinct), [keys = std::move(keys), done = *std::move(admitted)](
                                                 absl::StatusOr<std::vector<Item>> found) mutable {
    if (!found.ok()) return done(found.status());
    // Sorted by key, as they were asked for.
    std::vector<Item> items;
    items.reserve(keys.size());
    for (const std::string& key : keys) {
      items.push_back(*std::lower_bound(
          found->begin(), found->end(), key,
          [](const Item& item, const std::string& wanted) { return item.key < wanted; }));
    }
    done(std::move(items));
  });
}

void DaprStore::save(Save save, Done<std::string> done) {
  std::vector<AnyWrite> writes;
  writes.emplace_back(std::move(save));
  impl_->add(std::move(writes), false, [done = std::move(done)](const absl::Status& told) mutable {
    if (told.ok()) {
      done(std::string());
    } else {
      done(told);
    }
  });
}

namespace {

StateCalls::Told nothing_told(Done<std::monostate> done) {
  return [done = std::move(done)](const absl::Status& told) mutable {
    if (told.ok()) {
      done(std::monostate());
    } else {
      done(told);
    }
  };
}

}  // namespace

void DaprStore::erase(Erase erase, Done<std::monostate> done) {
  std::vector<AnyWrite> writes;
  writes.emplace_back(std::move(erase));
  impl_->add(std::move(writes), false, nothing_told(std::move(done)));
}

void DaprStore::transact(std::vector<std::variant<Save, Erase>> writes, Done<std::monostate> done) {
  impl_->add(std::move(writes), true, nothing_told(std::move(done)));
}

void DaprStore::query(std::string query, std::size_t limit, Done<std::vector<Item>> done) {
  auto admitted = impl_->admit(query.size(), done);
  if (!admitted) return;
  impl_->calls.query(
      query, [limit, done = *std::move(admitted)](absl::StatusOr<std::vector<Item>> found) mutable {
        if (found.ok() && limit != 0 && found->size() > limit) found->resize(limit);
        done(std::move(found));
      });
}

absl::Status DaprStore::health() const { return impl_->calls.health(); }

}  // namespace virtufin::bus

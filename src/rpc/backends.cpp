#include "rpc/backends.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <set>

#include "core/errors.h"
#include "core/log.h"
#include "rpc/backend.h"
#include "rpc/reflection_client.h"
#include "rpc/remote_method.h"

namespace virtufin::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Descriptors are asked for again at most this often for an UNIMPLEMENTED method, and after they
/// could not be had.
constexpr std::chrono::seconds kDoubtPause{10};
constexpr std::chrono::seconds kFetchPause{1};
/// A backend that is not there after so long is told in the log.
constexpr std::chrono::seconds kPatience{1};

/// The one implementation; a backend's rows are in the table from set() on, those of linked
/// services, and from the first answer of its reflection all of them.
class BackendTable final : public Backends {
 public:
  BackendTable(MethodTable& methods, Metrics& metrics, BackendLimits limits)
      : methods_(methods),
        metrics_(metrics),
        limits_(limits),
        queue_(std::make_shared<ClientQueue>()) {
    tick();
  }
  ~BackendTable() override { close(); }

  void set(std::vector<BackendSpec> specs) override;
  void close() override { queue_->close(); }

 private:
  /// A backend and what it has in the table.
  struct Entry {
    std::shared_ptr<Backend> backend;
    std::shared_ptr<const ServiceDescriptors> descriptors;
    std::atomic<bool> fetched = false;  ///< descriptors are its own, not the linked ones
    bool fetching = false;
    bool due = true;  ///< descriptors are to be asked for
    bool told_unreachable = false;
    const steady_clock::time_point began = steady_clock::now();
    steady_clock::time_point fetch_at;  ///< not before
    std::set<std::string> rows;         ///< by full name
  };
  using EntryPtr = std::shared_ptr<Entry>;

  void tick();
  void look_at(const EntryPtr& entry);
  void fetch(const EntryPtr& entry);
  void fetched(const EntryPtr& entry,
               absl::StatusOr<std::shared_ptr<const ServiceDescriptors>> descriptors);
  bool listed(const EntryPtr& entry) const;

  // Under mutex_.
  /// What a backend of the same name at other addresses could do stands until it has told itself.
  void take_over(Entry& entry, Entry& old);
  void publish(Entry& entry);
  void withdraw(Entry& entry, const std::set<std::string>& kept);
  bool may_have(const Entry& entry, const google::protobuf::MethodDescriptor& method) const;

  const Logger log_ = logger("rpc");
  MethodTable& methods_;
  Metrics& metrics_;
  const BackendLimits limits_;
  const std::shared_ptr<ClientQueue> queue_;

  mutable std::mutex mutex_;  // of what follows
  std::vector<EntryPtr> entries_;
  std::map<std::string, const Entry*> owners_;       ///< of rows, by full name
  std::map<std::string, std::string> known_owners_;  ///< backend by service, of known_services
};

void BackendTable::set(std::vector<BackendSpec> specs) {
  std::lock_guard lock(mutex_);
  known_owners_.clear();
  for (const BackendSpec& spec : specs) {
    for (const std::string& service : spec.known_services) {
      known_owners_.emplace(service, spec.name);
    }
  }
  std::vector<EntryPtr> before;
  before.swap(entries_);
  for (BackendSpec& spec : specs) {
    const auto same = std::find_if(before.begin(), before.end(), [&](const EntryPtr& entry) {
      return entry != nullptr && entry->backend->spec() == spec;
    });
    if (same != before.end()) {
      entries_.push_back(std::move(*same));
      *same = nullptr;
      continue;
    }
    auto entry = std::make_shared<Entry>();
    entry->descriptors = ServiceDescriptors::linked(spec.known_services);
    for (const EntryPtr& old : before) {
      if (old != nullptr && old->backend->spec().name == spec.name) take_over(*entry, *old);
    }
    entry->backend = std::make_shared<Backend>(std::move(spec), queue_, limits_, metrics_);
    entries_.push_back(std::move(entry));
  }
  for (const EntryPtr& gone : before) {
    if (gone != nullptr) withdraw(*gone, {});
  }
  // All again: a method of one that is gone may be another's too.
  for (const EntryPtr& entry : entries_) publish(*entry);
}

void BackendTable::take_over(Entry& entry, Entry& old) {
  if (old.fetched) entry.descriptors = old.descriptors;
  entry.rows.swap(old.rows);
  for (const std::string& name : entry.rows) owners_[name] = &entry;
}

void BackendTable::tick() {
  std::vector<EntryPtr> entries;
  {
    std::lock_guard lock(mutex_);
    entries = entries_;
  }
  for (const EntryPtr& entry : entries) look_at(entry);
  queue_->after(limits_.look, [this](bool in_time) {
    if (in_time) tick();
  });
}

void BackendTable::look_at(const EntryPtr& entry) {
  Backend& backend = *entry->backend;
  const auto now = steady_clock::now();
  switch (backend.look()) {
    case Backend::Seen::kConnected:
      log_->info("backend {} is connected", backend.where());
      entry->told_unreachable = true;
      entry->due = true;
      entry->fetch_at = now;
      break;
    case Backend::Seen::kLost:
      log_->warn("backend {}: a connection is lost; reconnecting", backend.where());
      break;
    case Backend::Seen::kSame:
      if (!backend.connected() && now - entry->began > kPatience && !entry->told_unreachable) {
        entry->told_unreachable = true;
        log_->warn("backend {} is not there; its calls are UNAVAILABLE until it is",
                   backend.where());
      }
      break;
  }
  if (!backend.connected() || entry->fetching || now < entry->fetch_at) return;
  if (entry->due || backend.take_doubt() || now >= entry->fetch_at + limits_.descriptors_age) {
    fetch(entry);
  }
}

void BackendTable::fetch(const EntryPtr& entry) {
  entry->fetching = true;
  entry->due = false;
  fetch_descriptors(entry->backend,
                    [this, entry](absl::StatusOr<std::shared_ptr<const ServiceDescriptors>> told) {
                      fetched(entry, std::move(told));
                    });
}

void BackendTable::fetched(const EntryPtr& entry,
                           absl::StatusOr<std::shared_ptr<const ServiceDescriptors>> descriptors) {
  entry->fetching = false;
  const auto now = steady_clock::now();
  if (!descriptors.ok()) {
    if (absl::IsCancelled(descriptors.status())) return;
    // One without reflection will not have it a second later; what is linked still works.
    entry->due = entry->due || !absl::IsUnimplemented(descriptors.status());
    entry->fetch_at = std::max(entry->fetch_at, now + kFetchPause);
    log_->warn("backend {} does not tell what it can do: {}", entry->backend->where(),
               printable(message(descriptors.status())));
    return;
  }
  entry->fetched = true;
  if (!entry->due) entry->fetch_at = now + kDoubtPause;
  std::lock_guard lock(mutex_);
  if (!listed(entry)) return;  // gone since
  entry->descriptors = *std::move(descriptors);
  publish(*entry);
}

bool BackendTable::listed(const EntryPtr& entry) const {
  return std::find(entries_.begin(), entries_.end(), entry) != entries_.end();
}

bool BackendTable::may_have(const Entry& entry,
                            const google::protobuf::MethodDescriptor& method) const {
  const auto known = known_owners_.find(method.service()->full_name());
  if (known != known_owners_.end() && known->second != entry.backend->spec().name) return false;
  const std::string name = full_name(method);
  const auto owner = owners_.find(name);
  if (owner != owners_.end()) return owner->second == &entry;
  return methods_.find_exact(name) == nullptr;
}

void BackendTable::publish(Entry& entry) {
  std::set<std::string> rows;
  for (const auto* service : entry.descriptors->services()) {
    bool refused = false;
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& method = *service->method(i);
      if (!may_have(entry, method)) {
        refused = true;
        continue;
      }
      const std::string name = full_name(method);
      rows.insert(name);
      const MethodPtr stands = methods_.find_exact(name);
      const auto* row = dynamic_cast<const RemoteMethod*>(stands.get());
      if (row != nullptr && row->descriptor() == &method &&
          &row->backend() == entry.backend.get()) {
        continue;  // nothing changed, so nothing that is made of the table is made again
      }
      methods_.add(std::make_shared<RemoteMethod>(entry.backend, entry.descriptors, &method));
      owners_[name] = &entry;
    }
    if (refused) {
      log_->debug("backend {}: {} is served otherwise here", entry.backend->where(),
                  printable(service->full_name()));
    }
  }
  withdraw(entry, rows);
}

void BackendTable::withdraw(Entry& entry, const std::set<std::string>& kept) {
  for (const std::string& name : entry.rows) {
    if (kept.count(name) != 0) continue;
    methods_.remove(name);
    owners_.erase(name);
  }
  entry.rows = kept;
}

}  // namespace

std::unique_ptr<Backends> make_backends(MethodTable& methods, Metrics& metrics,
                                        BackendLimits limits) {
  return std::make_unique<BackendTable>(methods, metrics, limits);
}

}  // namespace virtufin::rpc

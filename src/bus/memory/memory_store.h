#pragma once

#include <absl/status/statusor.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bus/state_store.h"

namespace virtufin {
class Clock;
class ConfigSection;
class Metrics;
}  // namespace virtufin

namespace virtufin::bus {

/// Section `[state]`.
struct StateConfig {
  /// `none`: memory only. `batched`: group commit, survives kill -9. `commit`: survives power loss.
  std::string durability = "none";
  std::string path = "virtufin-state.db";  ///< unless `none`
  std::size_t queue_writes = 8192;         ///< that wait for their COMMIT
  std::size_t queue_queries = 64;          ///< that wait for their turn
  std::size_t query_items_max = 1000;      ///< that one query answers
  std::size_t query_sort_max = 100'000;    ///< that one query sorts
  std::size_t value_bytes_max = 16u << 20;
  std::chrono::milliseconds expire_ms{1000};  ///< between two looks for records past their ttl
  std::vector<std::string> services;  ///< names registered beside the gateway's own; no namespaces

  void read(ConfigSection section);
};

/// Records in memory, with SQLite behind them by durability.
///
/// A write is checked against and applied to memory at once, so a later condition sees it; it is
/// acknowledged when its durability is reached, in the order of the writes. Reads see what is
/// acknowledged or newer. If the file cannot be written, all writes that wait fail with UNAVAILABLE
/// and memory goes back to what is in the file.
///
/// Life: open() loads the file; the destructor writes what waits, then closes it.
/// Threads: any. With a file one thread writes; queries and expiry have one of their own, started
/// when first needed. `done` runs on the caller's thread where nothing has to be waited for.
/// Errors: those of StateStore; RESOURCE_EXHAUSTED when queue_writes wait; INVALID_ARGUMENT for an
/// empty key, one with `||`, and a value beyond value_bytes_max.
class MemoryStore final : public StateStore {
 public:
  /// FAILED_PRECONDITION or UNAVAILABLE with the path and SQLite's words if the file cannot be
  /// used.
  static absl::StatusOr<std::unique_ptr<MemoryStore>> open(const StateConfig& config,
                                                           const Clock& clock, Metrics& metrics);
  ~MemoryStore() override;

  void get(std::string key, Done<Item> done) override;
  void get(std::vector<std::string> keys, Done<std::vector<Item>> done) override;
  void save(Save save, Done<std::string> done) override;
  void erase(Erase erase, Done<std::monostate> done) override;
  void transact(std::vector<std::variant<Save, Erase>> writes, Done<std::monostate> done) override;
  void query(std::string query, std::size_t limit, Done<std::vector<Item>> done) override;

  std::size_t records() const;
  std::size_t bytes() const;  ///< keys, values and what is kept per record
  /// Not OK while the file cannot be written.
  absl::Status health() const;

 private:
  struct Impl;
  explicit MemoryStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace virtufin::bus

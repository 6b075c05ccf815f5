#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/statusor.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bus/dapr/sidecar.h"
#include "bus/state_store.h"

namespace virtufin::bus::sidecar {

/// One write as the sidecar takes it.
struct Write {
  std::string_view key, value;
  std::string_view etag;     ///< empty: none
  bool first_write = false;  ///< the component shall refuse it over another version, or any
  bool erase = false;
  std::optional<std::chrono::seconds> ttl;
};

/// The state calls of one component, one function each. Reads answer errors that are explained();
/// writes answer the sidecar's own status, because what it means depends on what was asked.
///
/// Threads: any; `done` runs on the sidecar's thread.
class StateCalls {
 public:
  using Told = absl::AnyInvocable<void(absl::Status)>;

  explicit StateCalls(Sidecar& sidecar);

  const std::string& store() const { return store_; }
  const DaprConfig& config() const { return sidecar_.config(); }

  void get(const std::string& key, Done<Item> done);
  /// In the order of `keys`, which are distinct.
  void get_many(std::vector<std::string> keys, Done<std::vector<Item>> done);
  void save(const std::vector<Write>& writes, Told done);
  void erase(const Write& write, Told done);
  void transact(const std::vector<Write>& writes, Told done);
  void query(const std::string& query, Done<std::vector<Item>> done);
  void after(std::chrono::milliseconds delay, absl::AnyInvocable<void()> task);

  /// Neither written nor refused: the sidecar is away, slow, or being closed.
  static bool is_outage(const absl::Status& told);
  /// Refused by the component, perhaps because of an etag; Redis says INTERNAL where others say
  /// ABORTED.
  static bool is_refusal(const absl::Status& told);
  /// The sidecar's words as an error of StateStore.
  absl::Status explained(const absl::Status& told) const;
  absl::Status health() const;

 private:
  void observe(const absl::Status& told);
  void wrote(const absl::Status& told);

  Sidecar& sidecar_;
  const std::string store_;
  std::atomic<bool> healthy_{true};
  mutable std::mutex mutex_;
  absl::Status last_;
};

}  // namespace virtufin::bus::sidecar

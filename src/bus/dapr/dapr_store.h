#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bus/dapr/sidecar.h"
#include "bus/state_store.h"

namespace virtufin::bus {

/// Records in a state component of the sidecar; the sidecar is the only way to it.
///
/// What the component behind it may not promise is made true here: writes of one key happen in the
/// order in which they were asked for; a condition is read and checked before the write, which is
/// itself conditional, so that a component that ignores a condition on a key that is absent, or was
/// written plainly before (Redis), still refuses it; a plain write over a key that was written
/// with first-write concurrency goes over its etag. What cannot be made true: on a component
/// without rollback (Redis) a transaction that loses a race with another process may be half done;
/// it answers ABORTED, as if it were not. Etags are opaque, and may come again for a key that was
/// erased and made again (Redis counts from 1).
///
/// Plain saves that wait go in groups of `save_max`. save() answers an empty etag: Dapr tells none.
///
/// Life: the destructor waits for what is out, at most `call_timeout_ms`; what waits fails with
/// UNAVAILABLE. The Sidecar outlives it.
/// Threads: any. `done` runs on the caller's thread where nothing has to be asked, else on the
/// sidecar's.
/// Errors: ABORTED (condition); INVALID_ARGUMENT for a key or ttl that cannot be, and for a store
/// that the sidecar does not have, with those that it has; UNIMPLEMENTED with the store's name for
/// what the component cannot; UNAVAILABLE when the sidecar or what is behind it is away, or when
/// `queue_writes` operations or `queue_write_bytes` wait. A write that timed out may have happened.
class DaprStore final : public StateStore {
 public:
  DaprStore(Sidecar& sidecar, Metrics& metrics);
  ~DaprStore() override;

  void get(std::string key, Done<Item> done) override;
  void get(std::vector<std::string> keys, Done<std::vector<Item>> done) override;
  void save(Save save, Done<std::string> done) override;
  void erase(Erase erase, Done<std::monostate> done) override;
  void transact(std::vector<std::variant<Save, Erase>> writes, Done<std::monostate> done) override;
  void query(std::string query, std::size_t limit, Done<std::vector<Item>> done) override;

  /// What went wrong with the component last; OK after a call that succeeded. Whether it is there
  /// at all is told by Sidecar::health().
  absl::Status health() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace virtufin::bus

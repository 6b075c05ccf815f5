#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/statusor.h>

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "bus/state_store.h"
#include "virtufin/websocketmanager.pb.h"

namespace virtufin::wsm {

/// What the state store keeps of a connection, at `websocketmanager.connection.<id>`: all that is
/// needed to make it again, headers included.
struct ConnectionRecord {
  std::string id;
  std::string instance_id;  ///< its owner
  bool configured = false;  ///< of `[[wsm.feeds]]`: made from the config, never from here
  bool publishing = false;
  ConnectRequest request;  ///< as given, its topic the one in force
};

absl::StatusOr<std::string> to_json(const ConnectionRecord& record);
absl::StatusOr<ConnectionRecord> record_from_json(std::string_view json);

/// Reads and writes the records and their index. A record and its index entry are written together;
/// changes go one after the other, and the index under its etag, because other instances write it
/// too.
///
/// Threads: any; callbacks on any.
class ConnectionRecords : public std::enable_shared_from_this<ConnectionRecords> {
 public:
  using Done = absl::AnyInvocable<void(absl::Status)>;

  explicit ConnectionRecords(bus::StateStore& store) : store_(store) {}

  void save(const ConnectionRecord& record, Done done);
  void erase(std::string id, Done done);
  /// All that can be read; those that cannot are logged and left.
  void load(absl::AnyInvocable<void(absl::StatusOr<std::vector<ConnectionRecord>>)> done);

 private:
  struct Change {
    std::string id, json;  ///< no JSON: erase
    Done done;
    int tries = 0;
  };

  void enqueue(Change change);
  void run_front();
  void write(const bus::Item& index);
  void finish(absl::Status status);

  bus::StateStore& store_;
  std::mutex mutex_;
  std::deque<Change> changes_;  ///< guarded; the front one is being made
};

}  // namespace virtufin::wsm

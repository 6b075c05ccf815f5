#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/statusor.h>

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/executor.h"
#include "modules/wsm/connection.h"
#include "modules/wsm/records.h"
#include "virtufin/websocketmanager.pb.h"

namespace virtufin::wsm {

/// The connections by id: makes, finds, ends and restores them, and keeps their records.
///
/// Life: created, start(), close_intake(), stop(); held by shared pointer, because connections
/// answer later. Threads: any.
class ConnectionManager : public std::enable_shared_from_this<ConnectionManager> {
 public:
  template <class T>
  using Reply = absl::AnyInvocable<void(absl::StatusOr<T>)>;

  ConnectionManager(SurroundingsPtr around, Loops& loops);

  /// Makes the configured connections and restores the recorded ones; waits for neither.
  void start();
  void close_intake();
  /// Ends all connections; waits until they have ended and the bus has taken their events, at most
  /// until the deadline. Their records stay.
  void stop(std::chrono::steady_clock::time_point deadline);

  /// Answers after the handshake, with the id.
  void connect(const ConnectRequest& request, Reply<std::string> reply);
  std::vector<WebSocketConnection> list() const;
  void disconnect(const std::string& id, Connection::Done done);
  void start_publish(const std::string& id, std::string topic, Connection::Done done);
  void stop_publish(const std::string& id, Connection::Done done);

  /// Over all connections that ever lived.
  Totals totals() const;
  /// Whether the recorded connections could be read.
  absl::Status health() const;

 private:
  using ConnectionPtr = std::shared_ptr<Connection>;

  absl::Status add(const ConnectionPtr& connection);
  void remove(const std::string& id);
  absl::StatusOr<ConnectionPtr> find(const std::string& id) const;
  /// One that is kept whatever the first attempt brings.
  void keep(ConnectionSpec spec);
  void restore(const ConnectionRecord& record);
  void save_record(const ConnectionPtr& connection, Connection::Done done);

  const SurroundingsPtr around_;
  Loops& loops_;
  const Logger log_;
  const std::shared_ptr<ConnectionRecords> records_;

  mutable std::mutex mutex_;  ///< guards what follows
  std::map<std::string, ConnectionPtr, std::less<>> connections_;
  Totals ended_;
  bool closed_ = false;
  absl::Status restored_;
};

}  // namespace virtufin::wsm

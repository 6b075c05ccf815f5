#include "modules/wsm/manager.h"

#include <condition_variable>
#include <utility>

#include "core/errors.h"
#include "core/log.h"
#include "core/uuid.h"

namespace virtufin::wsm {

ConnectionManager::ConnectionManager(SurroundingsPtr around, Loops& loops)
    : around_(std::move(around)),
      loops_(loops),
      log_(logger("wsm")),
      records_(std::make_shared<ConnectionRecords>(around_->store)) {}

void ConnectionManager::start() {
  // The same feed of the same config has the same id after a restart.
  std::uint64_t index = 0;
  for (const FeedConfig& feed : around_->config.feeds) {
    const UuidText id = UuidHasher({"wsm.feed", feed.venue, feed.url})(index++);
    auto spec = make_spec(std::string(id.view()), to_request(feed), around_->config);
    if (!spec.ok()) {
      log_->error("feed {} at {}: {}", feed.venue, feed.url, message(spec.status()));
      continue;
    }
    spec->configured = true;
    keep(*std::move(spec));
  }
  records_->load(
      [self = shared_from_this()](absl::StatusOr<std::vector<ConnectionRecord>> records) {
        if (!records.ok()) {
          self->log_->error("connections not restored: {}", message(records.status()));
          const std::lock_guard lock(self->mutex_);
          self->restored_ = with_context(records.status(), "connections not restored");
          return;
        }
        for (const ConnectionRecord& record : *records) self->restore(record);
      });
}

void ConnectionManager::keep(ConnectionSpec spec) {
  auto connection = Connection::create(around_, loops_.next(), std::move(spec));
  if (const absl::Status status = add(connection); !status.ok()) {
    log_->error("connection {} not made: {}", connection->id(), message(status));
    return;
  }
  save_record(connection, [log = log_, id = connection->id()](const absl::Status& saved) {
    if (!saved.ok()) log->error("connection {} not recorded: {}", id, message(saved));
  });
  connection->open(true, [](const absl::Status&) {
    // Lifecycle events and the log say what became of it.
  });
}

void ConnectionManager::restore(const ConnectionRecord& record) {
  const auto forget = [this, id = record.id] {
    records_->erase(id, [log = log_, id](const absl::Status& erased) {
      if (!erased.ok()) log->warn("record of connection {} stays: {}", id, message(erased));
    });
  };
  if (record.configured || !record.request.auto_reconnect()) {
    // A configured one that is still configured is here already; the others ended with their
    // process.
    if (!find(record.id).ok()) forget();
    return;
  }
  auto spec = make_spec(record.id, record.request, around_->config);
  if (!spec.ok()) {
    log_->error("connection {} not restored: {}", record.id, message(spec.status()));
    return;
  }
  spec->publishing = record.publishing;
  if (!record.publishing) spec->request.clear_topic();
  keep(*std::move(spec));
}

void ConnectionManager::close_intake() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

void ConnectionManager::stop(std::chrono::steady_clock::time_point deadline) {
  close_intake();
  std::vector<ConnectionPtr> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, connection] : connections_) all.push_back(connection);
  }
  struct Wait {
    std::mutex mutex;
    std::condition_variable ended;
    std::size_t left;
  };
  const auto wait = std::make_shared<Wait>();
  wait->left = all.size();
  for (const ConnectionPtr& connection : all) {
    connection->end("the process is shutting down", [wait](const absl::Status&) {
      const std::lock_guard lock(wait->mutex);
      if (--wait->left == 0) wait->ended.notify_all();
    });
  }
  std::unique_lock lock(wait->mutex);
  if (!wait->ended.wait_until(lock, deadline, [&] { return wait->left == 0; })) {
    log_->warn("{} connections had not ended at the deadline", wait->left);
  }
  // The bus completes on threads of its own and tells nobody that it was the last: a short poll.
  const auto outstanding = [&] {
    std::uint64_t sum = 0;
    for (const ConnectionPtr& connection : all) sum += connection->outstanding();
    return sum;
  };
  constexpr std::chrono::milliseconds kPoll{1};
  while (outstanding() > 0 && std::chrono::steady_clock::now() < deadline) {
    wait->ended.wait_for(lock, kPoll);
  }
  if (const std::uint64_t left = outstanding(); left > 0) {
    log_->warn("{} events were not taken by the bus before the deadline", left);
  }
}

void ConnectionManager::connect(const ConnectRequest& request, Reply<std::string> reply) {
  auto spec = make_spec(std::string(random_uuid().view()), request, around_->config);
  if (!spec.ok()) return reply(spec.status());
  auto connection = Connection::create(around_, loops_.next(), *std::move(spec));
  if (absl::Status status = add(connection); !status.ok()) return reply(std::move(status));
  connection->open(false, [self = shared_from_this(), connection,
                           reply = std::move(reply)](absl::Status opened) mutable {
    if (!opened.ok()) {
      self->remove(connection->id());
      return reply(std::move(opened));
    }
    // Success promises that a restart brings it back: not before it is recorded.
    self->save_record(
        connection, [self, connection, reply = std::move(reply)](absl::Status saved) mutable {
          if (saved.ok()) return reply(connection->id());
          connection->end("it could not be recorded", [self, connection](const absl::Status&) {
            self->remove(connection->id());
          });
          reply(with_context(saved, "connected, but not recorded, so closed again"));
        });
  });
}

void ConnectionManager::disconnect(const std::string& id, Connection::Done done) {
  auto connection = find(id);
  if (!connection.ok()) return done(connection.status());
  (*connection)
      ->end("disconnected by request",
            [self = shared_from_this(), id, done = std::move(done)](const absl::Status&) mutable {
              self->remove(id);
              self->records_->erase(id, std::move(done));
            });
}

void ConnectionManager::start_publish(const std::string& id, std::string topic,
                                      Connection::Done done) {
  auto connection = find(id);
  if (!connection.ok()) return done(connection.status());
  (*connection)
      ->start_publish(std::move(topic), [self = shared_from_this(), connection = *connection,
                                         done = std::move(done)](absl::Status status) mutable {
        if (!status.ok()) return done(std::move(status));
        self->save_record(connection, std::move(done));
      });
}

void ConnectionManager::stop_publish(const std::string& id, Connection::Done done) {
  auto connection = find(id);
  if (!connection.ok()) return done(connection.status());
  (*connection)
      ->stop_publish([self = shared_from_this(), connection = *connection,
                      done = std::move(done)](const absl::Status&) mutable {
        self->save_record(connection, std::move(done));
      });
}

void ConnectionManager::save_record(const ConnectionPtr& connection, Connection::Done done) {
  records_->save(connection->record(), [self = shared_from_this(), id = connection->id(),
                                        done = std::move(done)](absl::Status saved) mutable {
    // Disconnected meanwhile: its record was erased, perhaps before this one was written.
    if (!self->find(id).ok()) return self->records_->erase(id, std::move(done));
    done(std::move(saved));
  });
}

absl::Status ConnectionManager::add(const ConnectionPtr& connection) {
  const std::lock_guard lock(mutex_);
  if (closed_) return unavailable("the process is shutting down; connect to another instance");
  if (connections_.size() >= around_->config.max_connections) {
    return resource_exhausted(
        "{} connections are open, the bound; disconnect some, or raise wsm.max_connections",
        connections_.size());
  }
  if (!connections_.emplace(connection->id(), connection).second) {
    return already_exists("connection '{}' is there already", connection->id());
  }
  return absl::OkStatus();
}

void ConnectionManager::remove(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  ended_ += found->second->totals();
  connections_.erase(found);
}

absl::StatusOr<std::shared_ptr<Connection>> ConnectionManager::find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = connections_.find(id);
  if (found != connections_.end()) return found->second;
  return not_found("connection '{}' is not known; List shows those that are", printable(id));
}

std::vector<WebSocketConnection> ConnectionManager::list() const {
  std::vector<ConnectionPtr> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, connection] : connections_) all.push_back(connection);
  }
  std::vector<WebSocketConnection> shown;
  shown.reserve(all.size());
  for (const ConnectionPtr& connection : all) shown.push_back(connection->describe());
  return shown;
}

Totals ConnectionManager::totals() const {
  const std::lock_guard lock(mutex_);
  Totals totals = ended_;
  for (const auto& [id, connection] : connections_) totals += connection->totals();
  return totals;
}

absl::Status ConnectionManager::health() const {
  const std::lock_guard lock(mutex_);
  return restored_;
}

}  // namespace virtufin::wsm

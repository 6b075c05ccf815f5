#include "modules/venue/exchange.h"

#include <algorithm>
#include <cctype>
#include <utility>

namespace virtufin::venue {

Market* Exchange::find(Dialect dialect) const {
  for (const auto& market : markets_) {
    if (market->dialect() == dialect) return market.get();
  }
  return nullptr;
}

Market* Exchange::find_for(std::span<const std::string> streams) const {
  for (const std::string& stream : streams) {
    std::string symbol = stream.substr(0, stream.find('@'));
    std::transform(symbol.begin(), symbol.end(), symbol.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    for (const auto& market : markets_) {
      if (market->source().has_symbol(symbol)) return market.get();
    }
  }
  return nullptr;
}

bool Exchange::add(std::shared_ptr<Session> session) {
  if (static_cast<std::int64_t>(sessions_.size()) >= config_.max_connections) return false;
  const Session* key = session.get();
  sessions_.emplace(key, std::move(session));
  return true;
}

void Exchange::remove(const Session* session) {
  if (sessions_.erase(session) == 0) return;
  when_empty(std::exchange(when_empty_, {}));
}

void Exchange::when_empty(std::function<void()> callback) {
  if (callback && sessions_.empty()) {
    callback();
  } else {
    when_empty_ = std::move(callback);
  }
}

std::vector<std::shared_ptr<Session>> Exchange::sessions() const {
  std::vector<std::shared_ptr<Session>> all;
  all.reserve(sessions_.size());
  for (const auto& [key, session] : sessions_) all.push_back(session);
  return all;
}

std::shared_ptr<ConnectionCounters> Exchange::add_counters(std::string remote) {
  auto counters = std::make_shared<ConnectionCounters>();
  counters->remote = std::move(remote);
  const std::lock_guard lock(mutex_);
  counters->id = next_id_++;
  counters_.emplace(counters->id, counters);
  return counters;
}

void Exchange::remove_counters(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  counters_.erase(id);
}

VenueStatus Exchange::status() const {
  VenueStatus status;
  for (const auto& market : markets_) status.markets.push_back(market->status());
  status.slow_clients = slow_clients_.load(std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  for (const auto& [id, counters] : counters_) {
    const Market* market = counters->market.load(std::memory_order_relaxed);
    status.connections.push_back({id, counters->remote,
                                  market == nullptr ? std::string() : std::string(market->name()),
                                  counters->streams.load(std::memory_order_relaxed),
                                  counters->frames_sent.load(std::memory_order_relaxed),
                                  counters->bytes_sent.load(std::memory_order_relaxed),
                                  counters->queued_bytes.load(std::memory_order_relaxed)});
  }
  return status;
}

}  // namespace virtufin::venue

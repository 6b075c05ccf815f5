#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/log.h"
#include "core/time.h"
#include "modules/venue/config.h"
#include "modules/venue/market.h"
#include "modules/venue/status.h"

namespace virtufin::venue {

/// One accepted socket, as its owner sees it. On the venue's loop.
class Session {
 public:
  virtual ~Session() = default;
  /// Says goodbye and ends; a WebSocket with a close frame.
  virtual void close() = 0;
  /// Ends now.
  virtual void abort() = 0;
};

/// A WebSocket connection's numbers. Any thread.
struct ConnectionCounters {
  std::uint64_t id = 0;
  std::string remote;
  std::atomic<const Market*> market{nullptr};
  std::atomic<std::uint64_t> streams{0}, frames_sent{0}, bytes_sent{0}, queued_bytes{0};
};

/// What the venue's connections share: its markets, its config, and the list of themselves.
///
/// Threads: the venue's loop, but for what says otherwise.
class Exchange {
 public:
  Exchange(const VenueConfig& config, const Clock& clock, Metrics& metrics)
      : config_(config),
        clock_(clock),
        log_(logger("venue")),
        slow_metric_(metrics.counter("virtufin_venue_slow_clients_total",
                                     "Clients disconnected because they did not read")) {}

  const VenueConfig& config() const { return config_; }
  TimePoint now() const { return clock_.now(); }
  const Logger& log() const { return log_; }

  void add_market(std::unique_ptr<Market> market) { markets_.push_back(std::move(market)); }
  std::span<const std::unique_ptr<Market>> markets() const { return markets_; }
  /// Null if it is not played.
  Market* find(Dialect dialect) const;
  /// The market that plays the symbol of one of these streams; null if none does.
  Market* find_for(std::span<const std::string> streams) const;

  /// False: there are `max_connections` already.
  bool add(std::shared_ptr<Session> session);
  void remove(const Session* session);
  /// `callback` once, now or when the last session has gone; an empty one is never called.
  void when_empty(std::function<void()> callback);
  std::vector<std::shared_ptr<Session>> sessions() const;

  std::shared_ptr<ConnectionCounters> add_counters(std::string remote);
  void remove_counters(std::uint64_t id);
  void count_slow_client() {
    slow_clients_.fetch_add(1, std::memory_order_relaxed);
    slow_metric_->add();
  }

  /// Any thread.
  VenueStatus status() const;

 private:
  const VenueConfig& config_;
  const Clock& clock_;
  const Logger log_;
  const std::shared_ptr<Counter> slow_metric_;
  std::vector<std::unique_ptr<Market>> markets_;
  std::map<const Session*, std::shared_ptr<Session>> sessions_;
  std::function<void()> when_empty_;
  std::atomic<std::uint64_t> slow_clients_{0};

  mutable std::mutex mutex_;  ///< of what follows
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, std::shared_ptr<ConnectionCounters>> counters_;
};

}  // namespace virtufin::venue

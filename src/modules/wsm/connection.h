#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/status.h>

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "bus/bus.h"
#include "bus/state_store.h"
#include "core/executor.h"
#include "core/log.h"
#include "core/metrics.h"
#include "modules/wsm/backoff.h"
#include "modules/wsm/config.h"
#include "modules/wsm/connection_spec.h"
#include "modules/wsm/counters.h"
#include "modules/wsm/feeds/market_feed.h"
#include "modules/wsm/lifecycle.h"
#include "modules/wsm/metrics.h"
#include "modules/wsm/net/websocket_client.h"
#include "modules/wsm/publish_gate.h"
#include "modules/wsm/records.h"
#include "modules/wsm/snapshot_fetcher.h"

namespace virtufin::wsm {

/// What all connections share, and each keeps alive: a loop may still hold one when the module is
/// gone.
struct Surroundings {
  Surroundings(const Clock& the_clock, bus::Bus& the_bus, bus::StateStore& the_store,
               Metrics& the_metrics, std::string the_instance, WsmConfig the_config,
               AddressGuard the_guard)
      : clock(the_clock),
        bus(the_bus),
        store(the_store),
        config(std::move(the_config)),
        guard(std::move(the_guard)),
        instance_id(std::move(the_instance)),
        lifecycle(the_bus.topic(kLifecycleTopic)),
        metrics(the_metrics) {}

  const Clock& clock;
  bus::Bus& bus;
  bus::StateStore& store;
  const WsmConfig config;
  const AddressGuard guard;
  const std::string instance_id;
  const bus::TopicPtr lifecycle;
  WsmMetrics metrics;
  TlsContexts tls;
};
using SurroundingsPtr = std::shared_ptr<Surroundings>;

/// One upstream connection over all its reconnects: status and lifecycle events, the frames'
/// counters, the data watchdog, and the feed if it has one.
///
/// Each attempt is a WebSocketClient of its own; this owns at most one, and a user's disconnect
/// drops it together with every timer, so that nothing can bring the connection back.
///
/// Life: created, open() once, end() once; then it only answers describe() and totals().
/// Threads: open(), end(), start_publish(), stop_publish(), describe(), record() and totals() from
/// any; the rest of it lives on one loop, where the callbacks run as well.
class Connection final : public WebSocketClient::Listener,
                         public MarketFeed::Output,
                         public std::enable_shared_from_this<Connection> {
 public:
  using Done = absl::AnyInvocable<void(absl::Status)>;

  static std::shared_ptr<Connection> create(SurroundingsPtr around, Loop& loop,
                                            ConnectionSpec spec);
  ~Connection() override;

  /// `opened`: after the first handshake, or why there is none. With `keep_trying` a failure of the
  /// first attempt is like a later one, and `opened` is not called for it.
  void open(bool keep_trying, Done opened);
  /// Wins over whatever goes on. Returns at once on an ended connection.
  void end(std::string reason, Done ended);
  void start_publish(std::string topic, Done done);
  void stop_publish(Done done);

  const std::string& id() const { return spec_.id; }
  bool configured() const { return spec_.configured; }
  WebSocketConnection describe() const;
  ConnectionRecord record() const;
  Totals totals() const;
  /// Events that the bus has not completed.
  std::uint64_t outstanding() const { return gate_->outstanding(); }

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;

  Connection(SurroundingsPtr around, Loop& loop, ConnectionSpec spec);

  // WebSocketClient::Listener
  void on_open() override;
  void on_message(std::string_view bytes, bool text) override;
  void on_closed(NetFailure failure) override;

  // MarketFeed::Output
  void publish_frame_event(const bus::TopicPtr& topic, EventPtr event) override;
  void publish_other_event(const bus::TopicPtr& topic, EventPtr event) override;
  void fetch_snapshot(std::size_t book, std::string url, int attempt) override;
  void cache_book(std::string key, std::string json) override;

  void attempt();
  void retry_later();
  void finish(std::string_view reason, const absl::Status& status);
  absl::Status resolve_topic(const std::string& topic);
  void handle_feed_frame(std::string_view bytes);
  void publish_raw(std::string_view bytes, bool text);
  void note_undecodable(std::string_view problem, std::string_view bytes);
  void note_lag(TimePoint venue_time, TimePoint received);
  void stop_reading_if_full();
  void resume_reading();
  void start_ticking();
  void tick(SteadyTime now);
  void set_status(ConnectionStatus status, std::string_view reason, std::uint32_t attempt = 0);
  void report_error(const NetFailure& failure);
  void publish_lifecycle(std::string_view kind, const LifecycleData& data);
  void report_totals();
  std::uint64_t data_frames() const;

  const SurroundingsPtr around_ptr_;
  Surroundings& around_;
  Loop& loop_;
  const Logger log_;
  ConnectionSpec spec_;
  Backoff backoff_;
  PublishGate* gate_ = nullptr;  ///< frees itself after release()
  std::unique_ptr<MarketFeed> feed_;
  bus::TopicPtr raw_topic_;
  std::string_view content_type_seen_;  ///< of the last raw message; a literal
  std::shared_ptr<Histogram> lag_;      ///< of a feed
  std::chrono::milliseconds tick_interval_{};
  std::shared_ptr<SnapshotFetcher> fetcher_;
  std::shared_ptr<WebSocketClient> client_;
  boost::asio::steady_timer retry_timer_, tick_timer_;
  Done opened_;
  bool keep_trying_ = false;
  bool publishing_ = false;
  bool was_open_ = false;  ///< in any attempt
  bool open_ = false;      ///< now
  bool ended_ = false;
  bool paused_ = false;
  bool stable_ = false;
  SteadyTime opened_at_{}, last_data_at_{}, last_undecodable_log_{};
  std::uint64_t last_data_ = 0;

  ConnectionCounters counters_;
  Totals reported_;  ///< what the metrics have

  mutable std::mutex mutex_;  ///< guards what follows
  ConnectionStatus status_ = ConnectionStatus::kDisconnected;
  std::string topic_, content_type_, last_error_;
  bool publishing_shown_ = false;
};

}  // namespace virtufin::wsm

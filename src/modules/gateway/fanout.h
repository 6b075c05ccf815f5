#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/status.h>

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bus/bus.h"
#include "core/errors.h"
#include "core/executor.h"
#include "core/metrics.h"
#include "modules/gateway/config.h"
#include "modules/gateway/stream.h"
#include "rpc/method.h"

namespace virtufin::gateway {

/// What a client subscribes to.
struct StreamRequest {
  std::vector<std::string> topics;
  StreamFilter filter;
  std::int64_t queue_events = 0;  ///< 0: as configured
};

/// All clients' streams over one bus subscription per topic pattern.
///
/// A publisher's thread only puts the event into the arrivals (bounded; beyond it the oldest go,
/// counted for every stream that would have had them). One thread of the fan-out's own takes them
/// out in order, makes each event's wire form once and hands it to the streams' queues; there the
/// writes begin, and go on from wherever a write completes. Registering and leaving run on that
/// thread too, so that the registry needs no lock. One list of arrivals for all patterns keeps a
/// publisher's order over all topics of a stream.
///
/// Life: constructed with its thread, stop(), destroyed. Held by shared_ptr, as calls that outlive
/// it may still be cancelled.
/// Threads: any; stop() on the main thread.
class Fanout : public std::enable_shared_from_this<Fanout> {
 public:
  Fanout(bus::Bus& bus, Metrics& metrics, const GatewayConfig& config);
  ~Fanout();

  /// Opens a stream; a failure is told to the sink by finish(). The call's cancellation ends it.
  void open(StreamRequest request, std::unique_ptr<StreamSink> sink, const rpc::CallPtr& call);
  /// Ends the stream of that id; NOT_FOUND if there is none.
  void unsubscribe(std::string id, absl::AnyInvocable<void(absl::Status)> done);

  /// Opens nothing more; writes what is queued until the deadline, then ends every stream.
  void stop(std::chrono::steady_clock::time_point deadline);

  std::size_t open_streams() const;

 private:
  /// One topic pattern and its bus subscription.
  struct Pattern {
    explicit Pattern(std::string pattern_text) : text(std::move(pattern_text)) {}
    const std::string text;
    std::unique_ptr<bus::Subscription> subscription;
    bool ready = false;
    /// Changed by the fan-out's thread under the mutex, read by it without.
    std::vector<StreamPtr> streams;
    std::mutex mutex;
  };
  using PatternPtr = std::shared_ptr<Pattern>;
  struct Arrival {
    PatternPtr pattern;
    bus::TopicPtr topic;
    EventPtr event;
    std::uint64_t missed;  ///< by the bus, before this one
  };
  struct Open {
    StreamPtr stream;
    std::vector<PatternPtr> patterns;
    std::size_t pending;  ///< patterns whose subscription does not stand yet
  };

  absl::Status check(const StreamRequest& request) const;
  bool post(Task task);

  void arrive(const PatternPtr& pattern, const bus::Delivery& delivery);
  static void count_missed(const Arrival& arrival);

  // On the fan-out's thread.
  void drain();
  void deliver(const Arrival& arrival);
  void add(StreamPtr stream);
  absl::Status join(const std::string& text, Open& open);
  void leave(const PatternPtr& pattern, const StreamPtr& stream);
  bool remove(const std::string& id, absl::Status status, Stream::Queued queued);
  void on_ready(const PatternPtr& pattern);
  void on_end(const PatternPtr& pattern, const absl::Status& status);
  void arm_comments();
  std::vector<StreamPtr> end_all(const absl::Status& status);

  bus::Bus& bus_;
  const GatewayConfig config_;
  const std::shared_ptr<Gauge> streams_gauge_, patterns_gauge_;
  const std::shared_ptr<Counter> written_, missed_;

  std::map<std::string, PatternPtr, std::less<>> patterns_;
  StringMap<Open> open_;

  std::mutex arrivals_mutex_;
  std::deque<Arrival> arrivals_;
  bool draining_ = false;

  mutable std::mutex life_mutex_;
  std::condition_variable finished_;
  std::size_t unfinished_ = 0;  ///< streams whose sink is not finished
  bool stopping_ = false;
  std::unique_ptr<Loop> loop_;
  std::optional<boost::asio::steady_timer> comments_;
};

}  // namespace virtufin::gateway

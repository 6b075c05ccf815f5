#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/status.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/metrics.h"
#include "modules/gateway/fanout_event.h"
#include "modules/gateway/filter.h"

namespace virtufin::gateway {

/// Where a stream's events go: a gRPC stream or server-sent events. One call at a time, from any
/// thread; `written` may run before write() returns.
class StreamSink {
 public:
  using Written = absl::AnyInvocable<void(absl::Status)>;

  virtual ~StreamSink() = default;
  /// Makes the form of the event that this sink writes, on the thread that fans out.
  virtual void prepare(FanoutEvent& event) const = 0;
  virtual std::size_t max_events_per_write() const = 0;
  /// The subscription stands. Before the first write.
  virtual void start(std::string_view subscription_id) = 0;
  /// `first` tells the stream's first write; `missed` counts what was dropped before it.
  virtual void write(std::span<const FanoutEventPtr> events, bool first, std::uint64_t missed,
                     Written written) = 0;
  /// A sign of life on an idle stream; a sink that needs none answers false and writes nothing.
  virtual bool wants_comments() const = 0;
  virtual void write_comment(Written written) = 0;
  /// Last call, never while a write is out.
  virtual void finish(absl::Status status) = 0;
};

/// One client's stream: its filter, its bounded queue and the writing of it.
///
/// Beyond the bound the oldest events are dropped and counted; the next event says how many. One
/// write is out at a time, and no lock is held while writing, so a slow reader delays nobody.
///
/// Life: made and known by Fanout; kept alive by its write while one is out.
/// Threads: any.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  struct Options {
    std::string id;
    std::vector<std::string> patterns;
    StreamFilter filter;
    std::size_t queue_events;
    std::shared_ptr<Counter> written, missed;
    absl::AnyInvocable<void()> on_broken;    ///< once, when a write failed
    absl::AnyInvocable<void()> on_finished;  ///< once, after the sink was finished
  };

  Stream(Options options, std::unique_ptr<StreamSink> sink);

  const std::string& id() const { return options_.id; }
  const std::vector<std::string>& patterns() const { return options_.patterns; }
  const StreamSink& sink() const { return *sink_; }

  /// Whether an event that came by the pattern is for this stream. One that several of its patterns
  /// match is taken by the first of them.
  bool accepts(std::string_view pattern, std::string_view topic, const Event& event) const;

  void start();  ///< all its bus subscriptions stand: writing may begin
  void push(FanoutEventPtr event);
  void count_missed(std::uint64_t events);
  void comment();

  /// Ends the stream with the status: at once (after the write that is out), or after what is
  /// queued was written. A second close can only make it sooner.
  enum class Queued { kDrop, kWrite };
  void close(absl::Status status, Queued queued);

 private:
  void pump();
  void on_written(const absl::Status& status);

  Options options_;
  const std::unique_ptr<StreamSink> sink_;
  const bool several_patterns_;

  std::mutex mutex_;
  std::deque<FanoutEventPtr> queue_;
  std::vector<FanoutEventPtr> writing_;  ///< what the write that is out holds
  std::uint64_t missed_ = 0;
  bool first_ = true;
  bool started_ = false;
  bool comment_due_ = false;
  bool busy_ = false;       ///< a write is out
  bool issuing_ = false;    ///< … and its call has not returned
  bool completed_ = false;  ///< … but its `written` has run
  bool finished_ = false;
  std::optional<absl::Status> ending_;
  Queued queued_ = Queued::kWrite;
};
using StreamPtr = std::shared_ptr<Stream>;

}  // namespace virtufin::gateway

#include "modules/wsm/connection.h"

#include <algorithm>
#include <random>

#include "core/errors.h"
#include "core/uuid.h"

namespace virtufin::wsm {
namespace {

constexpr std::chrono::milliseconds kMaxTick{250};
constexpr std::chrono::milliseconds kMinTick{5};
constexpr std::chrono::seconds kUndecodableLogInterval{1};

std::chrono::milliseconds snapshot_interval(const ConnectionSpec& spec, const WsmConfig& config) {
  const int asked = spec.request.feed().snapshot_interval_ms();
  return asked > 0 ? std::chrono::milliseconds(asked) : config.snapshot_interval;
}

std::chrono::milliseconds tick_interval(const ConnectionSpec& spec, const WsmConfig& config) {
  std::chrono::milliseconds tick = kMaxTick;
  if (config.idle_timeout.count() > 0) tick = std::min(tick, config.idle_timeout / 4);
  if (spec.codec) tick = std::min(tick, snapshot_interval(spec, config));
  return std::max(tick, kMinTick);
}

}  // namespace

std::shared_ptr<Connection> Connection::create(SurroundingsPtr around, Loop& loop,
                                               ConnectionSpec spec) {
  std::shared_ptr<Connection> connection(new Connection(std::move(around), loop, std::move(spec)));
  // Weak: a bus that never completes must not keep a connection.
  connection->gate_ = PublishGate::create(connection->around_.bus,
                                          connection->around_.config.max_outstanding_publishes,
                                          [weak = std::weak_ptr(connection), &loop] {
                                            loop.post([weak] {
                                              if (const auto self = weak.lock())
                                                self->resume_reading();
                                            });
                                          });
  return connection;
}

Connection::Connection(SurroundingsPtr around, Loop& loop, ConnectionSpec spec)
    : around_ptr_(std::move(around)),
      around_(*around_ptr_),
      loop_(loop),
      log_(logger("wsm")),
      spec_(std::move(spec)),
      backoff_(spec_.backoff, std::random_device{}()),
      retry_timer_(loop.io()),
      tick_timer_(loop.io()),
      publishing_(spec_.publishing),
      topic_(spec_.request.topic()),
      content_type_(spec_.codec ? "application/json" : ""),
      publishing_shown_(publishing_) {
  tick_interval_ = tick_interval(spec_, around_.config);
  if (!spec_.codec) return;
  MarketFeed::Settings settings;
  settings.connection_id = spec_.id;
  settings.append_symbol = spec_.request.feed().append_symbol();
  settings.snapshot_interval = snapshot_interval(spec_, around_.config);
  settings.limits = {around_.config.max_book_levels, around_.config.max_pending_updates};
  lag_ = around_.metrics.lag(std::string(spec_.codec->venue()));
  feed_ = std::make_unique<MarketFeed>(std::move(spec_.codec), around_.bus, around_.clock, *this,
                                       std::move(settings));
}

Connection::~Connection() {
  if (gate_ != nullptr) gate_->release();
}

void Connection::open(bool keep_trying, Done opened) {
  loop_.post([self = shared_from_this(), keep_trying, opened = std::move(opened)]() mutable {
    if (self->ended_) return opened(cancelled("the connection was ended before it was opened"));
    self->keep_trying_ = keep_trying;
    self->opened_ = std::move(opened);
    self->fetcher_ = std::make_shared<SnapshotFetcher>(
        self->loop_.io(), self->around_.guard, self->around_.tls,
        SnapshotFetcher::Settings{
            self->around_.config.rest_timeout, self->around_.config.rest_interval,
            self->spec_.backoff.base / 4, self->spec_.backoff.max, self->around_.config.rest_burst,
            self->around_.config.max_rest_bytes, self->spec_.request.tls().ca_file()},
        [weak = std::weak_ptr(self)](std::size_t book, absl::StatusOr<std::string> body) {
          const auto locked = weak.lock();
          if (locked && !locked->ended_) locked->feed_->on_snapshot(book, std::move(body));
        });
    if (self->publishing_) {
      if (const absl::Status status = self->resolve_topic(self->topic_); !status.ok()) {
        self->report_error({"topic", status});
        self->finish("the topic cannot be published on", status);
        return;
      }
    }
    self->set_status(ConnectionStatus::kConnecting, "requested");
    self->attempt();
    self->start_ticking();
  });
}

absl::Status Connection::resolve_topic(const std::string& topic) {
  if (feed_) return feed_->publish_on(topic);
  raw_topic_ = around_.bus.topic(topic);
  return absl::OkStatus();
}

void Connection::attempt() {
  WebSocketClient::Options options;
  options.url = spec_.url;
  for (const auto& [name, value] : spec_.request.headers())
    options.headers.emplace_back(name, value);
  options.subprotocols.assign(spec_.request.subprotocols().begin(),
                              spec_.request.subprotocols().end());
  options.server_name = spec_.request.tls().server_name();
  options.connect_timeout = around_.config.connect_timeout;
  options.close_timeout = around_.config.close_timeout;
  options.max_frame_bytes = around_.config.max_frame_bytes;
  if (options.url.tls) {
    auto context = around_.tls.get(spec_.request.tls().ca_file());
    if (!context.ok()) return on_closed({"tls", context.status()});
    options.tls = *std::move(context);
  }
  client_ = WebSocketClient::create(loop_.io(), std::move(options), around_.guard);
  client_->open(shared_from_this());
}

void Connection::on_open() {
  open_ = true;
  stable_ = false;
  opened_at_ = last_data_at_ = std::chrono::steady_clock::now();
  if (was_open_) counters_.reconnects.add();
  around_.metrics.connection_opened();
  if (feed_) feed_->connected();
  if (paused_) client_->pause();
  set_status(ConnectionStatus::kConnected, was_open_ ? "reconnected" : "handshake done");
  was_open_ = true;
  if (opened_) std::exchange(opened_, nullptr)(absl::OkStatus());
}

void Connection::on_closed(NetFailure failure) {
  client_.reset();
  if (ended_) return;
  const bool was_standing = std::exchange(open_, false);
  if (was_standing) {
    around_.metrics.connection_closed();
    backoff_.succeeded(std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - opened_at_));
  }
  if (failure.stage ==
      "payload") {  // text that is not UTF-8: the frame came, and ended the connection
    counters_.frames_in.add();
    counters_.undecodable.add();
  }
  report_error(failure);
  const bool first = !was_open_;
  if ((first && !keep_trying_) || !spec_.request.auto_reconnect()) {
    return finish(message(failure.status), failure.status);
  }
  retry_later();
}

void Connection::retry_later() {
  const auto delay = backoff_.next();
  if (!delay) {
    const absl::Status status =
        unavailable("gave up after {} attempts to reconnect", backoff_.attempt());
    report_error({"gave_up", status});
    return finish(message(status), status);
  }
  set_status(ConnectionStatus::kReconnecting, "the connection was lost", backoff_.attempt());
  retry_timer_.expires_after(*delay);
  retry_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (!error && !self->ended_) self->attempt();
  });
}

void Connection::end(std::string reason, Done ended) {
  loop_.post(
      [self = shared_from_this(), reason = std::move(reason), ended = std::move(ended)]() mutable {
        self->finish(reason, cancelled("the connection was ended: {}", reason));
        ended(absl::OkStatus());
      });
}

void Connection::finish(std::string_view reason, const absl::Status& status) {
  if (ended_) return;
  ended_ = true;
  retry_timer_.cancel();
  tick_timer_.cancel();
  if (fetcher_) fetcher_->cancel();
  if (client_) std::exchange(client_, nullptr)->close();
  if (std::exchange(open_, false)) around_.metrics.connection_closed();
  set_status(ConnectionStatus::kDisconnected, reason);
  report_totals();
  if (opened_) std::exchange(opened_, nullptr)(status);
}

void Connection::start_publish(std::string topic, Done done) {
  loop_.post(
      [self = shared_from_this(), topic = std::move(topic), done = std::move(done)]() mutable {
        if (self->ended_ || !self->open_) {
          return done(failed_precondition("connection '{}' is {}; it must be connected to publish",
                                          self->spec_.id, name(self->status_)));
        }
        absl::Status status = check_topic(topic, self->feed_ != nullptr);
        if (status.ok()) status = self->resolve_topic(topic);
        if (status.ok()) {
          self->publishing_ = true;
          const std::lock_guard lock(self->mutex_);
          self->topic_ = std::move(topic);
          self->publishing_shown_ = true;
        }
        done(std::move(status));
      });
}

void Connection::stop_publish(Done done) {
  loop_.post([self = shared_from_this(), done = std::move(done)]() mutable {
    self->publishing_ = false;
    if (self->feed_) self->feed_->stop_publishing();
    {
      const std::lock_guard lock(self->mutex_);
      self->topic_.clear();
      self->publishing_shown_ = false;
    }
    done(absl::OkStatus());
  });
}

void Connection::on_message(std::string_view bytes, bool text) {
  counters_.frames_in.add();
  if (!publishing_) {
    counters_.not_published.add();
    return;
  }
  if (feed_) {
    handle_feed_frame(bytes);
  } else {
    publish_raw(bytes, text);
  }
  stop_reading_if_full();
}

void Connection::handle_feed_frame(std::string_view bytes) {
  const TimePoint received = around_.clock.now();
  const Decoded decoded = feed_->on_frame({bytes, received});
  switch (decoded.kind) {
    case FrameKind::kMarket:
      counters_.market_frames.add();
      if (decoded.venue_time) note_lag(*decoded.venue_time, received);
      return;
    case FrameKind::kControl:
      counters_.control_frames.add();
      if (!decoded.problem.empty()) {
        report_error({"venue", unavailable("{}: {}", decoded.problem, printable(bytes))});
      }
      return;
    case FrameKind::kDuplicate: counters_.duplicates.add(); return;
    case FrameKind::kUndecodable:
      counters_.undecodable.add();
      note_undecodable(decoded.problem, bytes);
      return;
  }
}

void Connection::publish_raw(std::string_view bytes, bool text) {
  RawMessage raw{spec_.id, spec_.request.url(), bytes, text, around_.clock.now()};
  const std::string_view type = content_type(raw);
  auto event = raw_event(raw, type);
  if (!event.ok()) {
    counters_.undecodable.add();
    note_undecodable(message(event.status()), bytes);
    return;
  }
  if (content_type_seen_ != type) {
    content_type_seen_ = type;
    const std::lock_guard lock(mutex_);
    content_type_ = type;
  }
  counters_.market_frames.add();
  publish_frame_event(raw_topic_, *std::move(event));
}

void Connection::note_lag(TimePoint venue_time, TimePoint received) {
  const std::chrono::nanoseconds lag = received - venue_time;
  lag_->record_ns(lag.count());
  counters_.exchange_lag_us.store(
      std::chrono::duration_cast<std::chrono::microseconds>(lag).count(),
      std::memory_order_relaxed);
}

void Connection::note_undecodable(std::string_view problem, std::string_view bytes) {
  const auto now = std::chrono::steady_clock::now();
  if (now - last_undecodable_log_ < kUndecodableLogInterval) return;
  last_undecodable_log_ = now;
  log_->warn("{}: frame not decoded ({}; {} so far): {}", spec_.id, problem,
             counters_.undecodable.value(), printable(bytes));
}

void Connection::publish_frame_event(const bus::TopicPtr& topic, EventPtr event) {
  counters_.frame_events.add();
  gate_->publish(topic, std::move(event));
}

void Connection::publish_other_event(const bus::TopicPtr& topic, EventPtr event) {
  counters_.other_events.add();
  gate_->publish(topic, std::move(event));
}

void Connection::fetch_snapshot(std::size_t book, std::string url, int attempt) {
  fetcher_->fetch(book, std::move(url), attempt);
}

void Connection::cache_book(std::string key, std::string json) {
  around_.store.save({std::move(key), std::move(json), {}, {}},
                     [log = log_](const absl::StatusOr<std::string>& saved) {
                       if (!saved.ok()) {
                         log->warn("order book not cached: {}", message(saved.status()));
                       }
                     });
}

void Connection::stop_reading_if_full() {
  if (paused_ || !gate_->full()) return;
  paused_ = true;
  if (client_) client_->pause();
}

void Connection::resume_reading() {
  if (!paused_) return;
  paused_ = false;
  last_data_at_ = std::chrono::steady_clock::now();  // it was we who did not read
  if (client_) client_->resume();
}

std::uint64_t Connection::data_frames() const {
  return counters_.market_frames.value() + counters_.duplicates.value() +
         counters_.not_published.value();
}

void Connection::start_ticking() {
  tick_timer_.expires_after(tick_interval_);
  tick_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (error || self->ended_) return;
    self->tick(std::chrono::steady_clock::now());
    if (!self->ended_) self->start_ticking();
  });
}

void Connection::tick(SteadyTime now) {
  report_totals();
  if (const auto failure = gate_->take_failure()) {
    report_error({"publish", with_context(*failure, "an event was not published")});
  }
  if (!open_) return;
  if (feed_ && publishing_) feed_->tick(now);
  if (!stable_ && now - opened_at_ >= around_.config.stable) {
    stable_ = true;
    backoff_.reset();
  }
  // Watches data: a peer that only answers pings, or only sends JSON pings, is dead.
  if (const std::uint64_t data = data_frames(); data != last_data_ || paused_) {
    last_data_ = data;
    last_data_at_ = now;
  } else if (around_.config.idle_timeout.count() > 0 &&
             now - last_data_at_ >= around_.config.idle_timeout) {
    client_->close();
    on_closed({"idle", unavailable("{}: no data for {} ms", spec_.url.authority(),
                                   around_.config.idle_timeout.count())});
  }
}

void Connection::report_totals() {
  const Totals now = totals();
  around_.metrics.add(reported_, now);
  reported_ = now;
}

void Connection::set_status(ConnectionStatus status, std::string_view reason,
                            std::uint32_t attempt) {
  {
    const std::lock_guard lock(mutex_);
    if (status_ == status) return;
    status_ = status;
  }
  log_->info("{}: {} ({})", spec_.id, name(status), reason);
  publish_lifecycle(name(status),
                    {spec_.id, spec_.request.url(), around_.instance_id, reason, attempt, {}, {}});
}

void Connection::report_error(const NetFailure& failure) {
  const std::string_view text = message(failure.status);
  {
    const std::lock_guard lock(mutex_);
    last_error_ = text;
  }
  log_->warn("{}: {}: {}", spec_.id, failure.stage, text);
  publish_lifecycle("error", {spec_.id, spec_.request.url(), around_.instance_id, text,
                              backoff_.attempt(), failure.stage, text});
}

void Connection::publish_lifecycle(std::string_view kind, const LifecycleData& data) {
  auto event = lifecycle_event(kind, data, around_.clock.now());
  if (!event.ok()) {
    log_->error("{}: no lifecycle event: {}", spec_.id, message(event.status()));
    return;
  }
  publish_other_event(around_.lifecycle, *std::move(event));
}

WebSocketConnection Connection::describe() const {
  const Totals now = totals();
  WebSocketConnection shown;
  shown.set_id(spec_.id);
  shown.set_url(spec_.request.url());
  shown.set_instance_id(around_.instance_id);
  *shown.mutable_tags() = spec_.request.tags();
  if (spec_.request.has_feed()) *shown.mutable_feed() = spec_.request.feed();
  shown.set_frames_in(now.frames_in);
  shown.set_market_frames(now.market_frames);
  shown.set_control_frames(now.control_frames);
  shown.set_duplicates(now.duplicates);
  shown.set_not_published(now.not_published);
  shown.set_undecodable(now.undecodable);
  shown.set_frame_events(now.frame_events);
  shown.set_other_events(now.other_events);
  shown.set_reconnects(now.reconnects);
  shown.set_exchange_lag_us(counters_.exchange_lag_us.load(std::memory_order_relaxed));
  const std::lock_guard lock(mutex_);
  const std::string_view status = name(status_);
  shown.set_status(status.data(), status.size());
  shown.set_topic(topic_);
  shown.set_content_type(content_type_);
  shown.set_last_error(last_error_);
  return shown;
}

ConnectionRecord Connection::record() const {
  ConnectionRecord record;
  record.id = spec_.id;
  record.instance_id = around_.instance_id;
  record.configured = spec_.configured;
  record.request = spec_.request;
  const std::lock_guard lock(mutex_);
  record.publishing = publishing_shown_;
  record.request.set_topic(topic_);
  return record;
}

Totals Connection::totals() const {
  Totals totals = counters_.totals();
  totals.publish_failed = gate_->failed();
  return totals;
}

}  // namespace virtufin::wsm

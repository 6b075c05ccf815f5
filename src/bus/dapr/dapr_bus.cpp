#include "bus/dapr/dapr_bus.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <mutex>
#include <utility>

#include "bus/dapr/envelope.h"
#include "bus/dapr/market_hole.h"
#include "bus/dapr/publisher.h"
#include "bus/dapr/subscription_stream.h"
#include "bus/dapr/topic_map.h"
#include "bus/memory/registry.h"
#include "core/errors.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/time.h"
#include "core/topic.h"

namespace virtufin::bus {
namespace {

const Logger& log() {
  static const Logger kLogger = logger("dapr");
  return kLogger;
}

/// A topic with its place on the broker.
class DaprTopic final : public Topic {
 public:
  DaprTopic(std::string name, absl::StatusOr<TopicAddress> address) : Topic(std::move(name)) {
    if (address.ok()) {
      address_ = std::make_shared<const TopicAddress>(*std::move(address));
    } else {
      refused_ = address.status();
    }
  }
  /// Null: see refused().
  const std::shared_ptr<const TopicAddress>& address() const { return address_; }
  const absl::Status& refused() const { return refused_; }
  /// Whether the broker can take it, once its kind is known.
  mutable std::atomic<bool> checked{false};

 private:
  std::shared_ptr<const TopicAddress> address_;
  absl::Status refused_;
};

/// Late events say so; the bus that hands them out does not know the extension.
Handler telling_late(Handler handler) {
  return [handler = std::move(handler)](const Delivery& delivery, Receipt receipt) mutable {
    if (delivery.event->extension(kBusLate).empty()) {
      handler(delivery, std::move(receipt));
      return;
    }
    handler(Delivery{delivery.topic, delivery.event, delivery.attempt, true, delivery.missed},
            std::move(receipt));
  };
}

}  // namespace

/// What is behind the bus and outlives it in its subscriptions. Arriving events are published on a
/// bus in memory, which does all that happens to them here.
struct DaprBus::Impl final : StreamReceiver, std::enable_shared_from_this<Impl> {
  /// A subscription and the streams that it hears.
  struct Listener {
    std::vector<std::string> patterns;
    memory::SubscriberPtr subscriber;
    std::vector<TopicSource> sources;
    bool resolved = false;  ///< the sources are known
    bool stood = false;
    bool draining = false;
    /// Held while a drain begins, so that one that has ended does not begin; again by who ends it
    /// when told.
    std::recursive_mutex drain_mutex;
    bool ended = false;
  };
  using ListenerPtr = std::shared_ptr<Listener>;
  struct Shared {
    std::shared_ptr<SubscriptionStream> stream;
    int users = 0;
    int drainers = 0;  ///< of the users
    bool stood = false;
  };
  /// A dead letter until it has been acknowledged.
  struct Letter {
    std::shared_ptr<const TopicAddress> address;
    EventPtr event;
    PublishDone done;
    Backoff backoff;
  };
  class HeldSubscription;

  Impl(Sidecar& sidecar_in, const Clock& clock_in, Metrics& metrics_in)
      : sidecar(sidecar_in),
        clock(clock_in),
        metrics(metrics_in),
        topic_map(sidecar.config()),
        publisher(std::make_shared<Publisher>(sidecar, metrics)),
        gaps(metrics.counter("virtufin_dapr_gaps_total",
                             "Holes in market topics, each published as feed.gap")),
        letter_retries(metrics.counter("virtufin_dapr_dead_letter_retries_total",
                                       "Dead letters that had to be published again")) {}

  void start(const BusConfig& config);
  void shut_down();

  // StreamReceiver
  void arrived(std::string_view topic, EventPtr event, PublishDone done) override;
  void hole(const Hole& hole, const Event& next) override;
  void stands(const TopicSource& source) override;

  absl::StatusOr<std::unique_ptr<Subscription>> subscribe(std::vector<std::string> patterns,
                                                          SubscribeOptions options,
                                                          Handler handler);
  void drain(const ListenerPtr& listener, absl::AnyInvocable<void()> done);
  void begin_drain(Listener& listener, absl::AnyInvocable<void()> done);
  std::uint64_t end(const ListenerPtr& listener);

  /// What to subscribe to for all the patterns; nothing as long as the sidecar has not told.
  absl::StatusOr<std::optional<std::vector<TopicSource>>> sources_of(
      const std::vector<std::string>& patterns) const;
  void attach(const ListenerPtr& listener, std::vector<TopicSource> sources);
  void resolve();
  void resolve_later();

  void dead_letter(std::string_view topic, EventPtr event, PublishDone done);
  void post(std::shared_ptr<Letter> letter);

  Sidecar& sidecar;
  const Clock& clock;
  Metrics& metrics;
  const TopicMap topic_map;
  const std::shared_ptr<Publisher> publisher;
  std::shared_ptr<memory::Registry> registry;
  const std::shared_ptr<Counter> gaps, letter_retries;

  mutable std::mutex mutex;
  bool down = false;
  bool resolving = false;
  std::vector<ListenerPtr> listeners;
  std::map<TopicSource, Shared> streams;
};

class DaprBus::Impl::HeldSubscription final : public Subscription {
 public:
  HeldSubscription(std::shared_ptr<Impl> impl, ListenerPtr listener)
      : impl_(std::move(impl)), listener_(std::move(listener)) {}
  ~HeldSubscription() override {
    if (!ended_) end();
  }
  void drain(absl::AnyInvocable<void()> done) override { impl_->drain(listener_, std::move(done)); }
  std::uint64_t end() override {
    ended_ = true;
    return impl_->end(listener_);
  }

 private:
  const std::shared_ptr<Impl> impl_;
  const ListenerPtr listener_;
  bool ended_ = false;
};

void DaprBus::Impl::start(const BusConfig& config) {
  registry = std::make_shared<memory::Registry>(
      config, metrics,
      [weak = weak_from_this()](std::string_view topic, EventPtr letter, PublishDone done) {
        if (const auto self = weak.lock()) {
          self->dead_letter(topic, std::move(letter), std::move(done));
        } else {
          done(unavailable("the bus has ended"));
        }
      });
}

void DaprBus::Impl::shut_down() {
  std::vector<std::shared_ptr<SubscriptionStream>> ended;
  {
    std::lock_guard lock(mutex);
    down = true;
    for (auto& [source, shared] : streams) ended.push_back(std::move(shared.stream));
    streams.clear();
    listeners.clear();
  }
  for (const auto& stream : ended) stream->close();
  publisher->close();
  registry->shut_down();
}

// --- What comes ---------------------------------------------------------------------------------

void DaprBus::Impl::arrived(std::string_view topic, EventPtr event, PublishDone done) {
  registry->publish(registry->topic(topic), std::move(event), done);
}

void DaprBus::Impl::hole(const Hole& hole, const Event& next) {
  gaps->add();
  // Told here, not through the sidecar: another process may have missed nothing.
  auto gap = make_gap(hole, topic_map.component_of(hole.topic), next, clock.now());
  if (!gap.ok()) {
    log()->error("a hole in '{}' cannot be told as feed.gap: {}", printable(hole.topic),
                 message(gap.status()));
    return;
  }
  PublishDone nobody;
  registry->publish(registry->topic(gap->topic), std::move(gap->event), nobody);
}

void DaprBus::Impl::stands(const TopicSource& source) {
  std::vector<ListenerPtr> ready;
  {
    std::lock_guard lock(mutex);
    const auto found = streams.find(source);
    if (found == streams.end()) return;
    found->second.stood = true;
    for (const ListenerPtr& listener : listeners) {
      const auto all_stand = [&] {
        return std::all_of(listener->sources.begin(), listener->sources.end(),
                           [&](const TopicSource& one) { return streams.find(one)->second.stood; });
      };
      if (listener->resolved && !listener->stood && all_stand()) {
        listener->stood = true;
        ready.push_back(listener);
      }
    }
  }
  for (const ListenerPtr& listener : ready) listener->subscriber->stand();
}

// --- Subscriptions ------------------------------------------------------------------------------

absl::StatusOr<std::optional<std::vector<TopicSource>>> DaprBus::Impl::sources_of(
    const std::vector<std::string>& patterns) const {
  const auto info = sidecar.info();
  std::vector<TopicSource> all;
  bool known = true;
  for (const std::string& pattern : patterns) {
    VIRTUFIN_RETURN_IF_ERROR(topic::check_pattern(pattern));
    auto sources = topic_map.sources(pattern, info.get());
    if (!sources.ok()) return sources.status();
    if (!*sources) {
      known = false;
    } else {
      all.insert(all.end(), (*sources)->begin(), (*sources)->end());
    }
  }
  if (!known) return std::optional<std::vector<TopicSource>>();
  std::sort(all.begin(), all.end());
  const auto same = [](const TopicSource& a, const TopicSource& b) { return !(a < b); };
  all.erase(std::unique(all.begin(), all.end(), same), all.end());
  return std::optional(std::move(all));
}

absl::StatusOr<std::unique_ptr<Subscription>> DaprBus::Impl::subscribe(
    std::vector<std::string> patterns, SubscribeOptions options, Handler handler) {
  auto sources = sources_of(patterns);
  if (!sources.ok()) return sources.status();
  // A subscription that may not lose anything holds up the sidecar instead of dropping: what it
  // may have in its queue is bounded by what a stream may have here.
  const bool hold = options.overflow == Overflow::kBlock;
  if (hold && options.queue_events >= 1) {
    options.queue_events = std::numeric_limits<std::size_t>::max() / 2;
  }
  auto listener = std::make_shared<Listener>();
  listener->patterns = patterns;
  if (handler) handler = telling_late(std::move(handler));
  auto subscriber = registry->subscribe(std::move(patterns), std::move(options), std::move(handler),
                                        {.hold = hold, .stand = false});
  if (!subscriber.ok()) return subscriber.status();
  listener->subscriber = *std::move(subscriber);
  {
    std::lock_guard lock(mutex);
    if (!down) listeners.push_back(listener);
  }
  if (*sources) {
    attach(listener, *std::move(*sources));
  } else {
    resolve_later();
  }
  return std::make_unique<HeldSubscription>(shared_from_this(), std::move(listener));
}

void DaprBus::Impl::attach(const ListenerPtr& listener, std::vector<TopicSource> sources) {
  std::vector<std::shared_ptr<SubscriptionStream>> to_open, to_restart;
  bool stands = true;
  {
    std::lock_guard lock(mutex);
    if (down || listener->resolved ||
        std::find(listeners.begin(), listeners.end(), listener) == listeners.end()) {
      return;
    }
    listener->resolved = true;
    listener->sources = std::move(sources);
    for (const TopicSource& source : listener->sources) {
      Shared& shared = streams[source];
      if (!shared.stream) {
        shared.stream =
            std::make_shared<SubscriptionStream>(sidecar, source, weak_from_this(), metrics);
        to_open.push_back(shared.stream);
      } else if (shared.users == shared.drainers) {
        to_restart.push_back(shared.stream);
      }
      ++shared.users;
      stands &= shared.stood;
    }
    listener->stood = stands;
  }
  for (const auto& stream : to_open) stream->open();
  for (const auto& stream : to_restart) stream->restart_intake();
  if (stands) listener->subscriber->stand();
}

void DaprBus::Impl::resolve_later() {
  {
    std::lock_guard lock(mutex);
    if (down || std::exchange(resolving, true)) return;
  }
  sidecar.after(sidecar.config().probe, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->resolve();
  });
}

void DaprBus::Impl::resolve() {
  std::vector<ListenerPtr> open;
  {
    std::lock_guard lock(mutex);
    resolving = false;
    for (const ListenerPtr& listener : listeners) {
      if (!listener->resolved) open.push_back(listener);
    }
  }
  bool again = false;
  for (const ListenerPtr& listener : open) {
    auto sources = sources_of(listener->patterns);
    if (!sources.ok()) {
      listener->subscriber->end(sources.status());
      std::lock_guard lock(mutex);
      std::erase(listeners, listener);
    } else if (*sources) {
      attach(listener, *std::move(*sources));
    } else {
      again = true;
    }
  }
  if (again) resolve_later();
}

void DaprBus::Impl::drain(const ListenerPtr& listener, absl::AnyInvocable<void()> done) {
  std::vector<std::shared_ptr<SubscriptionStream>> stopped;
  bool ended = false;  // and with the bus perhaps the sidecar
  {
    std::lock_guard lock(mutex);
    ended = down;
    if (!std::exchange(listener->draining, true)) {
      for (const TopicSource& source : listener->sources) {
        const auto found = streams.find(source);
        if (found == streams.end()) continue;
        Shared& shared = found->second;
        if (++shared.drainers == shared.users) stopped.push_back(shared.stream);
      }
    }
  }
  if (ended || stopped.empty()) {  // others hear what comes from now on
    begin_drain(*listener, std::move(done));
    return;
  }
  for (const auto& stream : stopped) stream->stop_intake();
  // On the thread that hands events out: one that is being handed out still finds its subscription,
  // because with nobody to hear it it would be answered.
  sidecar.after(std::chrono::milliseconds(0),
                [self = shared_from_this(), listener, done = std::move(done)]() mutable {
                  self->begin_drain(*listener, std::move(done));
                });
}

void DaprBus::Impl::begin_drain(Listener& listener, absl::AnyInvocable<void()> done) {
  std::lock_guard beginning(listener.drain_mutex);
  if (listener.ended) return;
  bool stand = false;
  {
    std::lock_guard lock(mutex);
    stand = !std::exchange(listener.stood, true);
  }
  registry->detach(*listener.subscriber);
  if (stand) listener.subscriber->stand();
  listener.subscriber->drain(std::move(done));
}

std::uint64_t DaprBus::Impl::end(const ListenerPtr& listener) {
  {
    std::lock_guard beginning(listener->drain_mutex);
    listener->ended = true;
  }
  std::vector<std::shared_ptr<SubscriptionStream>> ended, stopped;
  {
    std::lock_guard lock(mutex);
    std::erase(listeners, listener);
    for (const TopicSource& source : std::exchange(listener->sources, {})) {
      const auto found = streams.find(source);
      if (found == streams.end()) continue;
      Shared& shared = found->second;
      --shared.users;
      if (listener->draining) --shared.drainers;
      if (shared.users == 0) {
        ended.push_back(std::move(shared.stream));
        streams.erase(found);
      } else if (shared.users == shared.drainers) {
        stopped.push_back(shared.stream);
      }
    }
  }
  for (const auto& stream : ended) stream->close();
  for (const auto& stream : stopped) stream->stop_intake();
  registry->detach(*listener->subscriber);
  return listener->subscriber->close();
}

// --- Dead letters -------------------------------------------------------------------------------

void DaprBus::Impl::dead_letter(std::string_view topic, EventPtr event, PublishDone done) {
  auto address = topic_map.address(topic);
  absl::Status possible = address.status();
  if (possible.ok()) {
    const auto kind = TopicMap::kind(sidecar.info().get(), address->component);
    possible = TopicMap::check(*address, kind.value_or(BrokerKind::kOther));
  }
  if (!possible.ok()) {
    log()->error("no dead letter on '{}': {}", printable(topic), message(possible));
    done(std::move(possible));
    return;
  }
  const DaprConfig& config = sidecar.config();
  post(std::make_shared<Letter>(Letter{std::make_shared<const TopicAddress>(*std::move(address)),
                                       std::move(event), std::move(done),
                                       Backoff(config.reopen_first, config.reopen_max)}));
}

void DaprBus::Impl::post(std::shared_ptr<Letter> letter) {
  publisher->publish(
      letter->address, letter->event, [weak = weak_from_this(), letter](absl::Status status) {
        const auto self = weak.lock();
        bool ended = !self;
        if (self) {
          std::lock_guard lock(self->mutex);
          ended = self->down;
        }
        if (status.ok() || ended) {
          letter->done(std::move(status));
          return;
        }
        // The event that it is about is not answered before it is safe.
        log()->error("dead letter {} on '{}' is tried again: {}", printable(letter->event->id()),
                     printable(letter->address->topic), message(status));
        self->letter_retries->add();
        self->sidecar.after(letter->backoff.next(), [weak, letter] {
          if (const auto living = weak.lock()) living->post(letter);
        });
      });
}

// --- DaprBus ------------------------------------------------------------------------------------

DaprBus::DaprBus(Sidecar& sidecar, const Clock& clock, BusConfig config, Metrics& metrics)
    : impl_(std::make_shared<Impl>(sidecar, clock, metrics)) {
  impl_->start(config);
}

DaprBus::~DaprBus() { impl_->shut_down(); }

TopicPtr DaprBus::topic(std::string_view name) {
  return std::make_shared<const DaprTopic>(std::string(name), impl_->topic_map.address(name));
}

void DaprBus::publish(const TopicPtr& topic, EventPtr event, PublishDone done) {
  absl::Status refused;
  if (!topic || !event) refused = invalid_argument("publish needs a topic and an event");
  // A Delivery names its topic by one of the bus in memory.
  const auto* known = dynamic_cast<const DaprTopic*>(topic.get());
  TopicPtr looked_up;
  if (refused.ok() && !known) {
    looked_up = this->topic(topic->name());
    known = static_cast<const DaprTopic*>(looked_up.get());
  }
  if (refused.ok() && !known->address()) refused = known->refused();
  if (refused.ok() && !known->checked.load(std::memory_order_relaxed)) {
    const auto kind = TopicMap::kind(impl_->sidecar.info().get(), known->address()->component);
    if (kind) {
      refused = TopicMap::check(*known->address(), *kind);
      if (refused.ok()) known->checked.store(true, std::memory_order_relaxed);
    }
  }
  if (!refused.ok()) {
    if (done) done(std::move(refused));
    return;
  }
  impl_->publisher->publish(known->address(), std::move(event), std::move(done));
}

absl::StatusOr<std::unique_ptr<Subscription>> DaprBus::subscribe(std::vector<std::string> patterns,
                                                                 SubscribeOptions options,
                                                                 Handler handler) {
  return impl_->subscribe(std::move(patterns), std::move(options), std::move(handler));
}

std::vector<HealthEntry> DaprBus::health() const {
  constexpr std::size_t kShown = 3;
  std::vector<std::string> problems;
  std::size_t total = 0;
  {
    std::lock_guard lock(impl_->mutex);
    for (const auto& [source, shared] : impl_->streams) {
      const absl::Status status = shared.stream->health();
      if (!status.ok() && ++total <= kShown) problems.emplace_back(message(status));
    }
    for (const auto& listener : impl_->listeners) {
      if (listener->resolved || ++total > kShown) continue;
      problems.push_back(
          fmt::format("the sidecar has not told of the component for '{}'",
                      printable(fmt::format("{}", fmt::join(listener->patterns, ", ")))));
    }
  }
  absl::Status status;
  if (total > 0) {
    status = unavailable("{}{}", fmt::join(problems, "; "),
                         total > kShown ? fmt::format("; and {} more", total - kShown) : "");
  }
  const bool ordered = impl_->sidecar.config().replicas == 1;
  return {{ordered ? "dapr bus" : "dapr bus, order: none", std::move(status)}};
}

}  // namespace virtufin::bus

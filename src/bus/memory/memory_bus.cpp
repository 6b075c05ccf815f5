#include "bus/memory/memory_bus.h"

#include <limits>
#include <utility>

#include "bus/memory/registry.h"
#include "core/config.h"

namespace virtufin::bus {
namespace {

class MemorySubscription final : public Subscription {
 public:
  MemorySubscription(memory::SubscriberPtr subscriber, std::shared_ptr<memory::Registry> registry)
      : subscriber_(std::move(subscriber)), registry_(std::move(registry)) {}

  ~MemorySubscription() override {
    if (!ended_) end();
  }

  std::uint64_t end() override {
    ended_ = true;
    registry_->detach(*subscriber_);
    return subscriber_->close();
  }

  void drain(absl::AnyInvocable<void()> done) override {
    registry_->detach(*subscriber_);
    subscriber_->drain(std::move(done));
  }

 private:
  const memory::SubscriberPtr subscriber_;
  const std::shared_ptr<memory::Registry> registry_;
  bool ended_ = false;
};

}  // namespace

void BusConfig::read(ConfigSection section) {
  section.value("block_ms", block_ms,
                "How long a publish waits for room in a `block` subscription, in milliseconds");
  section.value("retry_delay_max_ms", retry_delay_max_ms,
                "Where the doubling of retry delays ends, in milliseconds");
  section.value("seed", seed, "Of the retry delays' jitter; 0: a random one",
                {0, std::numeric_limits<std::int64_t>::max()});
}

MemoryBus::MemoryBus(BusConfig config, Metrics& metrics)
    : registry_(std::make_shared<memory::Registry>(config, metrics)) {}

MemoryBus::~MemoryBus() { registry_->shut_down(); }

TopicPtr MemoryBus::topic(std::string_view name) { return registry_->topic(name); }

void MemoryBus::publish(const TopicPtr& topic, EventPtr event, PublishDone done) {
  registry_->publish(topic, std::move(event), done);
}

absl::StatusOr<std::unique_ptr<Subscription>> MemoryBus::subscribe(
    std::vector<std::string> patterns, SubscribeOptions options, Handler handler) {
  auto subscriber =
      registry_->subscribe(std::move(patterns), std::move(options), std::move(handler));
  if (!subscriber.ok()) return subscriber.status();
  return std::make_unique<MemorySubscription>(*std::move(subscriber), registry_);
}

MemoryBus::Footprint MemoryBus::footprint() const { return registry_->footprint(); }

}  // namespace virtufin::bus

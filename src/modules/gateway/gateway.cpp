#include "modules/gateway/gateway.h"

#include "modules/gateway/config_service.h"
#include "modules/gateway/fanout.h"
#include "modules/gateway/pubsub_service.h"
#include "modules/gateway/scenario_seed.h"
#include "modules/gateway/state_service.h"

namespace virtufin::gateway {
namespace {

constexpr std::chrono::seconds kSeedTimeout{10};

}  // namespace

GatewayModule::GatewayModule(Platform& platform, GatewayConfig config,
                             const ServiceDirectory* directory)
    : platform_(platform),
      config_(std::move(config)),
      fanout_(std::make_shared<Fanout>(platform.bus, platform.metrics, config_)),
      pubsub_(std::make_shared<PubsubService>(platform.bus, fanout_)) {
  register_state_service(platform_.methods, platform_.store, platform_.bus, platform_.clock,
                         platform_.metrics, config_);
  register_config_service(platform_.methods, config_, directory);
  pubsub_->register_methods(platform_.methods);
  platform_.http.route("POST", "/v1/pubsub/{topic}",
                       [pubsub = pubsub_](const std::shared_ptr<rpc::HttpExchange>& exchange) {
                         pubsub->publish_over_http(exchange);
                       });
  platform_.http.route("GET", "/v1/pubsub/stream",
                       [pubsub = pubsub_](const std::shared_ptr<rpc::HttpExchange>& exchange) {
                         pubsub->stream_over_http(exchange);
                       });
}

GatewayModule::~GatewayModule() { stop(std::chrono::steady_clock::now()); }

absl::Status GatewayModule::start() {
  return seed_scenarios(platform_.store, platform_.clock, kSeedTimeout);
}

void GatewayModule::close_intake() { pubsub_->close_intake(); }

void GatewayModule::stop(std::chrono::steady_clock::time_point deadline) {
  close_intake();
  fanout_->stop(deadline);
}

std::vector<HealthEntry> GatewayModule::health() const { return {{"gateway", absl::OkStatus()}}; }

}  // namespace virtufin::gateway

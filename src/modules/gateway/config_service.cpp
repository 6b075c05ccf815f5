#include "modules/gateway/config_service.h"

#include <algorithm>

#include "virtufin/config.pb.h"

namespace virtufin::gateway {
namespace {

/// What the bus and the store in this process are called.
constexpr const char* kInMemory = "memory";

ListConfigServicesResponse describe(const GatewayConfig& config) {
  ListConfigServicesResponse response;
  for (const std::string& name : registered_services(config)) {
    ConfigService& service = *response.add_services();
    service.set_name(name);
    service.mutable_grpc()->set_host(config.advertised_host.empty() ? config.host
                                                                    : config.advertised_host);
    service.mutable_grpc()->set_port(config.grpc_port);
    service.mutable_pubsub()->set_pubsub_name(kInMemory);
    service.mutable_state()->set_store_name(kInMemory);
  }
  return response;
}

}  // namespace

void register_config_service(rpc::MethodTable& methods, const GatewayConfig& config) {
  const auto all = std::make_shared<const ListConfigServicesResponse>(describe(config));
  methods.unary<ListConfigServicesRequest, ListConfigServicesResponse>(
      "virtufin.Config/ListServices",
      [all](const rpc::CallPtr&, const ListConfigServicesRequest&,
            rpc::ReplyTo<ListConfigServicesResponse> reply) { reply(*all); });
  methods.unary<GetConfigServiceRequest, GetConfigServiceResponse>(
      "virtufin.Config/GetService",
      [all](const rpc::CallPtr&, const GetConfigServiceRequest& request,
            rpc::ReplyTo<GetConfigServiceResponse> reply) {
        GetConfigServiceResponse response;
        const auto& services = all->services();
        const auto found = std::find_if(
            services.begin(), services.end(),
            [&](const ConfigService& service) { return service.name() == request.name(); });
        if (found != services.end()) {
          *response.mutable_service() = *found;
        }
        reply(std::move(response));
      });
}

}  // namespace virtufin::gateway

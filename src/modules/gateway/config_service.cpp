#include "modules/gateway/config_service.h"

#include <algorithm>

#include "modules/gateway/service_directory.h"
#include "virtufin/config.pb.h"

namespace virtufin::gateway {
namespace {

ConfigService describe(const GatewayConfig& config, const ServiceSpec& spec) {
  ConfigService service;
  service.set_name(spec.name);
  if (spec.hosts.empty()) {
    service.mutable_grpc()->set_host(config.advertised_host.empty() ? config.host
                                                                    : config.advertised_host);
    service.mutable_grpc()->set_port(config.grpc_port);
  } else {
    service.mutable_grpc()->set_host(spec.hosts.front().host);
    service.mutable_grpc()->set_port(spec.hosts.front().port);
  }
  service.mutable_pubsub()->set_pubsub_name(spec.pubsub_name.empty() ? config.bus_name
                                                                     : spec.pubsub_name);
  service.mutable_state()->set_store_name(spec.store_name.empty() ? config.store_name
                                                                  : spec.store_name);
  return service;
}

/// The registered names, then those that only the directory knows.
std::vector<ServiceSpec> all_services(const GatewayConfig& config,
                                      const ServiceDirectory* directory) {
  std::vector<ServiceSpec> all;
  for (const std::string& name : registered_services(config)) all.push_back({name, {}, {}, {}});
  if (directory == nullptr) return all;
  for (const ServiceSpec& spec : *directory->services()) {
    const auto same = std::find_if(all.begin(), all.end(),
                                   [&](const ServiceSpec& has) { return has.name == spec.name; });
    if (same == all.end()) {
      all.push_back(spec);
    } else {
      *same = spec;
    }
  }
  return all;
}

}  // namespace

void register_config_service(rpc::MethodTable& methods, const GatewayConfig& config,
                             const ServiceDirectory* directory) {
  methods.unary<ListConfigServicesRequest, ListConfigServicesResponse>(
      "virtufin.Config/ListServices",
      [config, directory](const rpc::CallPtr&, const ListConfigServicesRequest&,
                          rpc::ReplyTo<ListConfigServicesResponse> reply) {
        ListConfigServicesResponse response;
        for (const ServiceSpec& spec : all_services(config, directory)) {
          *response.add_services() = describe(config, spec);
        }
        reply(std::move(response));
      });
  methods.unary<GetConfigServiceRequest, GetConfigServiceResponse>(
      "virtufin.Config/GetService",
      [config, directory](const rpc::CallPtr&, const GetConfigServiceRequest& request,
                          rpc::ReplyTo<GetConfigServiceResponse> reply) {
        GetConfigServiceResponse response;
        for (const ServiceSpec& spec : all_services(config, directory)) {
          if (spec.name == request.name()) *response.mutable_service() = describe(config, spec);
        }
        reply(std::move(response));
      });
}

}  // namespace virtufin::gateway

#include "modules/gateway/config.h"

#include <algorithm>

#include "core/errors.h"

namespace virtufin::gateway {
namespace {

ServiceSpec read_service(ConfigSection& section) {
  ServiceSpec spec;
  std::vector<std::string> hosts;
  section.value("name", spec.name, "What calls name it: workmanager, websocketmanager, ….");
  section.value("hosts", hosts, "Where its gRPC is, host:port; several are asked in turn.");
  section.value("pubsub_name", spec.pubsub_name, "What Config tells; empty: as our own.");
  section.value("store_name", spec.store_name, "What Config tells; empty: as our own.");
  if (!valid_service_name(spec.name)) {
    section.complain("name", "must be 1 to 100 characters of [A-Za-z0-9._-]");
  }
  for (const std::string& host : hosts) {
    auto endpoint = parse_host(host);
    if (endpoint.ok()) {
      spec.hosts.push_back(*std::move(endpoint));
    } else {
      section.complain("hosts", message(endpoint.status()));
    }
  }
  return spec;
}

}  // namespace

void GatewayConfig::read(ConfigSection section) {
  section.value("host", host, "Address that the gateway's two ports are bound to");
  section.value("http_port", http_port, "REST, server-sent events, health, metrics", {0, 65535});
  section.value("grpc_port", grpc_port, "gRPC without TLS (h2c)", {0, 65535});
  section.value("advertised_host", advertised_host,
                "Host that Config.GetService tells clients; empty: the value of host");
  section.value("max_streams", max_streams,
                "Subscribe streams and server-sent event streams at once", {1, 100'000});
  section.value("max_topics_per_stream", max_topics_per_stream,
                "Topic patterns that one stream may name", {1, 65'536});
  section.value("stream_queue_events", stream_queue_events,
                "Events that may wait for a slow stream; beyond it the oldest are dropped",
                {1, 65'536});
  section.value("fanout_queue_events", fanout_queue_events,
                "Events that may wait to be handed to the streams' queues", {1, 16'777'216});
  section.value("sse_comment_ms", sse_comment,
                "How often an idle server-sent event stream is told that it lives",
                {10, 3'600'000});
  section.value("max_key_bytes", max_key_bytes, "Longest key that State takes", {1, 65'536});
  section.value("max_value_bytes", max_value_bytes, "Longest value that State takes", {1, 1 << 30});
  section.value("max_bulk_keys", max_bulk_keys, "Keys of one bulk call to State", {1, 100'000});
  section.value("max_query_items", max_query_items,
                "Most records that QueryState answers, and its default limit", {1, 100'000});
  section.value("services_file", services_file,
                "A services.json with more services of other processes; empty: none");
  section.value("services_poll_ms", services_poll, "How often it is looked at for changes",
                {10, 3'600'000});
  for (ConfigSection& service :
       section.tables("services", "Services of other processes: their methods are ours too.")) {
    ServiceSpec spec = read_service(service);
    const bool twice =
        std::any_of(other_services.begin(), other_services.end(),
                    [&](const ServiceSpec& other) { return other.name == spec.name; });
    if (twice) service.complain("name", "stands twice");
    other_services.push_back(std::move(spec));
  }
}

std::vector<std::string> registered_services(const GatewayConfig& config) {
  std::vector<std::string> names{"api", "workmanager", "websocketmanager", "examples"};
  for (const std::string& name : config.services) {
    if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(name);
    }
  }
  return names;
}

}  // namespace virtufin::gateway

#include "modules/gateway/config.h"

#include <algorithm>

namespace virtufin::gateway {

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

#include "rpc/backends.h"
#include "rpc/server.h"

namespace virtufin::rpc {

void ServerLimits::read(ConfigSection section) {
  section.value("max_message_bytes", max_message_bytes,
                "Largest request message or body; larger ones are refused", {1024, 1 << 30});
  section.value("max_header_bytes", max_header_bytes,
                "Largest head of an HTTP request, or metadata of a gRPC call", {1024, 1 << 20});
  section.value("max_connections", max_connections,
                "Connections of the HTTP server; one more is answered 503 and closed",
                {1, 1'000'000});
  section.value("max_streams_per_connection", max_streams_per_connection,
                "gRPC calls at once on one connection", {1, 100'000});
  section.value("max_calls", max_calls,
                "gRPC calls at once; one more is answered RESOURCE_EXHAUSTED", {1, 1'000'000});
  section.value("header_timeout_ms", header_timeout,
                "From a connection's or request's first byte to the end of its head",
                {10, 86'400'000});
  section.value("body_timeout_ms", body_timeout,
                "From the end of a request's head to the end of its body", {10, 86'400'000});
  section.value("idle_timeout_ms", idle_timeout,
                "An HTTP connection without a request, or whose peer does not read, is closed",
                {10, 86'400'000});
  section.value("call_timeout_ms", call_timeout, "Of a REST call; a stream has none",
                {10, 86'400'000});
}

void BackendLimits::read(ConfigSection section) {
  section.value("timeout_ms", timeout,
                "Of a unary call to another process that has no shorter deadline.", {1, 3'600'000});
  section.value("retries", retries, "Of a unary call that was UNAVAILABLE.", {0, 10});
  section.value("retry_delay_ms", retry_delay, "Before the first of them; doubles.", {1, 60'000});
  section.value("breaker_calls", breaker_calls,
                "When half of at least so many calls failed, none is tried for breaker_ms, or "
                "until the backend has reconnected.",
                {1, 1'000'000});
  section.value("breaker_ms", breaker, "For how long, and over how long is counted.",
                {1, 3'600'000});
  section.value("descriptors_age_ms", descriptors_age,
                "A backend is asked again what it can do after so long.", {1'000, 86'400'000});
  section.value("descriptors_timeout_ms", descriptors_timeout, "For its answer.", {10, 600'000});
  section.value("max_descriptor_bytes", max_descriptor_bytes, "The largest answer.",
                {1'024, 1 << 30});
  section.value("max_message_bytes", max_message_bytes, "The largest reply of a backend.",
                {1'024, 1 << 30});
  section.value("reconnect_max_ms", reconnect_max,
                "Between two attempts to connect; begins at 100 ms and doubles.", {100, 600'000});
  section.value("look_ms", look, "Between two looks at the connections.", {10, 60'000});
}

}  // namespace virtufin::rpc

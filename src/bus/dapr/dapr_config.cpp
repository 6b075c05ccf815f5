#include "bus/dapr/dapr_config.h"

#include <algorithm>
#include <cstdlib>

#include "core/config.h"
#include "core/errors.h"

namespace virtufin::bus {
namespace {

constexpr std::string_view kDefault = "default";

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string_view without_dot(std::string_view root) {
  if (!root.empty() && root.back() == '.') root.remove_suffix(1);
  return root;
}

bool begins_with_words(std::string_view topic, std::string_view words) {
  return topic.substr(0, words.size()) == words &&
         (topic.size() == words.size() || topic[words.size()] == '.');
}

/// The entry of the map with the most words in front of the topic.
const std::pair<const std::string, std::string>* longest_match(
    const std::map<std::string, std::string>& components, std::string_view topic) {
  const std::pair<const std::string, std::string>* best = nullptr;
  for (const auto& entry : components) {
    const std::string_view words = without_dot(entry.first);
    if (words == kDefault || !begins_with_words(topic, words)) continue;
    if (!best || words.size() > without_dot(best->first).size()) best = &entry;
  }
  if (best) return best;
  const auto rest = components.find(std::string(kDefault));
  return rest == components.end() ? nullptr : &*rest;
}

}  // namespace

void DaprConfig::read(ConfigSection section) {
  section.value("endpoint", endpoint,
                "The sidecar's gRPC API, host:port. Empty: DAPR_GRPC_ENDPOINT, else 127.0.0.1 and "
                "DAPR_GRPC_PORT, else 50001.");
  section.value("components", components,
                "Pub/sub component by a topic's first words; the longest match wins, default takes "
                "the rest.");
  section.value("state_store", state_store, "The state component.");
  section.value("bulk_max", bulk_max,
                "Events of one bulk publish; keep it far below the component's concurrency.",
                {1, 4096});
  section.value("bulk_bytes_max", bulk_bytes_max,
                "And their bytes; keep it below the sidecar's --max-body-size.", {1024, 1 << 30});
  section.value("publish_calls", publish_calls,
                "Publishing calls that may be out at once; one per topic at most.", {1, 100'000});
  section.value("queue_arrivals", queue_arrivals,
                "Events of one stream that may be here and not dealt with, before nothing more is "
                "read from the sidecar.",
                {1, 10'000'000});
  section.value("reorder_wait_ms", reorder_wait,
                "How long an event is waited for whose successors are here; then it is late.",
                {1, 60'000});
  section.value("reorder_events", reorder_events, "Events that wait for one publisher's missing.",
                {1, 1'000'000});
  section.value("reorder_total", reorder_total,
                "Events that wait for missing ones in all of a stream.", {1, 10'000'000});
  section.value("publishers_max", publishers_max, "Publishers of topics that are kept in order.",
                {1, 1'000'000});
  section.value("publisher_idle_ms", publisher_idle, "How long an idle one is remembered.",
                {1'000, 86'400'000});
  section.value("replicas", replicas,
                "Processes of this app id. With more than one they share a topic's events, and "
                "order is not restored.",
                {1, 10'000});
  section.value("queue_publishes", queue_publishes,
                "Events that may wait for the sidecar; beyond that a publish is UNAVAILABLE.",
                {1, 10'000'000});
  section.value("queue_publish_bytes", queue_publish_bytes, "And their bytes.",
                {1 << 16, std::int64_t{1} << 40});
  section.value("queue_writes", queue_writes,
                "State operations that may wait for the sidecar or be out; beyond that one is "
                "UNAVAILABLE.",
                {1, 1'000'000});
  section.value("queue_write_bytes", queue_write_bytes, "And their bytes.",
                {1 << 16, std::int64_t{1} << 40});
  section.value("save_max", save_max, "Writes that go to the sidecar in one call.", {1, 10'000});
  section.value("save_bytes_max", save_bytes_max,
                "And their bytes; keep it below the sidecar's --max-body-size.", {1024, 1 << 30});
  section.value("save_calls", save_calls, "Such calls that may be out at once.", {1, 1'000});
  section.value("state_calls", state_calls,
                "Calls of all other state operations that may be out at once.", {1, 10'000});
  section.value("queue_wait_ms", queue_wait,
                "How long one waits for a sidecar that is away; then it is UNAVAILABLE.",
                {1, 3'600'000});
  section.value("message_bytes_max", message_bytes_max,
                "The largest message taken from the sidecar; its own limit is --max-body-size.",
                {1 << 16, 1 << 30});
  section.value("call_timeout_ms", call_timeout, "For one call.", {1, 600'000});
  section.value("open_timeout_ms", open_timeout, "For the first answer to a subscription.",
                {1, 600'000});
  section.value("reopen_first_ms", reopen_first,
                "Before a lost subscription is opened again; doubles.", {1, 60'000});
  section.value("reopen_max_ms", reopen_max, "Up to this, with jitter.", {1, 600'000});
  section.value("probe_ms", probe, "Between two looks at the sidecar; three without answer: away.",
                {10, 60'000});
  section.value("start_wait_ms", start_wait,
                "At start: how long to wait for a sidecar that is not up yet.", {0, 3'600'000});
  for (const auto& [root, component] : components) {
    if (without_dot(root).empty() || component.empty()) {
      section.complain("components", "an entry needs a topic's first words and a component");
    }
  }
  if (state_store.empty()) section.complain("state_store", "must name a state component");
  if (reopen_max < reopen_first) {
    section.complain("reopen_max_ms", "must not be below reopen_first_ms");
  }
}

std::string DaprConfig::resolved_endpoint() const {
  if (!endpoint.empty()) return endpoint;
  if (const auto given = environment("DAPR_GRPC_ENDPOINT"); !given.empty()) {
    return std::string(given);
  }
  const auto port = environment("DAPR_GRPC_PORT");
  return fmt::format("127.0.0.1:{}", port.empty() ? "50001" : port);
}

std::string_view DaprConfig::component_of(std::string_view topic) const {
  const auto* entry = longest_match(components, topic);
  return entry ? std::string_view(entry->second) : std::string_view();
}

std::string_view DaprConfig::root_of(std::string_view topic) const {
  const auto* entry = longest_match(components, topic);
  return entry ? without_dot(entry->first) : std::string_view();
}

std::vector<std::string> DaprConfig::pubsub_components() const {
  std::vector<std::string> names;
  for (const auto& entry : components) names.push_back(entry.second);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace virtufin::bus

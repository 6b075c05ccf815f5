#include "bus/dapr/topic_map.h"

#include <algorithm>

#include "bus/dapr/sidecar.h"
#include "core/errors.h"
#include "core/log.h"
#include "core/topic.h"

namespace virtufin::bus {
namespace {

constexpr std::string_view kDeadPrefix = "dead.";
constexpr std::string_view kDefault = "default";

bool is_market(std::string_view topic) {
  const auto root = topic::parse(topic).root;
  return !topic::is_dead(topic) &&
         (root == topic::Root::kActual || root == topic::Root::kHypothetical);
}

bool is_market_root(std::string_view root) {
  return root == "act" || root == "hyp" || root.starts_with("act.") || root.starts_with("hyp.");
}

std::string to_broker(std::string_view topic) {
  if (!topic::is_dead(topic)) return std::string(topic);
  topic.remove_suffix(topic::kDeadSuffix.size());
  return std::string(kDeadPrefix).append(topic);
}

/// All topics of a root in the broker's own words; empty if it has none.
std::string whole_root(BrokerKind kind, std::string_view root) {
  switch (kind) {
    case BrokerKind::kJetStream: return std::string(root) + ".>";
    case BrokerKind::kInMemory: return std::string(root) + ".*";
    case BrokerKind::kOther: break;
  }
  return {};
}

}  // namespace

absl::StatusOr<TopicAddress> TopicMap::address(std::string_view topic) const {
  if (topic.empty()) return invalid_argument("a topic must not be empty");
  if (topic.starts_with(kDeadPrefix)) {
    return invalid_argument(
        "topic '{}': 'dead.' is how dead letters travel; the dead letters of x are on x-dead",
        printable(topic));
  }
  TopicAddress address;
  address.topic = to_broker(topic);
  address.component = config_.component_of(address.topic);
  if (address.component.empty()) {
    return failed_precondition(
        "bus.dapr.components names no pub/sub component for topic '{}': add its first words, or "
        "default",
        printable(topic));
  }
  address.market = is_market(topic);
  address.own_root = config_.root_of(address.topic) != kDefault;
  return address;
}

std::string TopicMap::component_of(std::string_view topic) const {
  auto found = address(topic);
  return found.ok() ? std::move(found->component) : std::string();
}

std::string TopicMap::from_broker(std::string_view broker_topic) {
  if (!broker_topic.starts_with(kDeadPrefix)) return std::string(broker_topic);
  broker_topic.remove_prefix(kDeadPrefix.size());
  return std::string(broker_topic).append(topic::kDeadSuffix);
}

absl::Status TopicMap::check(const TopicAddress& address, BrokerKind kind) {
  if (kind != BrokerKind::kJetStream) return absl::OkStatus();
  const auto refuse = [&](std::string_view why) {
    return invalid_argument("topic '{}' is no NATS subject, which component {} needs: {}",
                            printable(address.topic), address.component, why);
  };
  std::string_view rest = address.topic;
  for (;;) {
    const auto dot = rest.find('.');
    const std::string_view token = rest.substr(0, dot);
    if (token.empty()) return refuse("two dots in a row, or one at an end");
    if (token == "*" || token == ">") return refuse("'*' and '>' between dots stand for others");
    for (const char c : token) {
      if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) {
        return refuse("it holds a space or a control character");
      }
    }
    if (dot == rest.npos) return absl::OkStatus();
    rest.remove_prefix(dot + 1);
  }
}

std::optional<BrokerKind> TopicMap::kind(const SidecarInfo* info, std::string_view component) {
  const auto* found = info ? info->find("pubsub", component) : nullptr;
  if (!found) return std::nullopt;
  if (found->type == "pubsub.jetstream") return BrokerKind::kJetStream;
  if (found->type == "pubsub.in-memory") return BrokerKind::kInMemory;
  return BrokerKind::kOther;
}

std::vector<std::string> TopicMap::roots_under(std::string_view prefix) const {
  // The one that the prefix itself falls under, and those that go on from it.
  std::vector<std::string> roots{std::string(config_.root_of(prefix.substr(0, prefix.size() - 1)))};
  for (const auto& entry : config_.components) {
    std::string_view root = entry.first;
    if (!root.empty() && root.back() == '.') root.remove_suffix(1);
    if (root.starts_with(prefix)) roots.emplace_back(root);
  }
  std::sort(roots.begin(), roots.end());
  roots.erase(std::unique(roots.begin(), roots.end()), roots.end());
  return roots;
}

absl::StatusOr<std::optional<std::vector<TopicSource>>> TopicMap::sources(
    std::string_view pattern, const SidecarInfo* info) const {
  const bool wildcard = pattern.back() == '*';
  std::vector<std::string> roots;
  TopicAddress address;
  if (wildcard) {
    roots = roots_under(pattern.substr(0, pattern.size() - 1));
  } else {
    auto found = this->address(pattern);
    if (!found.ok()) return found.status();
    address = *std::move(found);
    roots.emplace_back(config_.root_of(address.topic));
  }
  std::vector<TopicSource> sources;
  for (const std::string& root : roots) {
    TopicSource source;
    if (root.empty()) {
      return failed_precondition(
          "bus.dapr.components names no pub/sub component for '{}': add its first words, or "
          "default",
          printable(pattern));
    }
    source.component = wildcard ? std::string(config_.component_of(root == kDefault ? "" : root))
                                : address.component;
    const auto kind = TopicMap::kind(info, source.component);
    if (!kind) return std::nullopt;
    source.kind = *kind;
    const bool own_root = root != kDefault;
    source.market = own_root ? is_market_root(root) : address.market;
    // config/dapr: `concurrency: parallel` for the market roots alone.
    source.one_by_one = *kind == BrokerKind::kJetStream && !(source.market && own_root);
    // A root's consumer takes all of it; what has no root of its own is subscribed topic by topic.
    if (own_root) source.topic = whole_root(*kind, root);
    if (source.topic.empty() && wildcard) {
      return unimplemented(
          "component {} has no wildcards for '{}': subscribe to each topic, or give its first "
          "words a JetStream component in bus.dapr.components",
          source.component, printable(pattern));
    }
    if (source.topic.empty()) source.topic = address.topic;
    if (!wildcard) {
      const absl::Status possible = check(address, *kind);
      if (!possible.ok()) return possible;
    }
    sources.push_back(std::move(source));
  }
  return sources;
}

}  // namespace virtufin::bus

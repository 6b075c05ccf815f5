#pragma once

#include <absl/status/statusor.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bus/dapr/dapr_config.h"

namespace virtufin::bus {

struct SidecarInfo;

/// What is known of a pub/sub component by its type. Brokers differ in what one subscription can
/// take, and in what may still come while an event is unanswered.
enum class BrokerKind { kJetStream, kInMemory, kOther };

/// Where a topic is on the broker.
struct TopicAddress {
  std::string component;
  std::string topic;      ///< as the broker has it: `dead.x` for `x-dead`
  bool market = false;    ///< `act.` or `hyp.`
  bool own_root = false;  ///< not on the component that takes the rest
};

/// One subscription to the sidecar.
struct TopicSource {
  std::string component;
  std::string topic;  ///< as the broker takes it: `a.b`, or all of a root
  BrokerKind kind = BrokerKind::kOther;
  bool market = false;  ///< `act.` or `hyp.`: holes are published
  /// While an event is unanswered nothing else comes, so what is missing cannot be waited for.
  bool one_by_one = false;
  bool operator<(const TopicSource& other) const {
    return component != other.component ? component < other.component : topic < other.topic;
  }
};

/// Which component a topic is on, and what to subscribe to for a pattern. A component per root;
/// dead letters travel as `dead.<topic>`. On JetStream one subscription takes a whole root
/// (`sc.>`), because a durable consumer has one subject; on the in-memory component too (`sc.*`).
///
/// Threads: any; immutable.
class TopicMap {
 public:
  explicit TopicMap(const DaprConfig& config) : config_(config) {}

  /// INVALID_ARGUMENT for one that cannot travel: empty, or beginning with `dead.`, which is what
  /// dead letters look like on the broker; FAILED_PRECONDITION if the map has no component for it.
  absl::StatusOr<TopicAddress> address(std::string_view topic) const;

  /// Of a topic that address() takes; else empty.
  std::string component_of(std::string_view topic) const;

  /// The topic of what came from the broker on `broker_topic`.
  static std::string from_broker(std::string_view broker_topic);

  /// Whether several events of the topic may go in one call: the sidecar writes them in parallel,
  /// so only where order can be restored on arrival.
  static bool in_bulk(const TopicAddress& address, BrokerKind kind) {
    return address.market && (kind != BrokerKind::kJetStream || address.own_root);
  }

  /// INVALID_ARGUMENT if the broker refuses such a topic: on JetStream one that is no NATS subject.
  static absl::Status check(const TopicAddress& address, BrokerKind kind);

  /// What to subscribe to for `pattern` (valid). Nothing as long as the sidecar has not told of a
  /// component that is needed. UNIMPLEMENTED, with its name, where it has no wildcards.
  absl::StatusOr<std::optional<std::vector<TopicSource>>> sources(std::string_view pattern,
                                                                  const SidecarInfo* info) const;

  /// Nothing if the sidecar does not have the component.
  static std::optional<BrokerKind> kind(const SidecarInfo* info, std::string_view component);

 private:
  /// The roots of the map, `default` included, that a topic beginning with `prefix` may be of.
  std::vector<std::string> roots_under(std::string_view prefix) const;

  const DaprConfig config_;
};

}  // namespace virtufin::bus

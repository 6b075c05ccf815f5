#include "modules/workmanager/subscriptions.h"

#include <string_view>

namespace virtufin::workmanager {

std::vector<PlannedSubscription> plan_subscriptions(const WorkerSpec& spec) {
  // Always split the same way for the same topics: the members of a group must give the same
  // patterns.
  PlannedSubscription market, other;
  std::vector<PlannedSubscription> commands;
  market.overflow = spec.overflow.value_or(bus::Overflow::kDropOldest);
  other.overflow = spec.overflow.value_or(bus::Overflow::kBlock);
  for (const auto& topic : spec.topics) {
    if (spec.group.empty() && topic.starts_with("command.")) {
      commands.push_back({{topic}, "command/" + topic, other.overflow});
    } else if (topic.starts_with("act.") || topic.starts_with("hyp.")) {
      market.patterns.push_back(topic);
    } else {
      other.patterns.push_back(topic);
    }
  }
  std::vector<PlannedSubscription> plan;
  for (auto* one : {&market, &other}) {
    if (one->patterns.empty()) continue;
    if (!spec.group.empty()) {
      one->group = "worker/" + spec.group + (one == &market ? "/market" : "/other");
    }
    plan.push_back(std::move(*one));
  }
  for (auto& one : commands) plan.push_back(std::move(one));
  return plan;
}

}  // namespace virtufin::workmanager

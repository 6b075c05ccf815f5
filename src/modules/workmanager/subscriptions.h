#pragma once

#include <string>
#include <vector>

#include "bus/bus.h"
#include "modules/workmanager/worker_spec.h"

namespace virtufin::workmanager {

/// One bus subscription of a worker.
struct PlannedSubscription {
  std::vector<std::string> patterns;
  std::string group;
  bus::Overflow overflow;
};

/// Which subscriptions a worker needs: one, unless its topics differ in what holds for them.
///
/// Market topics (`act.*`, `hyp.*`) drop the oldest when full, all others block, unless the worker
/// says what. A worker without a group that takes commands (`command.*`) joins the group of each
/// such topic, so that a command runs once. Order of arrival holds within each subscription.
std::vector<PlannedSubscription> plan_subscriptions(const WorkerSpec& spec);

}  // namespace virtufin::workmanager

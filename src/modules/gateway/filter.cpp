#include "modules/gateway/filter.h"

#include "core/errors.h"
#include "core/log.h"
#include "virtufin/common.pb.h"

namespace virtufin::gateway {

StreamFilter::Rule::Rule(std::string_view pattern) {
  prefix = pattern.empty() || pattern.back() == '*';
  if (!pattern.empty() && prefix) {
    pattern.remove_suffix(1);
  }
  text = pattern;
}

absl::StatusOr<StreamFilter> StreamFilter::create(const RoutingFilter& filter) {
  StreamFilter made;
  made.type_ = Rule(filter.type());
  made.subject_ = Rule(filter.subject());
  made.scenario_id_ = Rule(filter.scenario_id());
  made.clock_type_ = Rule(filter.clock_type());
  if (!made.clock_type_.accepts(virtufin::name(ClockType::kWall)) &&
      !made.clock_type_.accepts(virtufin::name(ClockType::kHistorical))) {
    return invalid_argument("clock type '{}' is unknown; give wall or historical, or none",
                            printable(filter.clock_type()));
  }
  made.everything_ = filter.type().empty() && filter.subject().empty() &&
                     filter.scenario_id().empty() && filter.clock_type().empty();
  return made;
}

bool StreamFilter::accepts(const Event& event) const {
  return everything_ || (type_.accepts(event.type()) && subject_.accepts(event.subject()) &&
                         scenario_id_.accepts(event.scenario_id()) &&
                         clock_type_.accepts(virtufin::name(event.clock())));
}

}  // namespace virtufin::gateway

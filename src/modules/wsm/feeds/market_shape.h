#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>

#include "bus/bus.h"
#include "core/event_template.h"

namespace virtufin::wsm {

/// `source` of every event that this module makes.
inline constexpr std::string_view kSource = "urn:com.virtufin.websocketmanager";

/// Where a feed publishes: `act`, or `hyp.<selector>`.
struct MarketAddress {
  std::string selector;  ///< empty: `act`

  /// INVALID_ARGUMENT saying what a head may be.
  static absl::StatusOr<MarketAddress> parse(std::string_view head);
};

/// One kind of event of one symbol: its topic, looked up once, and its template.
struct MarketShape {
  bus::TopicPtr topic;
  EventTemplate shape;
};

/// What the shapes of one feed have in common.
struct MarketShapes {
  bus::Bus& bus;
  MarketAddress address;
  std::string venue;
  bool append_symbol;  ///< to each topic

  /// `tail` is `<entity>.<event>` of the topic, `type_tail` that of the type.
  absl::StatusOr<MarketShape> make(std::string_view tail, std::string_view type_tail,
                                   std::string_view symbol) const;
};

}  // namespace virtufin::wsm

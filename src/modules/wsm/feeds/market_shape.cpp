#include "modules/wsm/feeds/market_shape.h"

#include <fmt/format.h>

#include <vector>

#include "core/errors.h"
#include "core/log.h"
#include "core/scenario.h"
#include "core/topic.h"

namespace virtufin::wsm {

absl::StatusOr<MarketAddress> MarketAddress::parse(std::string_view head) {
  constexpr std::string_view kHypothetical = "hyp.";
  if (head == name(Lane::kActual)) return MarketAddress{};
  if (head.starts_with(kHypothetical) && topic::valid_id(head.substr(kHypothetical.size()))) {
    return MarketAddress{std::string(head.substr(kHypothetical.size()))};
  }
  return invalid_argument(
      "topic: '{}' is not where a feed can publish; give 'act', or 'hyp.<selector>' with a "
      "selector "
      "of 1 to 32 characters out of [A-Za-z0-9_-]",
      printable(head));
}

absl::StatusOr<MarketShape> MarketShapes::make(std::string_view tail, std::string_view type_tail,
                                               std::string_view symbol) const {
  const bool actual = address.selector.empty();
  std::vector<Extension> extensions{
      {"scenarioid", "LIVE"},
      {"exchange", venue},
      {"clocktype", name(ClockType::kWall)},
      {"marketlane", name(actual ? Lane::kActual : Lane::kHypothetical)}};
  if (!actual) extensions.push_back({"marketselector", address.selector});
  extensions.push_back({"portfoliolane", name(Lane::kActual)});
  extensions.push_back({"strategylane", name(Lane::kActual)});

  const std::string type = fmt::format("com.virtufin.exchange.{}.{}", venue, type_tail);
  const std::string subject = fmt::format("currency_pair/{}", symbol);
  EventFields fields;
  fields.type = type;
  fields.source = kSource;
  fields.subject = subject;
  fields.data_content_type = "application/json";
  fields.data_kind = DataKind::kJson;
  fields.extensions = extensions;
  auto shape = EventTemplate::create(fields);
  VIRTUFIN_RETURN_IF_ERROR(shape.status());

  const std::string topic_tail = append_symbol
                                     ? fmt::format("exchange.{}.{}.{}", venue, tail, symbol)
                                     : fmt::format("exchange.{}.{}", venue, tail);
  return MarketShape{bus.topic(topic::market(address.selector, topic_tail)), *std::move(shape)};
}

}  // namespace virtufin::wsm

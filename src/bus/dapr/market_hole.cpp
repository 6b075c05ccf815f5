#include "bus/dapr/market_hole.h"

#include <utility>
#include <vector>

#include "core/event_writer.h"
#include "core/json_text.h"
#include "core/topic.h"
#include "core/uuid.h"

namespace virtufin::bus {
namespace {

constexpr std::string_view kExchange = "exchange.";

/// `exchange.<venue>.` of a topic's tail, empty if it is not an exchange's.
std::string_view venue_of(std::string_view tail) {
  if (!tail.starts_with(kExchange)) return {};
  const auto dot = tail.find('.', kExchange.size());
  return dot == tail.npos ? std::string_view() : tail.substr(0, dot + 1);
}

}  // namespace

absl::StatusOr<GapEvent> make_gap(const Hole& hole, std::string_view component, const Event& next,
                                  TimePoint now) {
  const topic::Parts parts = topic::parse(hole.topic);
  const std::string tail = std::string(venue_of(parts.tail)).append("feed.gap");
  JsonObject payload;
  payload.text("connection_id", std::string("dapr/").append(component));
  payload.number("expected", hole.expected).number("received", hole.received);
  payload.text("reason", std::string("events of ")
                             .append(hole.topic)
                             .append(" were lost between their publisher and this process"));
  const std::string data = std::move(payload).finish();
  std::vector<Extension> extensions;
  EventFields fields = fields_of(next, extensions);
  const std::string wall_time = format_time(now);
  std::erase_if(extensions, [](const Extension& e) {
    return e.name == "walltime" || e.name == "correlationid" || e.name == kBusLate;
  });
  extensions.push_back({"walltime", wall_time});
  const UuidText id = random_uuid();
  const std::string type = "com.virtufin." + tail;
  fields.id = id.view();
  fields.type = type;
  fields.subject = {};
  fields.data_schema = {};
  fields.data_content_type = "application/json";
  fields.data = as_bytes(data);
  fields.data_kind = DataKind::kJson;
  fields.extensions = extensions;
  fields.config_names = true;
  auto event = make_event(fields);
  if (!event.ok()) return event.status();
  return GapEvent{topic::market(parts.selector, tail), *std::move(event)};
}

}  // namespace virtufin::bus

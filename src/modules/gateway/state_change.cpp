#include "modules/gateway/state_change.h"

#include "core/errors.h"
#include "core/event_writer.h"
#include "core/json_text.h"
#include "core/log.h"
#include "core/uuid.h"

namespace virtufin::gateway {
namespace {

std::string payload(const StateChange& change) {
  std::string json = "{\"service\":";
  append_json_string(json, change.service);
  if (change.keys != nullptr) {
    json += ",\"keys\":[";
    for (const std::string& key : *change.keys) {
      if (&key != &change.keys->front()) {
        json += ',';
      }
      append_json_string(json, key);
    }
    json += ']';
  } else {
    json += ",\"key\":";
    append_json_string(json, change.key);
  }
  json += change.saved ? ",\"action\":\"save\"" : ",\"action\":\"delete\"";
  if (change.value != nullptr) {
    json += ",\"value\":";
    append_json_string(json, *change.value);
  }
  return json += '}';
}

}  // namespace

StateNotifier::StateNotifier(bus::Bus& bus, const Clock& clock, Metrics& metrics)
    : bus_(bus),
      clock_(clock),
      topic_(bus.topic("state.change")),
      failed_(metrics.counter("virtufin_gateway_state_notifications_failed_total",
                              "Change events of state that could not be published")) {}

void StateNotifier::notify(const StateChange& change) const {
  const UuidText id = random_uuid();
  const std::string time = format_time(clock_.now());
  const std::string data = payload(change);
  const Extension correlation{"correlationid", change.correlation_id, AttributeKind::kString};
  EventFields fields;
  fields.id = id.view();
  fields.type =
      change.saved ? "com.virtufin.state.change.saved" : "com.virtufin.state.change.deleted";
  fields.source = "urn:com.virtufin.api";
  fields.time = time;
  fields.data_content_type = "application/json";
  fields.data = as_bytes(data);
  if (!change.correlation_id.empty()) {
    fields.extensions = {&correlation, 1};
  }
  auto event = make_event(fields);
  if (!event.ok()) {
    failed_->add();
    logger("gateway")->warn("no change event for state key {}: {}", printable(change.key),
                            message(event.status()));
    return;
  }
  bus_.publish(topic_, *std::move(event), [failed = failed_](const absl::Status& status) {
    if (!status.ok()) {
      failed->add();
      logger("gateway")->warn("a change event of state was not published: {}", message(status));
    }
  });
}

void StateNotifier::publish(std::string_view topic, EventPtr event) const {
  bus_.publish(bus_.topic(topic), std::move(event),
               [failed = failed_, topic = std::string(topic)](const absl::Status& status) {
                 if (!status.ok()) {
                   failed->add();
                   logger("gateway")->warn("a change event of state was not published to {}: {}",
                                           printable(topic), message(status));
                 }
               });
}

}  // namespace virtufin::gateway

#include "modules/wsm/lifecycle.h"

#include <fmt/format.h>
#include <simdjson.h>

#include "core/event_writer.h"
#include "core/json_text.h"
#include "core/uuid.h"
#include "modules/wsm/feeds/market_shape.h"

namespace virtufin::wsm {

std::string_view name(ConnectionStatus status) {
  switch (status) {
    case ConnectionStatus::kDisconnected: return "disconnected";
    case ConnectionStatus::kConnecting: return "connecting";
    case ConnectionStatus::kConnected: return "connected";
    case ConnectionStatus::kReconnecting: return "reconnecting";
  }
  return "disconnected";
}

absl::StatusOr<EventPtr> lifecycle_event(std::string_view kind, const LifecycleData& data,
                                         TimePoint now) {
  JsonObject json;
  json.text("connection_id", data.connection_id)
      .text("url", data.url)
      .text("instance_id", data.instance_id)
      .text("reason", data.reason);
  if (data.attempt > 0) json.number("attempt", data.attempt);
  if (!data.error_type.empty()) {
    json.text("error_type", data.error_type).text("error_message", data.error_message);
  }
  const std::string payload = std::move(json).finish();
  const std::string type = fmt::format("com.virtufin.websocketmanager.lifecycle.{}", kind);
  const std::string subject = fmt::format("connection/{}", data.connection_id);
  const std::string time = format_time(now);
  const UuidText id = random_uuid();
  EventFields fields;
  fields.id = id.view();
  fields.type = type;
  fields.source = kSource;
  fields.subject = subject;
  fields.time = time;
  fields.data_content_type = "application/json";
  fields.data_kind = DataKind::kJson;
  fields.data = as_bytes(payload);
  return make_event(fields);
}

std::string_view content_type(const RawMessage& message) {
  if (!message.text) return "application/octet-stream";
  simdjson::dom::parser parser;
  const auto parsed = parser.parse(message.bytes.data(), message.bytes.size());
  return parsed.error() == simdjson::SUCCESS ? "application/json" : "text/plain";
}

absl::StatusOr<EventPtr> raw_event(const RawMessage& message, std::string_view content_type) {
  const std::string subject = fmt::format("connection/{}", message.connection_id);
  const std::string time = format_time(message.received);
  const Extension extensions[] = {{"websocketid", message.connection_id},
                                  {"websocketurl", message.url},
                                  {"timestamp", time, AttributeKind::kTimestamp},
                                  {"contenttype", content_type}};
  const UuidText id = random_uuid();
  EventFields fields;
  fields.id = id.view();
  fields.type = "com.virtufin.websocketmanager.message.received";
  fields.source = kSource;
  fields.subject = subject;
  fields.time = time;
  fields.data_content_type = content_type;
  fields.data = as_bytes(message.bytes);
  fields.extensions = extensions;
  return make_event(fields);
}

}  // namespace virtufin::wsm

#include "modules/workmanager/lifecycle.h"

#include "core/errors.h"
#include "core/event_writer.h"
#include "core/json_text.h"
#include "core/uuid.h"

namespace virtufin::workmanager {

Lifecycle::Lifecycle(Platform& platform)
    : platform_(platform),
      topic_(platform.bus.topic("workmanager.lifecycle")),
      log_(logger("workmanager")) {}

void Lifecycle::publish(const WorkerSpec& spec, std::string_view what, std::string_view error_type,
                        std::string_view error_message) const {
  JsonObject data;
  data.text("worker_id", spec.id)
      .text("replica_id", platform_.instance_id)
      .text("topic", spec.topics.front())
      .raw("topics", json_array(spec.topics));
  if (!error_type.empty()) data.text("error_type", error_type);
  if (!error_message.empty()) data.text("error_message", error_message);
  const std::string payload = std::move(data).finish();
  const std::string type = fmt::format("com.virtufin.workmanager.lifecycle.{}", what);
  const std::string subject = "worker/" + spec.id;
  const std::string now = format_time(platform_.clock.now());
  const UuidText id = random_uuid();
  const Extension times[] = {{"eventtime", now}, {"walltime", now}};
  EventFields fields;
  fields.id = id.view();
  fields.type = type;
  fields.source = "urn:com.virtufin.workmanager";
  fields.data_content_type = "application/json";
  fields.subject = subject;
  fields.time = now;
  fields.data = as_bytes(payload);
  fields.data_kind = DataKind::kJson;
  fields.extensions = times;
  auto event = make_event(fields);
  if (!event.ok()) {
    return log_->error("lifecycle event {}: {}", what, message(event.status()));
  }
  platform_.bus.publish(topic_, *std::move(event), [log = log_](absl::Status status) {
    if (!status.ok()) log->warn("a lifecycle event was not published: {}", message(status));
  });
}

}  // namespace virtufin::workmanager

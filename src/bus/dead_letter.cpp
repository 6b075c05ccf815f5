#include "bus/dead_letter.h"

#include <string>
#include <vector>

#include "core/event_writer.h"
#include "core/log.h"
#include "core/uuid.h"

namespace virtufin::bus {
namespace {

constexpr std::string_view kPrefix = "deadletter";

/// A reason may hold what a worker printed; an attribute's value holds no control characters.
constexpr std::size_t kReasonBytesMax = 1024;

}  // namespace

absl::StatusOr<EventPtr> make_dead_letter(const Event& original, std::string_view topic,
                                          std::string_view worker, std::string_view reason,
                                          int attempts) {
  std::vector<Extension> extensions;
  EventFields fields = fields_of(original, extensions);
  // One that came from a dead letter published again would otherwise have each twice.
  std::erase_if(extensions, [](const Extension& e) { return e.name.starts_with(kPrefix); });
  const std::string count = std::to_string(attempts);
  const std::string safe_reason = printable(reason, kReasonBytesMax);
  const std::string safe_worker = printable(worker);
  const std::string safe_topic = printable(topic, kReasonBytesMax);
  extensions.push_back({"deadletterreason", safe_reason});
  if (!safe_worker.empty()) extensions.push_back({"deadletterworker", safe_worker});
  extensions.push_back({"deadletterattempts", count, AttributeKind::kInteger});
  extensions.push_back({"deadlettertopic", safe_topic});
  extensions.push_back({"deadletterid", original.id()});
  const UuidText id = random_uuid();
  fields.id = id.view();
  fields.extensions = extensions;
  return make_event(fields);
}

}  // namespace virtufin::bus

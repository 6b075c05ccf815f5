#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/event.h"

namespace virtufin::gateway {

/// What `POST /v1/pubsub/{topic}` takes as an event (contract/gateway.md, REST):
///
/// * a structured CloudEvent, by content type `application/cloudevents+json` or by its members;
/// * a binary-mode CloudEvent: `ce-` headers, the body is the payload;
/// * `{"cloudevent": …}`, the event as structured JSON or in the proto3 JSON mapping;
/// * the old `{"data": "<base64>"}`: type `com.virtufin.api.message`, a new id.
///
/// The last two may also hold `topic`, which the path overrides. INVALID_ARGUMENT says what is
/// wrong with which member. Threads: any.
absl::StatusOr<EventPtr> event_from_publish_body(
    const std::vector<std::pair<std::string, std::string>>& headers, std::string_view body);

}  // namespace virtufin::gateway

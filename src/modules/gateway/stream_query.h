#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <utility>
#include <vector>

#include "modules/gateway/fanout.h"

namespace virtufin::gateway {

/// The query of `GET /v1/pubsub/stream`: `topics`, separated by commas or repeated or both, and the
/// filter `type`, `subject`, `scenarioid`, `clocktype`, each at most once. INVALID_ARGUMENT for
/// another name, so that a filter with a typing error is no stream of everything.
absl::StatusOr<StreamRequest> stream_request_from_query(
    const std::vector<std::pair<std::string, std::string>>& query);

}  // namespace virtufin::gateway

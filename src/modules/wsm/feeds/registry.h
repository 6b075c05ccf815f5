#pragma once

#include <absl/status/statusor.h>

#include <memory>
#include <string_view>

#include "modules/wsm/feeds/feed.h"

namespace virtufin::wsm {

/// The codec of `request.venue` for a connection to `url_query` (what follows `?` in its URL). A
/// venue that is not known is INVALID_ARGUMENT with the list of those that are.
absl::StatusOr<std::unique_ptr<FeedCodec>> make_codec(const FeedRequest& request,
                                                      std::string_view url_query);

}  // namespace virtufin::wsm

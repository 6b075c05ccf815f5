#pragma once

#include <absl/status/statusor.h>

#include <memory>
#include <string_view>

#include "modules/wsm/feeds/binance/streams.h"
#include "modules/wsm/feeds/feed.h"

namespace virtufin::wsm::binance {

/// The codec of `binance` (spot) or `binance-futures` (USD-M). `url_streams` is the URL's
/// `streams=` parameter; empty: the streams are composed from the request's symbols and channels.
absl::StatusOr<std::unique_ptr<FeedCodec>> make_codec(Market market, const FeedRequest& request,
                                                      std::string_view url_streams);

}  // namespace virtufin::wsm::binance

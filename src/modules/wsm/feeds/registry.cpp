#include "modules/wsm/feeds/registry.h"

#include "core/errors.h"
#include "core/log.h"
#include "modules/wsm/feeds/binance/codec.h"

namespace virtufin::wsm {
namespace {

/// The value of a query's parameter as it stands; nothing here needs percent-decoding.
std::string_view parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view{} : query.substr(end + 1);
    if (pair.starts_with(name) && pair.size() > name.size() && pair[name.size()] == '=') {
      return pair.substr(name.size() + 1);
    }
  }
  return {};
}

}  // namespace

absl::StatusOr<std::unique_ptr<FeedCodec>> make_codec(const FeedRequest& request,
                                                      std::string_view url_query) {
  if (request.venue == "binance") {
    return binance::make_codec(binance::Market::kSpot, request, parameter(url_query, "streams"));
  }
  if (request.venue == "binance-futures") {
    return binance::make_codec(binance::Market::kFutures, request, parameter(url_query, "streams"));
  }
  return invalid_argument("feed.venue: '{}' is not known; give binance or binance-futures",
                          printable(request.venue));
}

}  // namespace virtufin::wsm

#pragma once

#include <absl/status/statusor.h>

#include <memory>
#include <string>

#include "modules/wsm/backoff.h"
#include "modules/wsm/config.h"
#include "modules/wsm/feeds/feed.h"
#include "modules/wsm/net/url.h"
#include "virtufin/websocketmanager.pb.h"

namespace virtufin::wsm {

/// A connection as it was asked for, checked.
struct ConnectionSpec {
  std::string id;
  bool configured = false;  ///< of `[[wsm.feeds]]`
  bool publishing = false;  ///< from the start
  ConnectRequest request;   ///< its topic the one to publish on
  Url url;                  ///< what to ask the peer for, a feed's streams included
  Backoff::Limits backoff{};
  std::unique_ptr<FeedCodec> codec;  ///< null: raw
};

/// INVALID_ARGUMENT names the field and what it may be.
absl::StatusOr<ConnectionSpec> make_spec(std::string id, const ConnectRequest& request,
                                         const WsmConfig& config);

/// What `[[wsm.feeds]]` asks for, as a request.
ConnectRequest to_request(const FeedConfig& feed);

/// The topic of StartPublish: non-empty, and with a feed a head that it can publish on.
absl::Status check_topic(const std::string& topic, bool has_feed);

}  // namespace virtufin::wsm

#include "modules/wsm/connection_spec.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "core/errors.h"
#include "core/log.h"
#include "modules/wsm/feeds/market_shape.h"
#include "modules/wsm/feeds/registry.h"

namespace virtufin::wsm {
namespace {

// contract/websocketmanager.md
constexpr std::size_t kMaxTags = 50;
constexpr std::size_t kMaxTagKey = 128;
constexpr std::size_t kMaxTagValue = 1024;
constexpr std::size_t kMaxHeaders = 64;
constexpr std::size_t kMaxHeaderBytes = 8192;
constexpr int kMaxBackoffMs = 3'600'000;

/// What the handshake itself writes.
constexpr std::array<std::string_view, 8> kOwnHeaders = {"host",
                                                         "connection",
                                                         "upgrade",
                                                         "sec-websocket-key",
                                                         "content-length",
                                                         "transfer-encoding",
                                                         "sec-websocket-version",
                                                         "sec-websocket-extensions"};

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

/// A token of RFC 9110, as header names and subprotocols are.
bool is_token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           kMarks.find(c) != std::string_view::npos;
  });
}

absl::Status check_tags(const ConnectRequest& request) {
  if (static_cast<std::size_t>(request.tags_size()) > kMaxTags) {
    return invalid_argument("tags: {} given, at most {} are kept", request.tags_size(), kMaxTags);
  }
  for (const auto& [key, value] : request.tags()) {
    if (key.empty() || characters(key) > kMaxTagKey) {
      return invalid_argument("tags: key '{}' must have 1 to {} characters", printable(key),
                              kMaxTagKey);
    }
    if (characters(value) > kMaxTagValue) {
      return invalid_argument("tags: the value of '{}' has {} characters, at most {} are kept",
                              printable(key), characters(value), kMaxTagValue);
    }
  }
  return absl::OkStatus();
}

/// Values are never put into a message: they may be credentials.
absl::Status check_headers(const ConnectRequest& request) {
  if (static_cast<std::size_t>(request.headers_size()) > kMaxHeaders) {
    return invalid_argument("headers: {} given, at most {} are sent", request.headers_size(),
                            kMaxHeaders);
  }
  for (const auto& [key, value] : request.headers()) {
    std::string lower = key;
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (!is_token(key) ||
        std::find(kOwnHeaders.begin(), kOwnHeaders.end(), lower) != kOwnHeaders.end()) {
      return invalid_argument("headers: '{}' is not a header that can be given", printable(key));
    }
    const bool plain = std::all_of(value.begin(), value.end(), [](char c) {
      return c == '\t' || static_cast<unsigned char>(c) >= 0x20;
    });
    if (!plain || value.size() > kMaxHeaderBytes) {
      return invalid_argument("headers: the value of '{}' has control characters or over {} bytes",
                              key, kMaxHeaderBytes);
    }
  }
  for (const std::string& subprotocol : request.subprotocols()) {
    if (!is_token(subprotocol)) {
      return invalid_argument("subprotocols: '{}' is not a token", printable(subprotocol));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Backoff::Limits> backoff_limits(const ConnectRequest& request,
                                               const WsmConfig& config) {
  Backoff::Limits limits{config.backoff_base, config.backoff_max, config.backoff_attempts};
  if (!request.has_backoff()) return limits;
  const auto& asked = request.backoff();
  if (asked.base_ms() < 0 || asked.max_ms() < 0 || asked.max_attempts() < 0 ||
      asked.base_ms() > kMaxBackoffMs || asked.max_ms() > kMaxBackoffMs) {
    return invalid_argument(
        "backoff: base_ms {}, max_ms {}, max_attempts {}: give 0 to {} ms and no negative number",
        asked.base_ms(), asked.max_ms(), asked.max_attempts(), kMaxBackoffMs);
  }
  if (asked.base_ms() > 0) limits.base = std::chrono::milliseconds(asked.base_ms());
  if (asked.max_ms() > 0) limits.max = std::chrono::milliseconds(asked.max_ms());
  limits.attempts = static_cast<std::uint32_t>(asked.max_attempts());
  return limits;
}

/// A URL that names no streams is where the venue is; the feed says what to ask it for.
std::string feed_target(const Url& url, const FeedCodec& codec) {
  if (url.query().find("streams=") != std::string_view::npos) return url.target;
  constexpr std::string_view kStream = "/stream";
  std::string_view path = std::string_view(url.target).substr(0, url.target.find('?'));
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.ends_with(kStream)) path.remove_suffix(kStream.size());
  return std::string(path) + codec.target();
}

}  // namespace

absl::Status check_topic(const std::string& topic, bool has_feed) {
  if (topic.empty()) {
    return invalid_argument("topic: none was given; give {}",
                            has_feed ? "'act' or 'hyp.<selector>'" : "the topic to publish on");
  }
  return has_feed ? MarketAddress::parse(topic).status() : absl::OkStatus();
}

absl::StatusOr<ConnectionSpec> make_spec(std::string id, const ConnectRequest& request,
                                         const WsmConfig& config) {
  auto url = Url::parse(request.url());
  VIRTUFIN_RETURN_IF_ERROR(url.status());
  if (!request.url().starts_with("ws")) {
    return invalid_argument("url: '{}' is not a WebSocket; give ws:// or wss://",
                            printable(request.url()));
  }
  VIRTUFIN_RETURN_IF_ERROR(check_tags(request));
  VIRTUFIN_RETURN_IF_ERROR(check_headers(request));
  auto backoff = backoff_limits(request, config);
  VIRTUFIN_RETURN_IF_ERROR(backoff.status());

  ConnectionSpec spec;
  spec.id = std::move(id);
  spec.request = request;
  spec.url = *std::move(url);
  spec.backoff = *backoff;
  if (request.has_feed()) {
    const FeedSpec& asked = request.feed();
    if (asked.snapshot_interval_ms() < 0) {
      return invalid_argument("feed.snapshot_interval_ms: {} is negative",
                              asked.snapshot_interval_ms());
    }
    FeedRequest feed;
    feed.venue = asked.venue();
    feed.symbols.assign(asked.symbols().begin(), asked.symbols().end());
    feed.channels.assign(asked.channels().begin(), asked.channels().end());
    feed.rest_url = asked.rest_url();
    feed.append_symbol = asked.append_symbol();
    feed.dedup_window = config.dedup_window;
    if (!feed.rest_url.empty()) VIRTUFIN_RETURN_IF_ERROR(Url::parse(feed.rest_url).status());
    auto codec = make_codec(feed, spec.url.query());
    VIRTUFIN_RETURN_IF_ERROR(codec.status());
    spec.codec = *std::move(codec);
    spec.url.target = feed_target(spec.url, *spec.codec);
    if (spec.request.topic().empty()) spec.request.set_topic("act");
  }
  spec.publishing = !spec.request.topic().empty();
  if (spec.publishing) {
    VIRTUFIN_RETURN_IF_ERROR(check_topic(spec.request.topic(), spec.codec != nullptr));
  }
  return spec;
}

ConnectRequest to_request(const FeedConfig& feed) {
  ConnectRequest request;
  request.set_url(feed.url);
  request.set_auto_reconnect(true);
  request.set_topic(feed.topic);
  request.mutable_tls()->set_ca_file(feed.ca_file);
  FeedSpec& spec = *request.mutable_feed();
  spec.set_venue(feed.venue);
  spec.mutable_symbols()->Add(feed.symbols.begin(), feed.symbols.end());
  spec.mutable_channels()->Add(feed.channels.begin(), feed.channels.end());
  spec.set_rest_url(feed.rest_url);
  spec.set_append_symbol(feed.append_symbol);
  return request;
}

}  // namespace virtufin::wsm

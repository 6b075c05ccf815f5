#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "core/event.h"

namespace virtufin::wsm {

inline constexpr std::string_view kLifecycleTopic = "websocketmanager.lifecycle";

/// What a connection is at, as contract/websocketmanager.md names it on the wire.
enum class ConnectionStatus : std::uint8_t {
  kDisconnected,
  kConnecting,
  kConnected,
  kReconnecting
};
std::string_view name(ConnectionStatus status);

/// A lifecycle event's data.
struct LifecycleData {
  std::string_view connection_id, url, instance_id, reason;
  std::uint32_t attempt = 0;                   ///< in a row; 0: leave out
  std::string_view error_type, error_message;  ///< of `error` only
};

/// `com.virtufin.websocketmanager.lifecycle.<kind>`; `kind` is a status's name or `error`.
absl::StatusOr<EventPtr> lifecycle_event(std::string_view kind, const LifecycleData& data,
                                         TimePoint now);

/// A frame of a connection without a feed, as it came.
struct RawMessage {
  std::string_view connection_id, url, bytes;
  bool text = false;
  TimePoint received;
};
/// `application/json` if it is a JSON text, else `text/plain` or `application/octet-stream`.
std::string_view content_type(const RawMessage& message);
absl::StatusOr<EventPtr> raw_event(const RawMessage& message, std::string_view content_type);

}  // namespace virtufin::wsm

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace virtufin {

/// What kind of CloudEvents value the text of an attribute stands for. Numbers as on the wire
/// (schema/worker_api.fbs).
enum class AttributeKind : std::uint8_t {
  kString = 0,
  kBoolean = 1,
  kInteger = 2,
  kBytes = 3,  ///< the text is base64
  kUri = 4,
  kUriReference = 5,
  kTimestamp = 6,
};

/// What an event's payload is. Numbers as on the wire.
enum class DataKind : std::uint8_t {
  kByContentType = 0,  ///< absent or JSON type: JSON if it parses; `text/*`: text; else binary
  kBinary = 1,
  kText = 2,
  kJson = 3,
  kProto = 4,  ///< a serialised google.protobuf.Any
};

struct Extension {
  std::string_view name, value;
  AttributeKind kind = AttributeKind::kString;
};

/// An event as its parts, borrowed for the length of a call. An empty optional attribute is an
/// absent one; data may be present and empty.
struct EventFields {
  std::string_view id, type, source;
  std::string_view spec_version = "1.0";
  std::string_view data_content_type, data_schema, subject;
  std::string_view time;  ///< RFC 3339; the caller's text is kept
  std::optional<std::span<const std::uint8_t>> data;
  DataKind data_kind = DataKind::kByContentType;
  std::span<const Extension> extensions;
  /// Extensions may have the names of worker config keys (1 to 128 printable ASCII characters), not
  /// only those of CloudEvents. For copies of events that a worker has been given.
  bool config_names = false;
};

inline std::span<const std::uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace virtufin

#include "core/event_check.h"

#include <absl/strings/escaping.h>
#include <simdjson.h>

#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "core/errors.h"
#include "core/event_writer.h"

namespace virtufin {
namespace {

template <class Word>
Word load(const char* at) {
  Word word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

constexpr std::uint64_t kOnes = 0x0101010101010101;
constexpr std::uint64_t kHighs = 0x8080808080808080;

/// The high bit of each byte of `word` that lies in `first` to `last`, for bytes below 0x80.
constexpr std::uint64_t within(std::uint64_t word, std::uint64_t first, std::uint64_t last) {
  return (word + kOnes * (0x80 - first)) & ~(word + kOnes * (0x7f - last)) & kHighs;
}

constexpr bool all_printable(std::uint64_t word) {
  const std::uint64_t low = word & ~kHighs;
  return (within(low, 0x20, 0x7e) & ~word) == kHighs;
}

constexpr bool all_alphanumeric(std::uint64_t word) {
  const std::uint64_t low = word & ~kHighs;
  return ((within(low, 'a', 'z') | within(low, '0', '9')) & ~word) == kHighs;
}

/// Whether `test` holds of all characters, eight at a time.
template <bool (*test)(std::uint64_t)>
bool each(std::string_view text) {
  const char* at = text.data();
  const std::size_t size = text.size();
  if (size >= 8) {
    bool holds = test(load<std::uint64_t>(at + size - 8));
    for (std::size_t i = 0; i + 8 < size; i += 8) holds &= test(load<std::uint64_t>(at + i));
    return holds;
  }
  if (size >= 4) {
    const std::uint64_t low = load<std::uint32_t>(at), high = load<std::uint32_t>(at + size - 4);
    return test(low | high << 32);
  }
  if (size == 0) return true;
  // First, middle and last are all of up to three; the first again fills the word.
  const auto byte = [at](std::size_t i) {
    return std::uint64_t{static_cast<unsigned char>(at[i])};
  };
  return test(byte(0) * (kOnes & ~std::uint64_t{0xffff}) | byte(size / 2) << 8 | byte(size - 1));
}

/// Printable ASCII throughout: what nearly all attributes are.
bool printable(std::string_view text) { return each<all_printable>(text); }

/// A name as it may stand in a message: what cannot be printed is escaped, what is long is cut.
std::string quoted(std::string_view name) {
  constexpr std::size_t kShown = 64;
  return '\'' + absl::CHexEscape(to_absl(name.substr(0, kShown))) +
         (name.size() > kShown ? "…'" : "'");
}

/// Why a text is none that CloudEvents allows; nothing if it is one.
std::optional<std::string> text_fault(std::string_view text) {
  if (!simdjson::validate_utf8(text.data(), text.size())) return "is not UTF-8";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F are controls too: C2 80 to C2 9F.
    const bool high_control = c == 0xc2 && static_cast<unsigned char>(text[i + 1]) <= 0x9f;
    if (c >= 0x20 && c != 0x7f && !high_control) continue;
    const unsigned code = high_control ? static_cast<unsigned char>(text[i + 1]) : c;
    return fmt::format("holds the control character U+{:04X} at byte {}", code, i);
  }
  return {};
}

absl::Status check_text(std::string_view name, std::string_view text) {
  if (printable(text)) [[likely]] {
    return {};
  }
  if (const auto fault = text_fault(text)) {
    return invalid_argument("{} {}; CloudEvents attributes are UTF-8 without control characters",
                            quoted(name), *fault);
  }
  return {};
}

bool standard_name(std::string_view name) { return each<all_alphanumeric>(name); }

/// The spellings with a dot that contract/envelope.md accepts.
bool dotted_name(std::string_view name) {
  return name == "market.lane" || name == "market.selector" || name == "portfolio.lane" ||
         name == "strategy.lane";
}

/// Names that the forms of an event use for something else.
bool reserved_name(std::string_view name) {
  switch (name.size()) {
    case 2: return name == "id";
    case 4: return name == "type" || name == "time" || name == "data";
    case 6: return name == "source";
    case 7: return name == "subject";
    case 10: return name == "dataschema";
    case 11: return name == "specversion" || name == "data_base64";
    case 15: return name == "datacontenttype";
    default: return false;
  }
}

absl::Status check_name(std::string_view name, bool config_names) {
  if (name.empty() || name.size() > kMaxExtensionName) {
    return invalid_argument("extension {}: a name has 1 to {} characters, this one {}",
                            quoted(name), kMaxExtensionName, name.size());
  }
  if (!standard_name(name) && !dotted_name(name) && !(config_names && printable(name))) {
    return invalid_argument("extension {}: a name is made of lower-case letters and digits",
                            quoted(name));
  }
  if (reserved_name(name)) {
    return invalid_argument("{} is an attribute; it cannot be an extension too", quoted(name));
  }
  return {};
}

bool is_integer(std::string_view text) {
  std::int32_t value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  // As it is printed, and no other way: no leading zeros, no `-0`.
  return error == std::errc() && at == end && fmt::format_int(value).size() == text.size();
}

bool is_base64(std::string_view text) {
  std::string bytes;
  return absl::Base64Unescape(to_absl(text), &bytes);
}

absl::Status check_kind(const Extension& extension) {
  const auto refuse = [&](std::string_view wanted) {
    return invalid_argument("extension {}: {} is not {}", quoted(extension.name),
                            quoted(extension.value), wanted);
  };
  switch (extension.kind) {
    case AttributeKind::kString:
    case AttributeKind::kUri:
    case AttributeKind::kUriReference: return {};
    case AttributeKind::kBoolean:
      if (extension.value == "true" || extension.value == "false") return {};
      return refuse("a boolean: true or false");
    case AttributeKind::kInteger:
      if (is_integer(extension.value)) return {};
      return refuse("an integer of 32 bits");
    case AttributeKind::kBytes:
      if (is_base64(extension.value)) return {};
      return refuse("base64");
    case AttributeKind::kTimestamp:
      if (parse_time(extension.value)) return {};
      return refuse("an RFC 3339 time");
  }
  return invalid_argument("extension {}: kind {} is not one of 0 to 6", quoted(extension.name),
                          static_cast<unsigned>(extension.kind));
}

absl::Status read_time(std::string_view name, std::string_view text, TimePoint& out) {
  const std::optional<TimePoint> time = parse_time(text);
  if (!time) {
    return invalid_argument("'{}': {} is not an RFC 3339 time such as 2026-01-31T12:34:56Z", name,
                            quoted(text));
  }
  out = *time;
  return {};
}

/// Finds names given twice without comparing all pairs: a name whose bit is free is new.
class Seen {
 public:
  bool twice(std::span<const Extension> extensions, std::size_t index) {
    const std::string_view name = extensions[index].name;
    const unsigned hash = static_cast<unsigned char>(name.front()) * 31U +
                          static_cast<unsigned char>(name.back()) * 7U +
                          static_cast<unsigned>(name.size());
    const std::uint64_t bit = std::uint64_t{1} << (hash % 64);
    if ((bits_ & bit) == 0) {
      bits_ |= bit;
      return false;
    }
    for (std::size_t i = 0; i < index; ++i) {
      if (extensions[i].name == name) return true;
    }
    return false;
  }

 private:
  std::uint64_t bits_ = 0;
};

struct NamedAttribute {
  std::string_view name;
  std::string_view EventFields::*attribute;
};
constexpr NamedAttribute kRequired[] = {{"id", &EventFields::id},
                                        {"source", &EventFields::source},
                                        {"type", &EventFields::type},
                                        {"specversion", &EventFields::spec_version}};
// Those that are checked for their characters only.
constexpr NamedAttribute kTexts[] = {{"id", &EventFields::id},
                                     {"source", &EventFields::source},
                                     {"type", &EventFields::type},
                                     {"datacontenttype", &EventFields::data_content_type},
                                     {"dataschema", &EventFields::data_schema},
                                     {"subject", &EventFields::subject}};

absl::Status check_attributes(const EventFields& fields) {
  for (const auto& [name, attribute] : kRequired) {
    if ((fields.*attribute).empty()) {
      return invalid_argument(
          "'{}' is missing or empty; every CloudEvent has id, source, type and "
          "specversion",
          name);
    }
  }
  if (fields.spec_version != "1.0") {
    return invalid_argument("'specversion': {} is not supported; it is 1.0",
                            quoted(fields.spec_version));
  }
  for (const auto& [name, attribute] : kTexts) {
    if (!printable(fields.*attribute)) {
      VIRTUFIN_RETURN_IF_ERROR(check_text(name, fields.*attribute));
    }
  }
  if (fields.data_kind > DataKind::kProto) {
    return invalid_argument("'data': kind {} is not one of 0 to 4",
                            static_cast<unsigned>(fields.data_kind));
  }
  return {};
}

}  // namespace

absl::Status check_event(const EventFields& fields, CheckedEvent& out) {
  VIRTUFIN_RETURN_IF_ERROR(check_attributes(fields));
  TimePoint time{};
  if (!fields.time.empty()) VIRTUFIN_RETURN_IF_ERROR(read_time("time", fields.time, time));
  out.event_time = time;

  const std::span<const Extension> extensions = fields.extensions;
  if (extensions.size() > kMaxExtensions) {
    return invalid_argument("{} extensions; an event has at most {}", extensions.size(),
                            kMaxExtensions);
  }
  Seen seen;
  for (std::size_t i = 0; i < extensions.size(); ++i) {
    const Extension& extension = extensions[i];
    VIRTUFIN_RETURN_IF_ERROR(check_name(extension.name, fields.config_names));
    if (seen.twice(extensions, i)) {
      return invalid_argument("extension {} is given twice", quoted(extension.name));
    }
    if (!printable(extension.value)) {
      VIRTUFIN_RETURN_IF_ERROR(check_text(extension.name, extension.value));
    }
    if (extension.kind != AttributeKind::kString) {
      VIRTUFIN_RETURN_IF_ERROR(check_kind(extension));
    }
    switch (extension.name.size()) {
      case 8:
        if (extension.name == "walltime") {
          // What happens here and now has one time.
          if (!extension.value.empty() && extension.value == fields.time) {
            out.wall_time = time;
            break;
          }
          VIRTUFIN_RETURN_IF_ERROR(read_time("walltime", extension.value, out.wall_time));
        }
        break;
      case 9:
        if (extension.name == "eventtime") {
          // As a rule it repeats `time`.
          if (!extension.value.empty() && extension.value == fields.time) break;
          VIRTUFIN_RETURN_IF_ERROR(read_time("eventtime", extension.value, out.event_time));
        } else if (extension.name == "clocktype") {
          if (extension.value == name(ClockType::kHistorical)) {
            out.clock = ClockType::kHistorical;
          } else if (extension.value != name(ClockType::kWall)) {
            return invalid_argument("'clocktype': {} is neither wall nor historical",
                                    quoted(extension.value));
          }
        }
        break;
      case 10:
        if (extension.name == "scenarioid") out.scenario = i;
        break;
      case 13:
        if (extension.name == "correlationid") out.correlation = i;
        break;
      default: break;
    }
  }
  return {};
}

}  // namespace virtufin

#include "core/event_writer.h"

#include <flatbuffers/flatbuffers.h>
#include <worker_api_generated.h>

#include <array>
#include <cstring>
#include <string>

#include "core/errors.h"
#include "core/event_check.h"
#include "core/event_layout.h"

namespace virtufin {
namespace {

namespace fb = Virtufin::Worker::FlatBuffers;
using Layout = EventLayout;

/// memcpy for what is mostly shorter than a call of it is worth.
inline void copy(std::uint8_t* out, const char* in, std::size_t size) {
  if (size > 16) {
    std::memcpy(out, in, size);
  } else if (size >= 8) {
    std::uint64_t head, tail;
    std::memcpy(&head, in, 8);
    std::memcpy(&tail, in + size - 8, 8);
    std::memcpy(out, &head, 8);
    std::memcpy(out + size - 8, &tail, 8);
  } else if (size >= 4) {
    std::uint32_t head, tail;
    std::memcpy(&head, in, 4);
    std::memcpy(&tail, in + size - 4, 4);
    std::memcpy(out, &head, 4);
    std::memcpy(out + size - 4, &tail, 4);
  } else {
    for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(in[i]);
  }
}

/// Writes leaves one behind the other and the offsets that lead to them.
class Writer {
 public:
  Writer(std::uint8_t* buffer, std::uint32_t leaf) : buffer_(buffer), leaf_(leaf) {}

  /// A string, its offset stored at `slot`. Returns where its characters are.
  std::uint32_t string(std::uint32_t slot, std::string_view text) {
    Layout::write(buffer_ + slot, leaf_ - slot);
    const auto size = static_cast<std::uint32_t>(text.size());
    const std::uint32_t first = leaf_ + 4;
    const auto whole = static_cast<std::uint32_t>(Layout::string_size(size));
    Layout::write(buffer_ + leaf_, size);
    // The terminating zero and the padding, before what they follow. If nothing is left to pad but
    // the zero, the characters do not reach into this word.
    Layout::write(buffer_ + leaf_ + whole - 4, 0);
    copy(buffer_ + first, text.data(), size);
    leaf_ += whole;
    return first;
  }

  void data(std::uint32_t slot, std::span<const std::uint8_t> bytes) {
    Layout::write(buffer_ + slot, leaf_ - slot);
    Layout::write(buffer_ + leaf_, static_cast<std::uint32_t>(bytes.size()));
    if (!bytes.empty()) std::memcpy(buffer_ + leaf_ + 4, bytes.data(), bytes.size());
    leaf_ += 4 + static_cast<std::uint32_t>(bytes.size());
  }

 private:
  std::uint8_t* buffer_;
  std::uint32_t leaf_;
};

/// Both vtables as they stand in every buffer; those of absent fields are struck out later.
constexpr auto kVtables = [] {
  std::array<std::uint16_t, (Layout::kEventVtableSize + Layout::kExtensionVtableSize) / 2> words{};
  std::size_t at = 0;
  words[at++] = Layout::kEventVtableSize;
  words[at++] = Layout::kTableSize;
  for (std::size_t i = 0; i < Layout::kSlotCount; ++i) {
    words[at++] = static_cast<std::uint16_t>(Layout::slot(i) - Layout::kTable);
  }
  words[at++] = Layout::kExtensionVtableSize;
  words[at++] = Layout::kExtensionTableSize;
  words[at++] = Layout::kName;
  words[at++] = Layout::kValue;
  words[at++] = Layout::kKind;
  return words;
}();

void strike_out(std::uint8_t* buffer, std::size_t slot) {
  std::memset(buffer + Layout::kEventVtable + 4 + 2 * slot, 0, 2);
  Layout::write(buffer + Layout::slot(slot), 0);
}

/// The extension to write at `place`: `correlationid` first, the others in their order.
std::size_t reordered(std::size_t place, std::size_t correlation) {
  if (correlation == CheckedEvent::kNone || place > correlation) return place;
  return place == 0 ? correlation : place - 1;
}

std::array<std::string_view, Layout::kStringSlots> strings_of(const EventFields& fields) {
  return {fields.id,
          fields.type,
          fields.source,
          fields.spec_version,
          fields.data_content_type,
          fields.data_schema,
          fields.subject,
          fields.time};
}

/// Where the first string goes.
std::uint32_t first_leaf(std::size_t extension_count) {
  return Layout::extension_table(extension_count, extension_count);
}

std::size_t total_size(const EventFields& fields) {
  std::size_t size = first_leaf(fields.extensions.size());
  for (const std::string_view text : strings_of(fields)) {
    if (!text.empty()) size += Layout::string_size(text.size());
  }
  for (const Extension& extension : fields.extensions) {
    size += Layout::string_size(extension.name.size());
    size += Layout::string_size(extension.value.size());
  }
  if (fields.data) size += 4 + fields.data->size();
  return size;
}

void write_event(const EventFields& fields, const CheckedEvent& checked, Event& event) {
  std::uint8_t* buffer = Layout::buffer(event);
  const std::size_t count = fields.extensions.size();
  Layout::write(buffer, Layout::kTable);
  std::memcpy(buffer + Layout::kEventVtable, kVtables.data(), sizeof(kVtables));
  Layout::write(buffer + Layout::kTable, Layout::kTable - Layout::kEventVtable);
  Writer writer(buffer, first_leaf(count));

  const auto strings = strings_of(fields);
  for (std::size_t i = 0; i < strings.size(); ++i) {
    if (strings[i].empty()) {
      strike_out(buffer, i);
    } else {
      writer.string(Layout::slot(i), strings[i]);
    }
  }
  Layout::write(buffer + Layout::slot(Layout::kExtensions),
                Layout::kExtensionVector - Layout::slot(Layout::kExtensions));
  Layout::write(buffer + Layout::slot(Layout::kDataKind),
                static_cast<std::uint32_t>(fields.data_kind));

  Layout::write(buffer + Layout::kExtensionVector, static_cast<std::uint32_t>(count));
  Layout::set_scenario(event, 0, 0);
  for (std::size_t place = 0; place < count; ++place) {
    const std::size_t index = reordered(place, checked.correlation);
    const Extension& extension = fields.extensions[index];
    const std::uint32_t table = Layout::extension_table(count, place);
    const std::uint32_t entry = Layout::kFirstExtension + static_cast<std::uint32_t>(4 * place);
    Layout::write(buffer + entry, table - entry);
    Layout::write(buffer + table, table - Layout::kExtensionVtable);
    Layout::write(buffer + table + Layout::kKind, static_cast<std::uint32_t>(extension.kind));
    writer.string(table + Layout::kName, extension.name);
    const std::uint32_t value = writer.string(table + Layout::kValue, extension.value);
    if (index == checked.scenario) {
      Layout::set_scenario(event, value, static_cast<std::uint32_t>(extension.value.size()));
    }
  }
  if (fields.data) {
    writer.data(Layout::slot(Layout::kData), *fields.data);
  } else {
    strike_out(buffer, Layout::kData);
  }
  Layout::set_attributes(event);
  Layout::set_clock(event, checked.clock);
  Layout::set_times(event, checked.event_time, checked.wall_time);
}

std::string_view text_of(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view{} : std::string_view(text->c_str(), text->size());
}

}  // namespace

absl::StatusOr<EventPtr> make_event(const EventFields& fields) {
  CheckedEvent checked;
  VIRTUFIN_RETURN_IF_ERROR(check_event(fields, checked));
  const std::size_t size = total_size(fields);
  if (size > kMaxEventBytes) {
    return invalid_argument(
        "event '{}' takes {} bytes, its data {} of them; at most {} are allowed",
        fields.id.substr(0, 64), size, fields.data ? fields.data->size() : 0, kMaxEventBytes);
  }
  Event* event = Layout::allocate(size);
  Layout::set_size(*event, size);
  write_event(fields, checked, *event);
  return EventPtr(event, /*add_ref=*/false);
}

absl::StatusOr<EventPtr> parse_event(std::span<const std::uint8_t> flatbuffer) {
  if (flatbuffer.size() > kMaxEventBytes) {
    return invalid_argument("a FlatBuffer CloudEvent of {} bytes; at most {} are allowed",
                            flatbuffer.size(), kMaxEventBytes);
  }
  // Fields are read in place, so they must be aligned in memory too, not only in the buffer.
  std::vector<std::uint64_t> aligned;
  if (reinterpret_cast<std::uintptr_t>(flatbuffer.data()) % alignof(std::uint64_t) != 0) {
    aligned.resize(flatbuffer.size() / sizeof(std::uint64_t) + 1);
    std::memcpy(aligned.data(), flatbuffer.data(), flatbuffer.size());
    flatbuffer = {reinterpret_cast<const std::uint8_t*>(aligned.data()), flatbuffer.size()};
  }
  flatbuffers::Verifier verifier(flatbuffer.data(), flatbuffer.size());
  if (!fb::VerifyCloudEventBuffer(verifier)) {
    return invalid_argument(
        "{} bytes that are not a FlatBuffer CloudEvent: the verifier refuses "
        "them",
        flatbuffer.size());
  }
  std::vector<Extension> storage;
  return make_event(fields_of(*fb::GetCloudEvent(flatbuffer.data()), storage));
}

EventFields fields_of(const Event& event, std::vector<Extension>& storage) {
  const std::size_t count = event.extension_count();
  storage.clear();
  storage.reserve(count);
  for (std::size_t i = 0; i < count; ++i) storage.push_back(event.extension_at(i));
  EventFields fields;
  fields.id = event.id();
  fields.type = event.type();
  fields.source = event.source();
  fields.spec_version = event.spec_version();
  fields.data_content_type = event.data_content_type();
  fields.data_schema = event.data_schema();
  fields.subject = event.subject();
  fields.time = event.time();
  if (event.has_data()) fields.data = event.data();
  fields.data_kind = event.data_kind();
  fields.extensions = storage;
  fields.config_names = true;
  return fields;
}

EventFields fields_of(const fb::CloudEvent& verified, std::vector<Extension>& storage) {
  storage.clear();
  if (const auto* extensions = verified.extensions()) {
    storage.reserve(extensions->size());
    for (const fb::Extension* extension : *extensions) {
      storage.push_back({text_of(extension->name()), text_of(extension->value()),
                         static_cast<AttributeKind>(extension->kind())});
    }
  }
  EventFields fields;
  fields.id = text_of(verified.id());
  fields.type = text_of(verified.type());
  fields.source = text_of(verified.source());
  fields.spec_version = text_of(verified.specversion());
  fields.data_content_type = text_of(verified.datacontenttype());
  fields.data_schema = text_of(verified.dataschema());
  fields.subject = text_of(verified.subject());
  fields.time = text_of(verified.time());
  if (const auto* data = verified.data()) fields.data.emplace(data->data(), data->size());
  fields.data_kind = static_cast<DataKind>(verified.data_kind());
  fields.extensions = storage;
  fields.config_names = true;
  return fields;
}

}  // namespace virtufin

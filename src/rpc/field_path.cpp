#include "rpc/field_path.h"

#include <absl/strings/escaping.h>
#include <absl/strings/numbers.h>
#include <simdjson.h>

#include <charconv>

#include "core/json_text.h"
#include "core/log.h"

namespace virtufin::rpc {
namespace {

namespace pb = google::protobuf;

absl::Status wrong(std::string_view path, std::string_view text, std::string_view expected) {
  return invalid_argument("{}: {} is no {}", printable(path), printable(text), expected);
}

template <class Integer>
bool parse_integer(std::string_view text, Integer& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool parse_bytes(std::string_view text, std::string& out) {
  const bool web = text.find_first_of("-_") != std::string_view::npos;
  return web ? absl::WebSafeBase64Unescape(to_absl(text), &out)
             : absl::Base64Unescape(to_absl(text), &out);
}

/// Types that JSON writes as one value and not as an object of their fields.
bool is_one_value(const pb::Descriptor* type) {
  switch (type->well_known_type()) {
    case pb::Descriptor::WELLKNOWNTYPE_DOUBLEVALUE:
    case pb::Descriptor::WELLKNOWNTYPE_FLOATVALUE:
    case pb::Descriptor::WELLKNOWNTYPE_INT64VALUE:
    case pb::Descriptor::WELLKNOWNTYPE_UINT64VALUE:
    case pb::Descriptor::WELLKNOWNTYPE_INT32VALUE:
    case pb::Descriptor::WELLKNOWNTYPE_UINT32VALUE:
    case pb::Descriptor::WELLKNOWNTYPE_STRINGVALUE:
    case pb::Descriptor::WELLKNOWNTYPE_BYTESVALUE:
    case pb::Descriptor::WELLKNOWNTYPE_BOOLVALUE:
    case pb::Descriptor::WELLKNOWNTYPE_DURATION:
    case pb::Descriptor::WELLKNOWNTYPE_TIMESTAMP:
    case pb::Descriptor::WELLKNOWNTYPE_FIELDMASK: return true;
    default: return false;
  }
}

/// Numbers, too, may be written as JSON strings; a boolean may not.
std::string one_value_json(const pb::Descriptor* type, std::string_view text) {
  if (type->well_known_type() == pb::Descriptor::WELLKNOWNTYPE_BOOLVALUE) {
    return text == "true" || text == "false" ? std::string(text) : "\"\"";
  }
  std::string json;
  append_json_string(json, text);
  return json;
}

#define VIRTUFIN_SET(Kind, value)                                       \
  (field->is_repeated() ? reflection->Add##Kind(&message, field, value) \
                        : reflection->Set##Kind(&message, field, value))

absl::Status set_value(pb::Message& message, const pb::FieldDescriptor* field,
                       std::string_view path, std::string_view text, ReadJson read_json) {
  const pb::Reflection* reflection = message.GetReflection();
  switch (field->cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_INT32: {
      std::int32_t value = 0;
      if (!parse_integer(text, value)) return wrong(path, text, "int32");
      VIRTUFIN_SET(Int32, value);
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_INT64: {
      std::int64_t value = 0;
      if (!parse_integer(text, value)) return wrong(path, text, "int64");
      VIRTUFIN_SET(Int64, value);
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_UINT32: {
      std::uint32_t value = 0;
      if (!parse_integer(text, value)) return wrong(path, text, "uint32");
      VIRTUFIN_SET(UInt32, value);
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_UINT64: {
      std::uint64_t value = 0;
      if (!parse_integer(text, value)) return wrong(path, text, "uint64");
      VIRTUFIN_SET(UInt64, value);
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_DOUBLE: {
      double value = 0;
      if (!absl::SimpleAtod(to_absl(text), &value)) return wrong(path, text, "number");
      VIRTUFIN_SET(Double, value);
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_FLOAT: {
      float value = 0;
      if (!absl::SimpleAtof(to_absl(text), &value)) return wrong(path, text, "number");
      VIRTUFIN_SET(Float, value);
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_BOOL: {
      if (text != "true" && text != "false") return wrong(path, text, "boolean: true or false");
      VIRTUFIN_SET(Bool, text == "true");
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_ENUM: {
      const pb::EnumValueDescriptor* value = field->enum_type()->FindValueByName(std::string(text));
      int number = 0;
      if (value == nullptr && parse_integer(text, number)) {
        value = field->enum_type()->FindValueByNumber(number);
      }
      if (value == nullptr) return wrong(path, text, field->enum_type()->full_name());
      VIRTUFIN_SET(Enum, value);
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_STRING: {
      std::string value(text);
      if (field->type() == pb::FieldDescriptor::TYPE_BYTES) {
        if (!parse_bytes(text, value)) return wrong(path, text, "base64");
      } else if (!simdjson::validate_utf8(text.data(), text.size())) {
        return wrong(path, text, "UTF-8");
      }
      VIRTUFIN_SET(String, std::move(value));
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_MESSAGE: {
      const pb::Descriptor* type = field->message_type();
      if (field->is_map() || !is_one_value(type)) {
        return invalid_argument("{} is a {}; name one of its fields", printable(path),
                                field->is_map() ? "map" : type->full_name());
      }
      pb::Message* value = field->is_repeated() ? reflection->AddMessage(&message, field)
                                                : reflection->MutableMessage(&message, field);
      if (!read_json(one_value_json(type, text), *value).ok()) {
        return wrong(path, text, type->full_name());
      }
      return absl::OkStatus();
    }
  }
  return wrong(path, text, "value");
}

#undef VIRTUFIN_SET

}  // namespace

const pb::FieldDescriptor* find_field(const pb::Descriptor* type, std::string_view name) {
  for (int i = 0; i < type->field_count(); ++i) {
    const pb::FieldDescriptor* field = type->field(i);
    if (field->name() == name || field->json_name() == name) return field;
  }
  return nullptr;
}

absl::Status set_field(pb::Message& message, std::string_view path, std::string_view text,
                       ReadJson read_json) {
  pb::Message* at = &message;
  std::string_view left = path;
  for (;;) {
    const std::string_view name = left.substr(0, left.find('.'));
    const pb::FieldDescriptor* field = find_field(at->GetDescriptor(), name);
    if (field == nullptr) {
      return not_found("{} has no field {}", message.GetDescriptor()->full_name(), printable(path));
    }
    if (name.size() == left.size()) return set_value(*at, field, path, text, read_json);
    if (field->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE || field->is_repeated()) {
      return not_found("{}: {} is not a single message", printable(path), field->name());
    }
    at = at->GetReflection()->MutableMessage(at, field);
    left.remove_prefix(name.size() + 1);
  }
}

}  // namespace virtufin::rpc

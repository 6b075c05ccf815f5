#include "rpc/plain_json.h"

#include <absl/strings/escaping.h>
#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <simdjson.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/errors.h"
#include "core/json_text.h"

namespace virtufin::rpc {
namespace {

namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;

constexpr int kDepth = 32;
/// Bodies up to this size share a parser and a buffer a thread.
constexpr std::size_t kSmall = 64 << 10;

bool is_plain(const pb::Descriptor* type) {
  return type->well_known_type() == pb::Descriptor::WELLKNOWNTYPE_UNSPECIFIED &&
         type->file()->syntax() == pb::FileDescriptor::SYNTAX_PROTO3;
}

template <class Number>
void append_number(std::string& out, Number number) {
  char digits[32];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

/// As JSON has no 64-bit integers, they are strings.
template <class Number>
void append_quoted(std::string& out, Number number) {
  out += '"';
  append_number(out, number);
  out += '"';
}

bool append_real(std::string& out, double number) {
  if (!std::isfinite(number)) return false;
  fmt::format_to(std::back_inserter(out), "{}", number);
  return true;
}

bool append_real(std::string& out, float number) {
  if (!std::isfinite(number)) return false;
  fmt::format_to(std::back_inserter(out), "{}", number);
  return true;
}

void append_enum(std::string& out, const pb::EnumDescriptor* type, int number) {
  const pb::EnumValueDescriptor* value = type->FindValueByNumber(number);
  if (value == nullptr) return append_number(out, number);
  out += '"';
  out += value->name();
  out += '"';
}

void append_text(std::string& out, const Field* field, const std::string& value) {
  if (field->type() != Field::TYPE_BYTES) return append_json_string(out, value);
  out += '"';
  out += absl::Base64Escape(to_absl(value));
  out += '"';
}

bool write_message(const pb::Message& message, std::string& out, int depth);

bool write_single(const pb::Message& message, const pb::Reflection* reflection, const Field* field,
                  std::string& out, int depth) {
  switch (field->cpp_type()) {
    case Field::CPPTYPE_INT32: append_number(out, reflection->GetInt32(message, field)); break;
    case Field::CPPTYPE_UINT32: append_number(out, reflection->GetUInt32(message, field)); break;
    case Field::CPPTYPE_INT64: append_quoted(out, reflection->GetInt64(message, field)); break;
    case Field::CPPTYPE_UINT64: append_quoted(out, reflection->GetUInt64(message, field)); break;
    case Field::CPPTYPE_DOUBLE: return append_real(out, reflection->GetDouble(message, field));
    case Field::CPPTYPE_FLOAT: return append_real(out, reflection->GetFloat(message, field));
    case Field::CPPTYPE_BOOL: out += reflection->GetBool(message, field) ? "true" : "false"; break;
    case Field::CPPTYPE_ENUM:
      append_enum(out, field->enum_type(), reflection->GetEnumValue(message, field));
      break;
    case Field::CPPTYPE_STRING: {
      std::string scratch;
      append_text(out, field, reflection->GetStringReference(message, field, &scratch));
      break;
    }
    case Field::CPPTYPE_MESSAGE:
      return write_message(reflection->GetMessage(message, field), out, depth + 1);
  }
  return true;
}

bool write_element(const pb::Message& message, const pb::Reflection* reflection, const Field* field,
                   int index, std::string& out, int depth) {
  switch (field->cpp_type()) {
    case Field::CPPTYPE_INT32:
      append_number(out, reflection->GetRepeatedInt32(message, field, index));
      break;
    case Field::CPPTYPE_UINT32:
      append_number(out, reflection->GetRepeatedUInt32(message, field, index));
      break;
    case Field::CPPTYPE_INT64:
      append_quoted(out, reflection->GetRepeatedInt64(message, field, index));
      break;
    case Field::CPPTYPE_UINT64:
      append_quoted(out, reflection->GetRepeatedUInt64(message, field, index));
      break;
    case Field::CPPTYPE_DOUBLE:
      return append_real(out, reflection->GetRepeatedDouble(message, field, index));
    case Field::CPPTYPE_FLOAT:
      return append_real(out, reflection->GetRepeatedFloat(message, field, index));
    case Field::CPPTYPE_BOOL:
      out += reflection->GetRepeatedBool(message, field, index) ? "true" : "false";
      break;
    case Field::CPPTYPE_ENUM:
      append_enum(out, field->enum_type(), reflection->GetRepeatedEnumValue(message, field, index));
      break;
    case Field::CPPTYPE_STRING: {
      std::string scratch;
      append_text(out, field,
                  reflection->GetRepeatedStringReference(message, field, index, &scratch));
      break;
    }
    case Field::CPPTYPE_MESSAGE:
      return write_message(reflection->GetRepeatedMessage(message, field, index), out, depth + 1);
  }
  return true;
}

/// An entry of a map: `"key":value`.
bool write_entry(const pb::Message& entry, std::string& out, int depth) {
  const pb::Descriptor* type = entry.GetDescriptor();
  const Field* key = type->map_key();
  const pb::Reflection* reflection = entry.GetReflection();
  const bool is_text = key->cpp_type() == Field::CPPTYPE_STRING;
  const bool is_long =
      key->cpp_type() == Field::CPPTYPE_INT64 || key->cpp_type() == Field::CPPTYPE_UINT64;
  if (!is_text && !is_long) out += '"';  // those bring their own quotes
  if (!write_single(entry, reflection, key, out, depth)) return false;
  if (!is_text && !is_long) out += '"';
  out += ':';
  return write_single(entry, reflection, type->map_value(), out, depth);
}

bool write_message(const pb::Message& message, std::string& out, int depth) {
  const pb::Descriptor* type = message.GetDescriptor();
  if (depth > kDepth || !is_plain(type)) return false;
  const pb::Reflection* reflection = message.GetReflection();
  out += '{';
  bool first = true;
  for (int i = 0; i < type->field_count(); ++i) {
    const Field* field = type->field(i);
    // What has presence is shown if it is there, all else always.
    if (field->has_presence() && !reflection->HasField(message, field)) continue;
    if (!first) out += ',';
    first = false;
    out += '"';
    out += field->json_name();
    out += "\":";
    if (!field->is_repeated()) {
      if (!write_single(message, reflection, field, out, depth)) return false;
      continue;
    }
    out += field->is_map() ? '{' : '[';
    const int count = reflection->FieldSize(message, field);
    for (int n = 0; n < count; ++n) {
      if (n > 0) out += ',';
      if (field->is_map()) {
        if (!write_entry(reflection->GetRepeatedMessage(message, field, n), out, depth)) {
          return false;
        }
      } else if (!write_element(message, reflection, field, n, out, depth)) {
        return false;
      }
    }
    out += field->is_map() ? '}' : ']';
  }
  out += '}';
  return true;
}

const Field* find(const pb::Descriptor* type, std::string_view name) {
  for (int i = 0; i < type->field_count(); ++i) {
    const Field* field = type->field(i);
    if (field->json_name() == name || field->name() == name) return field;
  }
  return nullptr;
}

using Element = simdjson::dom::element;

template <class Integer>
bool get_integer(Element element, Integer& out) {
  std::string_view text;
  if (element.get(text) == simdjson::SUCCESS) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size();
  }
  if constexpr (std::is_signed_v<Integer>) {
    std::int64_t number = 0;
    if (element.get(number) != simdjson::SUCCESS || number < std::numeric_limits<Integer>::min() ||
        number > std::numeric_limits<Integer>::max()) {
      return false;
    }
    out = static_cast<Integer>(number);
  } else {
    std::uint64_t number = 0;
    if (element.get(number) != simdjson::SUCCESS || number > std::numeric_limits<Integer>::max()) {
      return false;
    }
    out = static_cast<Integer>(number);
  }
  return true;
}

bool read_object(Element element, pb::Message& message, int depth);

#define VIRTUFIN_STORE(Kind, value)                                     \
  (field->is_repeated() ? reflection->Add##Kind(&message, field, value) \
                        : reflection->Set##Kind(&message, field, value))

bool read_value(Element element, pb::Message& message, const pb::Reflection* reflection,
                const Field* field, int depth) {
  switch (field->cpp_type()) {
    case Field::CPPTYPE_INT32: {
      std::int32_t value = 0;
      if (!get_integer(element, value)) return false;
      VIRTUFIN_STORE(Int32, value);
      return true;
    }
    case Field::CPPTYPE_INT64: {
      std::int64_t value = 0;
      if (!get_integer(element, value)) return false;
      VIRTUFIN_STORE(Int64, value);
      return true;
    }
    case Field::CPPTYPE_UINT32: {
      std::uint32_t value = 0;
      if (!get_integer(element, value)) return false;
      VIRTUFIN_STORE(UInt32, value);
      return true;
    }
    case Field::CPPTYPE_UINT64: {
      std::uint64_t value = 0;
      if (!get_integer(element, value)) return false;
      VIRTUFIN_STORE(UInt64, value);
      return true;
    }
    case Field::CPPTYPE_DOUBLE: {
      double value = 0;
      if (element.get(value) != simdjson::SUCCESS) return false;
      VIRTUFIN_STORE(Double, value);
      return true;
    }
    case Field::CPPTYPE_BOOL: {
      bool value = false;
      if (element.get(value) != simdjson::SUCCESS) return false;
      VIRTUFIN_STORE(Bool, value);
      return true;
    }
    case Field::CPPTYPE_STRING: {
      std::string_view text;
      if (element.get(text) != simdjson::SUCCESS || field->type() == Field::TYPE_BYTES) {
        return false;
      }
      VIRTUFIN_STORE(String, std::string(text));
      return true;
    }
    case Field::CPPTYPE_ENUM: {
      std::string_view text;
      if (element.get(text) != simdjson::SUCCESS) return false;
      const pb::EnumValueDescriptor* value = field->enum_type()->FindValueByName(std::string(text));
      if (value == nullptr) return false;
      VIRTUFIN_STORE(Enum, value);
      return true;
    }
    case Field::CPPTYPE_MESSAGE:
      return read_object(element,
                         field->is_repeated() ? *reflection->AddMessage(&message, field)
                                              : *reflection->MutableMessage(&message, field),
                         depth + 1);
    case Field::CPPTYPE_FLOAT: return false;  // rounding is left to protobuf
  }
  return false;
}

#undef VIRTUFIN_STORE

bool read_object(Element element, pb::Message& message, int depth) {
  const pb::Descriptor* type = message.GetDescriptor();
  simdjson::dom::object object;
  if (depth > kDepth || !is_plain(type) || element.get(object) != simdjson::SUCCESS) return false;
  const pb::Reflection* reflection = message.GetReflection();
  std::uint64_t seen = 0;
  for (const auto& [name, value] : object) {
    const Field* field = find(type, name);
    if (field == nullptr || field->is_map()) return false;
    // A member given twice, in one spelling or in both, and a choice made twice are for protobuf.
    const std::uint64_t bit = field->index() < 64 ? std::uint64_t{1} << field->index() : 0;
    if (bit == 0 || (seen & bit) != 0) return false;
    seen |= bit;
    if (const pb::OneofDescriptor* choice = field->real_containing_oneof();
        choice != nullptr && reflection->HasOneof(message, choice)) {
      return false;
    }
    if (!field->is_repeated()) {
      if (!read_value(value, message, reflection, field, depth)) return false;
      continue;
    }
    simdjson::dom::array array;
    if (value.get(array) != simdjson::SUCCESS) return false;
    for (const Element item : array) {
      if (!read_value(item, message, reflection, field, depth)) return false;
    }
  }
  return true;
}

bool read_with(simdjson::dom::parser& parser, std::string& padded, std::string_view text,
               pb::Message& message) {
  padded.resize(text.size() + simdjson::SIMDJSON_PADDING);
  std::memcpy(padded.data(), text.data(), text.size());
  Element root;
  return parser.parse(padded.data(), text.size(), false).get(root) == simdjson::SUCCESS &&
         read_object(root, message, 0);
}

}  // namespace

bool write_plain_json(const pb::Message& message, std::string& out) {
  const std::size_t before = out.size();
  if (write_message(message, out, 0)) return true;
  out.resize(before);
  return false;
}

bool read_plain_json(std::string_view text, pb::Message& message) {
  if (text.size() > kSmall) {
    simdjson::dom::parser parser;
    std::string padded;
    return read_with(parser, padded, text, message);
  }
  thread_local simdjson::dom::parser parser;
  thread_local std::string padded;
  return read_with(parser, padded, text, message);
}

}  // namespace virtufin::rpc

#pragma once

#include <absl/functional/function_ref.h>
#include <absl/status/status.h>
#include <google/protobuf/message.h>

#include <string_view>

#include "core/errors.h"

namespace virtufin::rpc {

/// Reads JSON text into a message; how well-known types take their text.
using ReadJson = absl::FunctionRef<absl::Status(std::string_view, google::protobuf::Message&)>;

/// A field by its proto name or its JSON name; null if there is none.
const google::protobuf::FieldDescriptor* find_field(const google::protobuf::Descriptor* type,
                                                    std::string_view name);

/// Sets the field at a dotted path (`filter.type`), or adds to it if it is repeated. NOT_FOUND if
/// the path leads nowhere, INVALID_ARGUMENT if the text is no value of the field's type.
absl::Status set_field(google::protobuf::Message& message, std::string_view path,
                       std::string_view text, ReadJson read_json);

}  // namespace virtufin::rpc

#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

namespace virtufin::rpc {

/// The common part of the proto3 JSON mapping, several times faster than protobuf's own. REST calls
/// spend most of their time in JSON, so this is a path that the performance table names.
///
/// Both answer false for whatever is not common: well-known types, maps (when reading), numbers in
/// unusual clothes, unknown members, anything wrong. Then protobuf's own code does it, or says what
/// is wrong. So this part may be small: it only has to be right about what it accepts.
/// Threads: any.

/// Appends the message with every field; `out` is as before if it answers false.
bool write_plain_json(const google::protobuf::Message& message, std::string& out);

/// Fills an empty message; what it holds if this answers false is of no use.
bool read_plain_json(std::string_view text, google::protobuf::Message& message);

}  // namespace virtufin::rpc

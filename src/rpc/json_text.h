#pragma once

#include <absl/status/status.h>

#include <string>
#include <string_view>

namespace virtufin::rpc {

/// Appends `text` as a JSON string with its quotes. What is not UTF-8 becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text);

/// `{"code":5,"message":"…","details":[]}`
std::string error_json(const absl::Status& status);

}  // namespace virtufin::rpc

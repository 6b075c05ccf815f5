#pragma once

#include <absl/status/status.h>

#include <string>

namespace virtufin::rpc {

/// `{"code":5,"message":"…","details":[]}`
std::string error_json(const absl::Status& status);

}  // namespace virtufin::rpc

#include "rpc/error_json.h"

#include "core/errors.h"
#include "core/json_text.h"

namespace virtufin::rpc {

std::string error_json(const absl::Status& status) {
  std::string out = fmt::format("{{\"code\":{},\"message\":", static_cast<int>(status.code()));
  append_json_string(out, message(status));
  out += ",\"details\":[]}";
  return out;
}

}  // namespace virtufin::rpc

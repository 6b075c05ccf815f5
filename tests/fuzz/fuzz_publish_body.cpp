// The body and headers of POST /v1/pubsub/{topic}: the first line is the content type, further
// lines up to an empty one are headers, the rest is the body.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/event_codec.h"
#include "modules/gateway/publish_body.h"

namespace {

std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::vector<std::pair<std::string, std::string>> headers;
  headers.emplace_back("content-type", take_line(rest));
  for (std::string_view line = take_line(rest); !line.empty(); line = take_line(rest)) {
    const std::size_t colon = line.find(':');
    headers.emplace_back(line.substr(0, colon),
                         colon == std::string_view::npos ? "" : line.substr(colon + 1));
  }
  const auto event = virtufin::gateway::event_from_publish_body(headers, rest);
  if (event.ok()) {
    // What was taken has every form that a subscriber may want.
    const std::string json = virtufin::to_json(**event);
    const auto again = virtufin::event_from_json(json);
    if (!again.ok() || virtufin::to_json(**again) != json) std::abort();
  }
  return 0;
}

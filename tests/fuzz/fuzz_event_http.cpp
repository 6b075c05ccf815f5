#include "event_round_trip.h"

/// Input: lines of `name: value`, an empty line, the body.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace virtufin;
  std::string_view rest = as_text({data, size});
  std::vector<HttpHeader> headers;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.empty()) break;
    const std::size_t colon = std::min(line.find(':'), line.size());
    headers.emplace_back(line.substr(0, colon), line.substr(std::min(colon + 1, line.size())));
  }
  const auto event = event_from_http(headers, rest);
  if (event.ok()) fuzz::check_round_trips(**event);
  return 0;
}

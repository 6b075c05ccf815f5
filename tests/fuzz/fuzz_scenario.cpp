// Any bytes as a scenario record and as a topic: no crash, and what is accepted reads the same when
// it was written and read again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/scenario.h"
#include "core/topic.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto read = virtufin::scenario_from_json(text); read.ok()) {
    const std::string written = virtufin::to_json(*read);
    const auto again = virtufin::scenario_from_json(written);
    if (!again.ok() || virtufin::to_json(*again) != written) std::abort();
  }
  namespace topic = virtufin::topic;
  const topic::Parts parts = topic::parse(text);
  // To where it is already changes nothing.
  const std::string same = topic::rewrite(text, parts.selector, parts.scenario);
  if (same != text) std::abort();
  if (topic::check_pattern(text).ok() && topic::matches(text, text) &&
      text.ends_with("*") != text.ends_with(".*")) {
    std::abort();
  }
  return 0;
}

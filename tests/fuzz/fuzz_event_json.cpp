#include "event_round_trip.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace virtufin;
  const auto event = event_from_json(as_text({data, size}), {.config_names = true});
  if (event.ok()) fuzz::check_round_trips(**event);
  return 0;
}

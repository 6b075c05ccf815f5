#include "event_round_trip.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace virtufin;
  const auto event = parse_event({data, size});
  if (event.ok()) fuzz::check_round_trips(**event);
  return 0;
}

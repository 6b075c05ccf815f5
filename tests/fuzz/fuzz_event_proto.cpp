#include "event_round_trip.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace virtufin;
  // Its complaints about text that is not UTF-8 are not ours.
  static const google::protobuf::LogSilencer kSilence;
  io::cloudevents::v1::CloudEvent proto;
  if (!proto.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto event = event_from_proto(proto, {.config_names = true});
  if (event.ok()) fuzz::check_round_trips(**event);
  return 0;
}

#include "bus/dapr/envelope.h"
#include "dapr/proto/runtime/v1/dapr.pb.h"
#include "event_round_trip.h"

/// What the sidecar delivers comes from any app on the broker: whatever it is, it is an event or an
/// error, and an event can be sent on.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace virtufin;
  static const google::protobuf::LogSilencer kSilence;
  dapr::proto::runtime::v1::TopicEventRequest message;
  if (!message.ParseFromArray(data, static_cast<int>(size))) return 0;
  auto arrived = bus::decode_envelope(message);
  if (!arrived.ok()) return 0;
  if (arrived->order) {
    const auto again = bus::parse_bus_order(bus::to_text(*arrived->order));
    fuzz::require(again && again->instance == arrived->order->instance &&
                      again->counter == arrived->order->counter,
                  "the same order");
  }
  fuzz::check_flatbuffer(*arrived->event);
  const std::string sent = bus::encode_envelope(*arrived->event, {1, 2});
  const EventPtr read =
      fuzz::require_event(event_from_json(sent, {.config_names = true}), "the envelope as JSON");
  fuzz::require(read->id() == arrived->event->id(), "the same id");
  fuzz::require(read->extension(bus::kBusOrder) == bus::to_text({1, 2}), "its order");
  fuzz::require(bus::mark_late(*arrived->event).ok(), "it can be late");
  return 0;
}

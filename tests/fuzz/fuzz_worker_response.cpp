// What a worker returns: any bytes are refused, or read as an event within their bounds.

#include <cstdint>
#include <cstdlib>
#include <span>

#include "core/event_writer.h"
#include "modules/workmanager/engines/native/response.h"

namespace {

class Sink final : public virtufin::workmanager::OutputSink {
 public:
  absl::Status output(const virtufin::EventFields& fields) override {
    // Reading every part is the point: the sanitizers watch. What is accepted is a sound event.
    const auto event = virtufin::make_event(fields);
    if (!event.ok()) return event.status();
    if ((*event)->type() != fields.type) std::abort();
    return absl::OkStatus();
  }
  void report(std::string_view message) override {
    if (message.empty()) std::abort();
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Sink sink;
  const std::span bytes(data, size);
  const auto status = virtufin::workmanager::native::read_response(bytes, sink);
  const auto words = virtufin::workmanager::native::error_message(bytes);
  if (!status.ok() && status.message().empty() && words.empty()) std::abort();
  return 0;
}

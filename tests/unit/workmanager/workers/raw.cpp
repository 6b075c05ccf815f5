// A worker below the wrapper: returns the event's payload as its response, whatever that is, from
// an odd address, with the code that the subject names. It counts the buffers that are out.

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "virtufin_worker.h"
#include "worker_api_generated.h"

namespace fb = Virtufin::Worker::FlatBuffers;

namespace {
int buffers_out = 0;
}

extern "C" VIRTUFIN_EXPORT int raw_buffers_out() { return buffers_out; }

extern "C" std::int32_t Process(const VirtufinHost*, const std::uint8_t* in, std::int32_t,
                                std::uint8_t** out, std::int32_t* length) {
  const auto* event = flatbuffers::GetRoot<fb::CloudEvent>(in);
  const auto* data = event->data();
  auto* buffer = static_cast<std::uint8_t*>(std::malloc(data->size() + 1));
  ++buffers_out;
  std::copy(data->begin(), data->end(), buffer + 1);
  *out = buffer + 1;
  *length = static_cast<std::int32_t>(data->size());
  const std::string_view subject = event->subject()->string_view();
  std::int32_t code = 0;
  std::from_chars(subject.data(), subject.data() + subject.size(), code);
  return code;
}

extern "C" void FreeResult(std::uint8_t* buffer) {
  --buffers_out;
  std::free(buffer - 1);
}

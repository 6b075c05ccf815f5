// Any JSON as a body. What our own reader accepts, protobuf's must read as the same message; what
// our own writer writes, protobuf's must read back as the same message.
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "rpc/plain_json.h"
#include "transcode_bindings.h"
#include "virtufin/state.pb.h"
#include "virtufin/workmanager.pb.h"

namespace {

namespace pb = google::protobuf;

template <class Message>
void check(std::string_view text) {
  Message ours;
  if (!virtufin::rpc::read_plain_json(text, ours)) return;
  Message theirs;
  if (!pb::util::JsonStringToMessage({text.data(), text.size()}, &theirs).ok() ||
      !pb::util::MessageDifferencer::Equals(ours, theirs)) {
    std::abort();
  }
  std::string json;
  if (!virtufin::rpc::write_plain_json(ours, json)) return;
  Message back;
  if (!pb::util::JsonStringToMessage(json, &back).ok() ||
      !pb::util::MessageDifferencer::Equals(ours, back)) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check<virtufin::SaveStateRequest>(text);
  check<virtufin::CreateWorkerRequest>(text);
  for (const auto& binding : virtufin::rpc::fuzz::bindings()) {
    const auto request = binding.request({}, "", text);
    if (request.ok() && (*request)->ByteSizeLong() > 64 * (size + 1)) std::abort();
  }
  return 0;
}

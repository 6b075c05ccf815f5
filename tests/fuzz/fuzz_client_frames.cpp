#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "modules/venue/rest.h"
#include "modules/venue/websocket_frames.h"

namespace {

using namespace virtufin::venue;

struct Result {
  std::vector<std::pair<Opcode, std::string>> messages;
  int close = 0;
  bool operator==(const Result&) const = default;
};

Result read(std::string_view bytes, std::size_t piece) {
  ClientFrameReader reader(4096);
  Result result;
  while (!bytes.empty() && result.close == 0) {
    const auto broken =
        reader.read(bytes.substr(0, piece), [&](Opcode opcode, std::string_view payload) {
          if (payload.size() > 4096) std::abort();
          result.messages.emplace_back(opcode, payload);
        });
    if (broken) result.close = static_cast<int>(broken->code);
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  return result;
}

}  // namespace

/// What a client may send: frames mean the same in whatever pieces they come, and a request's
/// target is decoded or refused.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  const Result whole = read(text, std::max<std::size_t>(size, 1));
  if (whole != read(text, 1) || whole != read(text, 7)) std::abort();
  if (const auto target = Target::parse(text); target && target->path.size() > size) std::abort();
  return 0;
}

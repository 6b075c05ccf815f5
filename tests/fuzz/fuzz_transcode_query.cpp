// Any query on any of several methods: no crash, and a request that is made can be sent.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "transcode_bindings.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view query(reinterpret_cast<const char*>(data), size);
  for (const auto& binding : virtufin::rpc::fuzz::bindings()) {
    const auto request = binding.request({}, query, "");
    if (!request.ok()) continue;
    std::string json;
    if (!binding.codec->to_json(**request, json).ok()) std::abort();
  }
  return 0;
}

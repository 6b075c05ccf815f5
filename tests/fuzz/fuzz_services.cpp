// The text of a services.json, which other programs write.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "modules/gateway/service_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto file = virtufin::gateway::parse_services(text);
  if (file.ok()) {
    for (const auto& service : file->services) {
      if (!virtufin::gateway::valid_service_name(service.name)) std::abort();
      for (const auto& host : service.hosts) {
        if (host.host.empty() || host.port == 0) std::abort();
      }
    }
  }
  (void)virtufin::gateway::parse_host(text);
  return 0;
}

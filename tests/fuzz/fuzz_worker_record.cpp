// A worker's and an order's record in the state store: what is read can be written and read again.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "modules/workmanager/order_record.h"
#include "modules/workmanager/worker_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace virtufin::workmanager;
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  if (const auto spec = spec_from_json(json); spec.ok()) {
    const std::string written = to_json(*spec);
    const auto again = spec_from_json(written);
    if (!again.ok() || to_json(*again) != written) std::abort();
  }
  if (const auto order = order_from_json(json); order.ok()) {
    const std::string written = to_json(*order);
    const auto again = order_from_json(written);
    if (!again.ok() || to_json(*again) != written) std::abort();
  }
  return 0;
}

// A library that the loader refuses: it needs a symbol that nobody has.

#include <cstdint>

#include "virtufin_worker.h"

extern "C" std::int32_t virtufin_test_symbol_that_nobody_has();

extern "C" std::int32_t Process(const VirtufinHost*, const std::uint8_t*, std::int32_t,
                                std::uint8_t**, std::int32_t*) {
  return virtufin_test_symbol_that_nobody_has();
}
extern "C" void FreeResult(std::uint8_t*) {}

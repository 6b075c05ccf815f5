// The order book payloads of the imbalance worker: a scanner of our own, so any bytes.

#include <cstdint>
#include <string_view>

#include "../../examples/workers/imbalance/book.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  imbalance::Payload payload;
  if (!imbalance::Scanner(text).read(payload)) return 0;
  imbalance::Book book;
  book.update(text, payload);
  book.snapshot(payload);
  if (book.tradable() && !(book.best_bid().price < book.best_ask().price)) __builtin_trap();
  book.gap();
  if (book.tradable()) __builtin_trap();
  return 0;
}

#include "core/uuid.h"

#include <bit>
#include <random>

namespace virtufin {
namespace {

// Frozen: ids that follow from facts must stay the same for ever (tests/unit/core/uuid_test.cpp).
constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;  // the golden ratio's fraction
constexpr std::uint64_t kPi = 0x243f6a8885a308d3;      // and that of pi
constexpr std::uint64_t kEuler = 0xb7e151628aed2a6b;   // and of e
constexpr std::uint64_t kRoot = 0x6a09e667f3bcc909;    // and of the root of 2

/// Every input bit reaches every output bit.
constexpr std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 32;
  x *= kGolden;
  x ^= x >> 29;
  x *= kEuler;
  x ^= x >> 32;
  return x;
}

std::uint64_t little_endian(const char* at, std::size_t size) {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < size; ++i) {
    word |= std::uint64_t{static_cast<unsigned char>(at[i])} << (8 * i);
  }
  return word;
}

struct State {
  std::uint64_t high, low;

  /// One round of a Feistel network: a permutation of the 128 bits, so that what differs before
  /// differs after.
  constexpr void round(std::uint64_t key) {
    const std::uint64_t next = high ^ mix(low + key);
    high = low;
    low = next;
  }
  constexpr void absorb(std::uint64_t word) {
    low ^= word;
    round(kPi);
    round(kRoot);
  }
  void absorb(std::string_view part) {
    absorb(std::uint64_t{part.size()});
    std::size_t at = 0;
    for (; at + 8 <= part.size(); at += 8) absorb(little_endian(part.data() + at, 8));
    if (at < part.size()) absorb(little_endian(part.data() + at, part.size() - at));
  }
};

// "00" to "ff", side by side.
constexpr auto kHexPairs = [] {
  std::array<char, 512> pairs{};
  constexpr char kDigits[] = "0123456789abcdef";
  for (std::size_t i = 0; i < 256; ++i) {
    pairs[2 * i] = kDigits[i / 16];
    pairs[2 * i + 1] = kDigits[i % 16];
  }
  return pairs;
}();

/// The 128 bits as RFC 9562 writes them, with version and variant in their places.
UuidText format(std::uint64_t high, std::uint64_t low, std::uint64_t version) {
  high = (high & ~std::uint64_t{0xf000}) | version << 12;
  low = (low & ~(std::uint64_t{3} << 62)) | std::uint64_t{2} << 62;
  UuidText text;
  std::size_t at = 0;
  for (int byte = 0; byte < 16; ++byte) {
    if (byte == 4 || byte == 6 || byte == 8 || byte == 10) text.chars[at++] = '-';
    const std::uint64_t word = byte < 8 ? high : low;
    const std::size_t value = word >> (56 - 8 * (byte % 8)) & 0xff;
    text.chars[at++] = kHexPairs[2 * value];
    text.chars[at++] = kHexPairs[2 * value + 1];
  }
  return text;
}

/// A thread's generator: a counter, twice through the mixer, with 192 random bits of the system's
/// before, between and as its start. Unique, and not to be guessed by accident; no secret.
class Random {
 public:
  Random() {
    std::random_device device;
    for (std::uint64_t* part : {&counter_, &key_, &offset_}) {
      *part = std::uint64_t{device()} << 32 | device();
    }
  }
  std::uint64_t operator()() {
    counter_ += kGolden;
    return mix(mix(counter_ ^ key_) + offset_);
  }

 private:
  std::uint64_t counter_ = 0, key_ = 0, offset_ = 0;
};

}  // namespace

UuidText random_uuid() {
  thread_local Random random;
  const std::uint64_t high = random();
  const std::uint64_t low = random();
  return format(high, low, 4);
}

UuidHasher::Prefix::Prefix(std::initializer_list<std::string_view> parts) : count_(parts.size()) {
  State state{kPi, kEuler};
  for (const std::string_view part : parts) state.absorb(part);
  high_ = state.high;
  low_ = state.low;
}

UuidHasher UuidHasher::Prefix::with(std::string_view last) const {
  State state{high_, low_};
  state.absorb(last);
  state.absorb(~(count_ + 1));
  return {state.high, state.low};
}

UuidHasher::UuidHasher(std::initializer_list<std::string_view> parts) {
  State state{kPi, kEuler};
  for (const std::string_view part : parts) state.absorb(part);
  state.absorb(~std::uint64_t{parts.size()});
  high_ = state.high;
  low_ = state.low;
}

UuidText UuidHasher::operator()(std::uint64_t number) const {
  State state{high_, low_ ^ number};
  // Keyed by the parts again, so that a number cannot undo the difference of two lists of parts.
  state.round(high_);
  state.round(low_ + kRoot);
  state.round(high_ + kEuler);
  state.round(low_);
  return format(state.high, state.low, 8);
}

}  // namespace virtufin

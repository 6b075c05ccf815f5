#pragma once

#include <absl/base/config.h>

#include <cstddef>
#include <cstdint>

namespace virtufin {

/// Memory for events, which are made and freed at the rate of a feed and are mostly larger than
/// what the C library keeps for a thread (1,032 bytes): each thread keeps a few freed blocks of
/// each size to itself. A block that is freed by another thread than its maker's stays with that
/// one.
///
/// Threads: any. Bound: kKept blocks of each of kClasses sizes a thread; given back when it ends.
struct EventMemory {
  static constexpr std::size_t kStep = 256;  ///< between two sizes
  static constexpr std::size_t kClasses = 16;
  static constexpr std::uint32_t kKept = 32;
#if defined(ABSL_HAVE_ADDRESS_SANITIZER)
  static constexpr bool kKeeps = false;  ///< so that a use after the end is seen
#else
  static constexpr bool kKeeps = true;
#endif

  struct Block {
    void* memory;
    std::uint8_t size_class;  ///< to be said when it is freed
  };
  static Block allocate(std::size_t bytes);
  static void free(Block block) noexcept;
};

}  // namespace virtufin

#include "core/event_memory.h"

#include <array>
#include <new>

namespace virtufin {
namespace {

/// Larger than any block: neither kept nor looked for.
constexpr std::uint8_t kUnkept = EventMemory::kClasses;

struct Freed {
  Freed* next;
};
struct List {
  Freed* first = nullptr;
  std::uint32_t room = 0;  // 0 before the thread's first use and after its end: nothing is kept
};

// Without a destructor, so that finding it costs nothing; Keeper has it.
constinit thread_local std::array<List, EventMemory::kClasses> lists{};
constinit thread_local bool opened = false;

/// Gives a thread's blocks back at its end. Events that are freed after that are not kept.
struct Keeper {
  Keeper() {
    for (List& list : lists) list.room = EventMemory::kKept;
  }
  ~Keeper() {
    for (List& list : lists) {
      list.room = 0;
      while (list.first) {
        Freed* const block = list.first;
        list.first = block->next;
        ::operator delete(block);
      }
    }
  }
};

void open_lists() {
  opened = true;
  thread_local Keeper keeper;
}

}  // namespace

EventMemory::Block EventMemory::allocate(std::size_t bytes) {
  const std::size_t index = (bytes - 1) / kStep;
  if (!kKeeps || index >= kClasses) return {::operator new(bytes), kUnkept};
  List& list = lists[index];
  Freed* const block = list.first;
  if (block) {
    list.first = block->next;
    ++list.room;
    return {block, static_cast<std::uint8_t>(index)};
  }
  return {::operator new((index + 1) * kStep), static_cast<std::uint8_t>(index)};
}

void EventMemory::free(Block block) noexcept {
  if (block.size_class != kUnkept) {
    if (!opened) open_lists();
    List& list = lists[block.size_class];
    if (list.room > 0) {
      --list.room;
      list.first = ::new (block.memory) Freed{list.first};
      return;
    }
  }
  ::operator delete(block.memory);
}

}  // namespace virtufin

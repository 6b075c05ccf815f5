#include "core/event_memory.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/event_writer.h"

using namespace virtufin;

namespace {

std::vector<EventMemory::Block> allocate(std::size_t count, std::size_t bytes) {
  std::vector<EventMemory::Block> blocks;
  for (std::size_t i = 0; i < count; ++i) blocks.push_back(EventMemory::allocate(bytes));
  return blocks;
}
void free(const std::vector<EventMemory::Block>& blocks) {
  for (const auto& block : blocks) EventMemory::free(block);
}
std::set<void*> places(const std::vector<EventMemory::Block>& blocks) {
  std::set<void*> found;
  for (const auto& block : blocks) found.insert(block.memory);
  return found;
}

}  // namespace

TEST_CASE("a thread uses its freed blocks again, those of the same size", "[event]") {
  if (!EventMemory::kKeeps) {
    WARN("blocks are not kept under the address sanitizer");
    return;
  }
  std::thread([] {
    const auto first = allocate(EventMemory::kKept, 1200);
    CHECK(places(first).size() == EventMemory::kKept);
    free(first);
    const auto larger = allocate(4, 2000);
    const auto again = allocate(EventMemory::kKept, 1100);  // of the same class
    CHECK(places(again) == places(first));
    for (void* place : places(larger)) CHECK(places(first).count(place) == 0);
    free(larger);
    free(again);
  }).join();
}

TEST_CASE("blocks of every size hold what they are asked for", "[event]") {
  std::vector<EventMemory::Block> blocks;
  for (std::size_t bytes = 1; bytes < 3 * EventMemory::kStep * EventMemory::kClasses; bytes += 77) {
    blocks.push_back(EventMemory::allocate(bytes));
    std::fill_n(static_cast<char*>(blocks.back().memory), bytes, '7');
  }
  for (std::size_t round = 0; round < 3; ++round) {
    free(blocks);
    std::size_t bytes = 1;
    for (auto& block : blocks) {
      block = EventMemory::allocate(bytes);
      std::fill_n(static_cast<char*>(block.memory), bytes, '8');
      bytes += 77;
    }
  }
  CHECK(places(blocks).size() == blocks.size());
  free(blocks);
}

TEST_CASE("an event is freed by whichever thread lets go of it last", "[event]") {
  EventFields fields;
  fields.id = "1";
  fields.type = "com.virtufin.test";
  fields.source = "urn:test";
  const std::string payload(1500, 'p');
  fields.data = as_bytes(payload);
  for (int round = 0; round < 200; ++round) {
    EventPtr event = *make_event(fields);
    std::thread other([event] { CHECK(event->data().size() == 1500); });
    event.reset();
    other.join();
  }
}

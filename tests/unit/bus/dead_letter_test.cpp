#include "bus/dead_letter.h"

#include <catch2/catch.hpp>

#include "conformance/support.h"

using namespace virtufin;
using namespace virtufin::testing;

TEST_CASE("the dead letter of a dead letter that was published again tells the last failure only") {
  const EventPtr original = make({"first", "t", "s/1", "LIVE", "wall"});
  const auto once = bus::make_dead_letter(*original, "x", "w1", "crash", 4);
  REQUIRE(once.ok());
  const auto twice = bus::make_dead_letter(**once, "x", "w2", "timeout", 1);
  REQUIRE(twice.ok());
  CHECK((*twice)->extension("deadletterid") == (*once)->id());
  CHECK((*twice)->extension("deadletterworker") == "w2");
  CHECK((*twice)->extension("deadletterreason") == "timeout");
  CHECK((*twice)->extension("deadletterattempts") == "1");
  CHECK((*twice)->extension_count() == original->extension_count() + 5);
  CHECK((*twice)->scenario_id() == "LIVE");
}

TEST_CASE("a reason may hold whatever a worker printed") {
  const EventPtr original = make(1);
  const std::string reason = "line\nbell\x07 \xff " + std::string(10'000, 'x');
  const auto letter = bus::make_dead_letter(*original, "a\tb", "w\n", reason, 2);
  REQUIRE(letter.ok());
  CHECK_THAT(std::string((*letter)->extension("deadletterreason")),
             Catch::StartsWith("line\\x0abell\\x07 \\xff "));
  CHECK((*letter)->extension("deadletterreason").size() < 1200);
  CHECK((*letter)->extension("deadlettertopic") == "a\\x09b");
}

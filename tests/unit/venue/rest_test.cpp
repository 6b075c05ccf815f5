#include "modules/venue/rest.h"

#include <catch2/catch.hpp>

namespace virtufin::venue {
namespace {

TEST_CASE("targets are split and decoded") {
  const auto target = Target::parse("/stream?streams=a%40depth%2Fb@trade&x=&y&x=2");
  REQUIRE(target);
  CHECK(target->path == "/stream");
  CHECK(target->value("streams") == "a@depth/b@trade");
  CHECK(target->value("x") == "");
  CHECK(target->value("y") == "");
  CHECK_FALSE(target->value("z"));
  CHECK(Target::parse("/a%2fb")->path == "/a/b");
  CHECK(Target::parse("")->path.empty());
  for (const auto* broken : {"/%", "/%4", "/%4g", "/x?%zz=1", "/x?a=%"}) {
    INFO(broken);
    CHECK_FALSE(Target::parse(broken));
  }
}

}  // namespace
}  // namespace virtufin::venue

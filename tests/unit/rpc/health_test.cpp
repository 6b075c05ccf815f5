#include "rpc/health.h"

#include <catch2/catch.hpp>

#include "core/errors.h"

namespace virtufin::rpc {
namespace {

TEST_CASE("ready is serving with every entry in order") {
  Health health;
  absl::Status broker = absl::OkStatus();
  health.add([&] { return std::vector<HealthEntry>{{"broker", broker}}; });
  health.add([] {
    return std::vector<HealthEntry>{{"a", absl::OkStatus()}, {"b", absl::OkStatus()}};
  });
  CHECK_FALSE(health.serving());
  CHECK_FALSE(health.ready());
  health.set_serving(true);
  CHECK(health.ready());
  CHECK(health.entries().size() == 3);
  broker = unavailable("no connection");
  CHECK_FALSE(health.ready());
  CHECK(health.entries()[0].status == broker);
  broker = absl::OkStatus();
  health.set_serving(false);
  CHECK_FALSE(health.ready());
}

}  // namespace
}  // namespace virtufin::rpc

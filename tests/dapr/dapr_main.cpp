#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#include <cstdio>

#include "dapr/daprd.h"

/// The main of tests that need a sidecar: skipped, with what to install, where there is none.
int main(int argc, char** argv) {
  const std::string& missing = virtufin::testing::dapr_tools().missing;
  if (!missing.empty()) {
    std::fprintf(stderr, "skipped: this test needs %s\n", missing.c_str());
    return 77;
  }
  return Catch::Session().run(argc, argv);
}

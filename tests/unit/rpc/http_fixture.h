#pragma once

#include <catch2/catch.hpp>
#include <memory>

#include "http_client.h"
#include "rows.h"
#include "rpc/server.h"

namespace virtufin::rpc::test {

/// An HTTP server over the rows of rows.h; routes may be added before start().
struct HttpFixture {
  explicit HttpFixture(ServerLimits limits = {})
      : server(std::make_unique<HttpServer>(methods, health, metrics, loops, limits)) {
    add_get_state(methods);
    health.set_serving(true);
    const auto bound = server->bind({"127.0.0.1", 0});
    REQUIRE(bound.ok());
    port = *bound;
  }
  void start() { REQUIRE(server->start().ok()); }
  HttpClient client() const { return HttpClient(port); }

  MethodTable methods;
  Health health;
  Metrics metrics;
  Loops loops{2};
  std::unique_ptr<HttpServer> server;
  std::uint16_t port = 0;
};

}  // namespace virtufin::rpc::test

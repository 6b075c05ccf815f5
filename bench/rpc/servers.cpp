#include "rpc/servers.h"

#include <unistd.h>

#include <cstdio>
#include <stdexcept>

#include "bus/memory/memory_bus.h"
#include "bus/memory/memory_store.h"
#include "core/errors.h"
#include "modules/gateway/gateway.h"
#include "rpc/floors.h"
#include "rpc/server.h"

namespace virtufin::bench {
namespace {

void must(const absl::Status& status) {
  if (!status.ok()) throw std::runtime_error(std::string(virtufin::message(status)));
}

int serve_ours(bool grpc_port) {
  WallClock clock;
  Metrics metrics;
  Loops loops(1);
  BlockingPool blocking("blocking", 1, 16);
  bus::MemoryBus bus({}, metrics);
  auto store = bus::MemoryStore::open({}, clock, metrics);
  must(store.status());
  rpc::MethodTable methods;
  rpc::Health health;
  rpc::HttpServer http(methods, health, metrics, loops, {});
  rpc::GrpcServer grpc(methods, health, metrics, {});
  Platform platform{clock,  bus,     **store, methods,  http,
                    health, metrics, loops,   blocking, "rpc-benchmark"};
  gateway::GatewayModule gateway(platform, {});
  const auto bound = grpc_port ? grpc.bind({"127.0.0.1", 0}) : http.bind({"127.0.0.1", 0});
  must(bound.status());
  must(gateway.start());
  must(grpc.start());
  must(http.start());
  health.set_serving(true);
  (*store)->save({.key = kKey, .value = std::string(kValueBytes, 'v')},
                 [](const absl::StatusOr<std::string>& saved) { must(saved.status()); });
  std::printf("%d\n", *bound);
  std::fflush(stdout);
  char byte = 0;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
  _exit(0);
}

}  // namespace

int serve(const std::string& kind, std::size_t reply_bytes) {
  if (kind == "grpc_floor") return serve_grpc_floor(reply_bytes);
  if (kind == "http_floor") return serve_http_floor(reply_bytes);
  if (kind == "grpc" || kind == "http") return serve_ours(kind == "grpc");
  throw std::runtime_error("no server " + kind);
}

}  // namespace virtufin::bench

#include "dapr/daprd.h"

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string_view>

#include "conformance/support.h"

namespace virtufin::testing {

const DaprTools& dapr_tools() {
  static const DaprTools kTools = [] {
    DaprTools tools;
    if (FILE* script = popen("sh " VIRTUFIN_SOURCE_DIR "/tools/daprd.sh", "r")) {
      char line[4096] = {};
      if (fgets(line, sizeof line, script)) tools.daprd = line;
      if (pclose(script) != 0) tools.daprd.clear();
    }
    while (!tools.daprd.empty() && tools.daprd.back() == '\n') tools.daprd.pop_back();
    tools.redis_server = find_program("redis-server");
    tools.nats_server = find_program("nats-server");
    if (tools.daprd.empty()) {
      tools.missing = "a daprd (the Dapr runtime 1.18 on PATH, or Go to build it)";
    }
    if (tools.redis_server.empty()) {
      tools.missing += tools.missing.empty() ? "" : ", and ";
      tools.missing += "redis-server (Debian package redis-server)";
    }
    return tools;
  }();
  return kTools;
}

std::string Component::yaml() const {
  std::string text = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: " + name +
                     "\nspec:\n  type: " + type + "\n  version: v1\n  metadata:";
  if (metadata.empty()) return text + " []\n";
  text += "\n";
  for (const auto& [key, value] : metadata) {
    text += "  - name: " + key + "\n    value: \"" + value + "\"\n";
  }
  return text;
}

namespace {

/// The policy of config/dapr/redis, without which Redis loses events, for the Redis components
/// alone: it would hold up what NATS JetStream hands to another subscriber at once.
std::string resiliency(const std::vector<Component>& components) {
  std::ifstream file(VIRTUFIN_SOURCE_DIR "/config/dapr/redis/resiliency.yaml");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto replace = [&text](std::string_view what, const std::string& by) {
    const std::size_t at = text.find(what);
    REQUIRE(at != std::string::npos);
    text.replace(at, what.size(), by);
  };
  std::string targets = "targets:\n    components:\n";
  bool any = false;
  for (const Component& component : components) {
    if (component.type != "pubsub.redis") continue;
    targets += "      " + component.name + ":\n        inbound: {retry: handOver}\n";
    any = true;
  }
  replace("DefaultPubsubComponentInboundRetryPolicy", "handOver");
  if (any) replace("targets: {}", targets);
  return text;
}

}  // namespace

RedisServer::RedisServer() { restart(); }

void RedisServer::restart() {
  child_.reset();
  child_ = std::make_unique<Child>(
      std::vector<std::string>{dapr_tools().redis_server, "--port", std::to_string(port_), "--bind",
                               "127.0.0.1", "--save", "", "--appendonly", "no", "--dir",
                               directory_.path().string()},
      directory_.path() / "redis.log");
  const bool up = wait_for_port(port_, *child_);
  INFO(child_->output());
  REQUIRE(up);
}

Daprd::Daprd(Options options) : options_(std::move(options)) {
  std::filesystem::create_directory(directory_.path() / "components");
  for (const Component& component : options_.components) {
    std::ofstream file(directory_.path() / "components" / (component.name + ".yaml"));
    file << component.yaml();
  }
  std::ofstream(directory_.path() / "components" / "resiliency.yaml")
      << resiliency(options_.components);
  if (options_.start) start();
}

void Daprd::start() {
  std::map<std::string, std::string> environment;
  if (!options_.api_token.empty()) environment["DAPR_API_TOKEN"] = options_.api_token;
  child_.reset();
  child_ =
      std::make_unique<Child>(std::vector<std::string>{dapr_tools().daprd,
                                                       "--app-id",
                                                       options_.app_id,
                                                       "--resources-path",
                                                       (directory_.path() / "components").string(),
                                                       "--dapr-grpc-port",
                                                       std::to_string(grpc_port_),
                                                       "--dapr-http-port",
                                                       std::to_string(http_port_),
                                                       "--dapr-internal-grpc-port",
                                                       std::to_string(internal_port_),
                                                       "--dapr-listen-addresses",
                                                       "127.0.0.1",
                                                       "--dapr-internal-grpc-listen-address",
                                                       "127.0.0.1",
                                                       "--enable-metrics=false",
                                                       "--log-level",
                                                       "warn",
                                                       "--dapr-graceful-shutdown-seconds",
                                                       "1"},
                              directory_.path() / "daprd.log", environment);
  const bool up = wait_for_port(grpc_port_, *child_);
  INFO(child_->output());
  REQUIRE(up);
}

void Daprd::stop() {
  if (child_) child_->stop();
}
void Daprd::kill() {
  if (child_) child_->kill();
}
void Daprd::freeze() {
  if (child_) child_->freeze();
}
void Daprd::thaw() {
  if (child_) child_->signal(SIGCONT);
}
bool Daprd::running() { return child_ && child_->running(); }

}  // namespace virtufin::testing

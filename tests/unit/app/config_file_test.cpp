#include <catch2/catch.hpp>

#include <fstream>
#include <sstream>

#include "app/process_config.h"
#include "core/errors.h"

using virtufin::Config;
using virtufin::app::load_config;

namespace {

const std::string kFile = VIRTUFIN_ROOT "/config/virtufin.toml";

/// Without the origins behind the values, which is how the file is written.
std::string without_origins(const std::string& effective) {
  std::istringstream lines(effective);
  std::string out, line;
  while (std::getline(lines, line)) {
    const std::size_t origin = line.rfind("  # ");
    if (!line.starts_with('#') && origin != std::string::npos) line.resize(origin);
    out += line + "\n";
  }
  return out;
}

std::string without_header(const std::string& text) { return text.substr(text.find("\n[") + 1); }

}  // namespace

TEST_CASE("config/virtufin.toml holds every key with its documentation and default") {
  // The one value that is not the default: who writes a file wants to find the state again.
  const auto expected = load_config("", {{"VIRTUFIN_STATE__DURABILITY", "batched"}});
  REQUIRE(expected.ok());
  std::ifstream file(kFile);
  std::stringstream text;
  text << file.rdbuf();
  INFO("to write it again: tools/write_config.sh");
  CHECK(without_header(text.str()) == without_origins(expected->effective));
}

TEST_CASE("config/virtufin.toml is accepted and differs from the defaults by its durability") {
  const auto from_file = load_config(kFile, {});
  INFO(from_file.status());
  REQUIRE(from_file.ok());
  CHECK(from_file->process.state.durability == "batched");
  CHECK(from_file->effective.find("# default\n") == std::string::npos);
}

TEST_CASE("config/container.toml is accepted, reachable from outside and kept on the volume") {
  const auto from_file = load_config(VIRTUFIN_ROOT "/config/container.toml", {});
  INFO(from_file.status());
  REQUIRE(from_file.ok());
  CHECK(from_file->process.gateway.host == "0.0.0.0");
  CHECK(from_file->process.gateway.http_port == 5001);
  CHECK(from_file->process.gateway.grpc_port == 5002);
  CHECK(from_file->process.state.durability == "batched");
  CHECK(from_file->process.state.path == "/var/lib/virtufin/state.db");
}

TEST_CASE("the effective config is accepted as a file and says the same") {
  const auto first = load_config("", {{"VIRTUFIN_GATEWAY__HTTP_PORT", "81"}});
  REQUIRE(first.ok());
  auto again = Config::parse(first->effective, "effective.toml", {});
  REQUIRE(again.ok());
  virtufin::app::ProcessConfig process;
  process.read(*again);
  INFO(again->finish());
  CHECK(again->finish().ok());
  CHECK(process.gateway.http_port == 81);
  CHECK(without_origins(again->effective()) == without_origins(first->effective));
}

#include "core/config.h"

#include <catch2/catch.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/errors.h"

using virtufin::Config;
using virtufin::ConfigSection;
using virtufin::message;

namespace {

/// A few keys of every kind, as rooms declare them.
struct Sample {
  std::string host = "127.0.0.1";
  std::uint16_t port = 5001;
  std::int64_t limit = 10;
  double speed = 1;
  bool open = false;
  std::string mode = "none";
  std::vector<std::string> origins;
  std::map<std::string, std::string> names;
  std::map<std::string, std::string> keys;
  std::string token;
  std::chrono::milliseconds timeout{1000};
  std::string auth_mode = "keys";
  std::vector<std::string> feeds;

  void read(Config& config) {
    ConfigSection gateway = config.section("gateway");
    gateway.value("host", host, "Where to listen.");
    gateway.value("http_port", port, "Port of REST.", {0, 65535});
    gateway.value("limit", limit, "How many.", {1, 100});
    gateway.value("speed", speed, "How fast.");
    gateway.value("open", open, "Whether to.");
    gateway.choice("mode", mode, {"none", "batched", "commit"}, "How safe.");
    gateway.value("origins", origins, "Who may ask.");
    gateway.value("names", names, "Who is who.");
    gateway.value("timeout_ms", timeout, "How long.");
    ConfigSection auth = config.section("gateway.auth");
    auth.value("mode", auth_mode, "How to ask.");
    auth.secrets("keys", keys, "Whom to let in.");
    auth.secret("token", token, "What to show.");
    for (ConfigSection feed : config.section("wsm").tables("feeds", "Feeds to connect.")) {
      std::string venue = "binance";
      feed.value("venue", venue, "Whose.");
      feeds.push_back(venue);
    }
  }
};

Config parse(std::string_view toml, Config::Environment environment = {}) {
  auto config = Config::parse(toml, "v.toml", std::move(environment));
  INFO(config.status());
  REQUIRE(config.ok());
  return std::move(*config);
}

std::string complaints(std::string_view toml, Config::Environment environment = {}) {
  Config config = parse(toml, std::move(environment));
  Sample sample;
  sample.read(config);
  const absl::Status status = config.finish();
  CHECK(status.ok() == message(status).empty());
  return std::string(message(status));
}

struct TemporaryFile {
  explicit TemporaryFile(const std::string& text) {
    std::string name = (std::filesystem::temp_directory_path() / "virtufin-XXXXXX").string();
    const int descriptor = mkstemp(name.data());
    REQUIRE(descriptor >= 0);
    path = name;
    std::FILE* file = fdopen(descriptor, "w");
    std::fwrite(text.data(), 1, text.size(), file);
    std::fclose(file);
  }
  ~TemporaryFile() { std::filesystem::remove(path); }
  std::string path;
};

}  // namespace

TEST_CASE("defaults stand where nothing is given") {
  Config config = parse("");
  Sample sample;
  sample.read(config);
  REQUIRE(config.finish().ok());
  CHECK(sample.host == "127.0.0.1");
  CHECK(sample.port == 5001);
  CHECK(sample.timeout == std::chrono::milliseconds(1000));
  CHECK(sample.feeds.empty());
}

TEST_CASE("the file speaks over the defaults") {
  Config config = parse(R"(
    [gateway]
    host = "0.0.0.0"
    http_port = 80
    limit = 100
    speed = 20
    open = true
    mode = "batched"
    origins = ["a", "b"]
    timeout_ms = 5
    [gateway.names]
    x = "1"
    [gateway.auth]
    mode = "open"
    keys = { alice = "s1" }
    [[wsm.feeds]]
    venue = "kraken"
    [[wsm.feeds]]
  )");
  Sample sample;
  sample.read(config);
  INFO(config.finish());
  REQUIRE(config.finish().ok());
  CHECK(sample.host == "0.0.0.0");
  CHECK(sample.port == 80);
  CHECK(sample.limit == 100);
  CHECK(sample.speed == 20.0);
  CHECK(sample.open);
  CHECK(sample.mode == "batched");
  CHECK(sample.origins == std::vector<std::string>{"a", "b"});
  CHECK(sample.names == std::map<std::string, std::string>{{"x", "1"}});
  CHECK(sample.timeout == std::chrono::milliseconds(5));
  CHECK(sample.auth_mode == "open");
  CHECK(sample.keys == std::map<std::string, std::string>{{"alice", "s1"}});
  CHECK(sample.feeds == std::vector<std::string>{"kraken", "binance"});
}

TEST_CASE("the environment speaks over the file") {
  Config config =
      parse("[gateway]\nhost = \"a\"\nhttp_port = 1\n[gateway.auth]\nkeys = {a=\"1\"}\n",
            {{"VIRTUFIN_GATEWAY__HOST", "b"},
             {"VIRTUFIN_GATEWAY__HTTP_PORT", "8080"},
             {"VIRTUFIN_GATEWAY__SPEED", "2.5"},
             {"VIRTUFIN_GATEWAY__OPEN", "true"},
             {"VIRTUFIN_GATEWAY__MODE", "commit"},
             {"VIRTUFIN_GATEWAY__ORIGINS", "x, y ,z"},
             {"VIRTUFIN_GATEWAY__TIMEOUT_MS", "7"},
             {"VIRTUFIN_GATEWAY__AUTH__MODE", "open"},
             {"VIRTUFIN_GATEWAY__AUTH__KEYS__BOB", "2"},
             {"VIRTUFIN_GATEWAY__AUTH__TOKEN", "t"},
             {"VIRTUFIN_API_HOST", "ignored"},
             {"VIRTUFIN_API_KEY", "ignored"},
             {"HOME", "/"}});
  Sample sample;
  sample.read(config);
  INFO(config.finish());
  REQUIRE(config.finish().ok());
  CHECK(sample.host == "b");
  CHECK(sample.port == 8080);
  CHECK(sample.speed == 2.5);
  CHECK(sample.open);
  CHECK(sample.mode == "commit");
  CHECK(sample.origins == std::vector<std::string>{"x", "y", "z"});
  CHECK(sample.timeout == std::chrono::milliseconds(7));
  CHECK(sample.auth_mode == "open");
  CHECK(sample.keys == std::map<std::string, std::string>{{"a", "1"}, {"bob", "2"}});
  CHECK(sample.token == "t");
}

TEST_CASE("an empty list can come from the environment") {
  Config config = parse("[gateway]\norigins = [\"a\"]\n", {{"VIRTUFIN_GATEWAY__ORIGINS", ""}});
  Sample sample;
  sample.read(config);
  CHECK(sample.origins.empty());
}

TEST_CASE("unknown keys name file, line and the nearest known one") {
  CHECK(complaints("[gateway]\nhots = \"x\"\n") ==
        "v.toml:2: gateway.hots: unknown key; did you mean gateway.host?");
  CHECK(complaints("[gatway]\nhost = \"x\"\n") ==
        "v.toml:1: gatway: unknown section; did you mean gateway?");
  CHECK(complaints("[gateway.auht]\nmode = \"x\"\n") ==
        "v.toml:1: gateway.auht: unknown section; did you mean gateway.auth?");
  CHECK(complaints("http_port = 1\n") ==
        "v.toml:1: http_port: unknown key; did you mean gateway.http_port?");
  CHECK(complaints("\n\n[[wsm.feeds]]\nvenue = \"x\"\nvenu = 1\n") ==
        "v.toml:5: wsm.feeds[0].venu: unknown key; did you mean wsm.feeds[0].venue?");
  CHECK(complaints("[gateway.auth]\nsomething_else_entirely = 1\n") ==
        "v.toml:2: gateway.auth.something_else_entirely: unknown key; known here: mode, keys, "
        "token_file, token");
}

TEST_CASE("unknown names of the environment name the nearest known one") {
  CHECK(complaints("", {{"VIRTUFIN_GATEWAY__HTTP_PROT", "1"}}) ==
        "VIRTUFIN_GATEWAY__HTTP_PROT: gateway.http_prot: unknown key; did you mean "
        "gateway.http_port, VIRTUFIN_GATEWAY__HTTP_PORT?");
  CHECK(complaints("", {{"VIRTUFIN_NOWHERE_NEAR__ANYTHING", "1"}}) ==
        "VIRTUFIN_NOWHERE_NEAR__ANYTHING: nowhere_near.anything: unknown key; unset it");
}

TEST_CASE("wrong types and values out of range are all told, and leave the defaults") {
  Config config = parse(
      "[gateway]\nhost = 1\nhttp_port = \"x\"\nlimit = 101\nspeed = \"fast\"\nopen = 1\n"
      "mode = \"comit\"\norigins = [1]\nnames = 3\ntimeout_ms = -1\nauth = 7\n[wsm]\nfeeds = "
      "[1]\n");
  Sample sample;
  sample.read(config);
  CHECK(message(config.finish()) ==
        "v.toml:2: gateway.host: must be a string, in quotation marks\n"
        "v.toml:3: gateway.http_port: must be an integer\n"
        "v.toml:4: gateway.limit: must be between 1 and 100, not 101\n"
        "v.toml:5: gateway.speed: must be a number\n"
        "v.toml:6: gateway.open: must be true or false\n"
        "v.toml:7: gateway.mode: must be one of none, batched, commit, not 'comit'; did you mean "
        "commit?\n"
        "v.toml:8: gateway.origins: must be a list of strings: [\"a\", \"b\"]\n"
        "v.toml:9: gateway.names: must be a table of strings: { name = \"value\" }\n"
        "v.toml:10: gateway.timeout_ms: must be between 0 and 86400000, not -1\n"
        "v.toml:11: gateway.auth: must be a table: [gateway.auth]\n"
        "v.toml:13: wsm.feeds: must be an array of tables: [[wsm.feeds]]");
  CHECK(config.finish().code() == absl::StatusCode::kInvalidArgument);
  CHECK(sample.host == "127.0.0.1");
  CHECK(sample.port == 5001);
  CHECK(sample.limit == 10);
  CHECK(sample.mode == "none");
}

TEST_CASE("the environment's values are checked by the declared type") {
  CHECK(complaints("", {{"VIRTUFIN_GATEWAY__HTTP_PORT", "80x"},
                        {"VIRTUFIN_GATEWAY__LIMIT", "0"},
                        {"VIRTUFIN_GATEWAY__OPEN", "yes"},
                        {"VIRTUFIN_GATEWAY__SPEED", "nan"},
                        {"VIRTUFIN_GATEWAY__NAMES", "a=b"},
                        {"VIRTUFIN_GATEWAY__HOST", "\xff"}}) ==
        "VIRTUFIN_GATEWAY__HOST: gateway.host: must be UTF-8\n"
        "VIRTUFIN_GATEWAY__HTTP_PORT: gateway.http_port: must be an integer, not '80x'\n"
        "VIRTUFIN_GATEWAY__LIMIT: gateway.limit: must be between 1 and 100, not 0\n"
        "VIRTUFIN_GATEWAY__SPEED: gateway.speed: must be a finite number\n"
        "VIRTUFIN_GATEWAY__OPEN: gateway.open: must be true or false, not 'yes'\n"
        "VIRTUFIN_GATEWAY__NAMES: gateway.names: is a table, which the environment cannot set; set "
        "it in the file");
}

TEST_CASE("an integer is held to its own type's range too") {
  Config config = parse("[a]\nb = 300\nc = -1\nd = 5\n");
  std::uint8_t b = 1;
  std::uint64_t c = 2;
  std::int32_t d = 3;
  ConfigSection section = config.section("a");
  section.value("b", b, "B.", {});
  section.value("c", c, "C.", {});
  section.value("d", d, "D.", {6, std::numeric_limits<std::int64_t>::max()});
  CHECK(message(config.finish()) ==
        "v.toml:2: a.b: must be between 0 and 255, not 300\n"
        "v.toml:3: a.c: must be at least 0, not -1\n"
        "v.toml:4: a.d: must be between 6 and 2147483647, not 5");
  CHECK(b == 1);
  CHECK(c == 2);
  CHECK(d == 3);
}

TEST_CASE("a room's own complaint says where the key is from") {
  Config config = parse("[a]\nb = 1\n", {{"VIRTUFIN_A__C", "2"}});
  std::int64_t b = 0, c = 0, d = 0;
  ConfigSection section = config.section("a");
  section.value("b", b, "B.", {});
  section.value("c", c, "C.", {});
  section.value("d", d, "D.", {});
  section.complain("b", "wrong");
  section.complain("c", "wrong");
  section.complain("d", "wrong");
  CHECK(message(config.finish()) == "v.toml:2: a.b: wrong\nVIRTUFIN_A__C: a.c: wrong\na.d: wrong");
}

TEST_CASE("a file that is not there or does not parse is one clear error") {
  const auto missing = Config::load("/nonexistent/v.toml", {});
  CHECK(missing.status().code() == absl::StatusCode::kNotFound);
  CHECK(message(missing.status()) ==
        "cannot read config file /nonexistent/v.toml: No such file or directory");
  const auto broken = Config::parse("[gateway]\nhost = \n", "v.toml", {});
  CHECK(broken.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(message(broken.status()).starts_with("v.toml:2:8: "));
  CHECK_FALSE(Config::parse("a = 1\na = 2\n", "v.toml", {}).ok());
  CHECK_FALSE(Config::load("/", {}).ok());
}

TEST_CASE("a file is read from disk, an empty one too") {
  const TemporaryFile file("[gateway]\nhost = \"f\"\n");
  auto config = Config::load(file.path, {});
  REQUIRE(config.ok());
  Sample sample;
  sample.read(*config);
  CHECK(config->finish().ok());
  CHECK(sample.host == "f");
  const TemporaryFile empty("");
  CHECK(Config::load(empty.path, {}).ok());
}

TEST_CASE("secrets come from a file and are never printed") {
  const TemporaryFile secret("hunter2\n");
  Config config = parse("[gateway.auth]\ntoken_file = \"" + secret.path +
                        "\"\nkeys = { alice = \"s3cret\" }\n");
  Sample sample;
  sample.read(config);
  REQUIRE(config.finish().ok());
  CHECK(sample.token == "hunter2");
  const std::string text = config.effective();
  CHECK(text.find("hunter2") == std::string::npos);
  CHECK(text.find("s3cret") == std::string::npos);
  CHECK(text.find("keys = { alice = \"***\" }  # v.toml:3\n") != std::string::npos);
  CHECK(text.find("# token = \"***\"  # default\n") != std::string::npos);

  CHECK(complaints("[gateway.auth]\ntoken = \"a\"\ntoken_file = \"" + secret.path + "\"\n") ==
        "v.toml:2: gateway.auth.token: is given, and so is token_file; give one of them");
  CHECK(complaints("[gateway.auth]\ntoken_file = \"/nonexistent/s\"\n") ==
        "v.toml:2: gateway.auth.token_file: cannot read /nonexistent/s");
}

TEST_CASE("the effective config shows value, documentation and origin") {
  Config config = parse("[gateway]\nhttp_port = 81\n", {{"VIRTUFIN_GATEWAY__LIMIT", "5"}});
  std::uint16_t port = 80;
  std::int64_t limit = 1;
  std::string host = "h";
  ConfigSection gateway = config.section("gateway");
  gateway.value("host", host, "Where to listen.");
  gateway.value("http_port", port, "Port of REST.", {0, 65535});
  gateway.value("limit", limit, "How many.", {});
  config.section("wsm").tables("feeds", "Feeds.");
  CHECK(config.effective() ==
        "[gateway]\n"
        "# Where to listen.\n"
        "host = \"h\"  # default\n"
        "# Port of REST.\n"
        "http_port = 81  # v.toml:2\n"
        "# How many.\n"
        "limit = 5  # VIRTUFIN_GATEWAY__LIMIT\n"
        "\n"
        "# Feeds.\n"
        "# [[wsm.feeds]]: none given\n");
}

TEST_CASE("long documentation is wrapped and stays a comment") {
  Config config = parse("");
  bool flag = false;
  config.section("a").value("b", flag, std::string(60, 'x') + " " + std::string(60, 'y') + "\nz");
  CHECK(config.effective() == "[a]\n# " + std::string(60, 'x') + "\n# " + std::string(60, 'y') +
                                  " z\nb = false  # default\n");
}

TEST_CASE("the effective config reads the same") {
  const std::string toml =
      "[gateway]\nhost = \"q\\\"\\\\\\n\\u0001\\u007f ü\"\nlimit = 100\nspeed = 1e300\nopen = "
      "true\n"
      "origins = [\"a,b\", \"\"]\n"
      "[gateway.names]\n\"a b\" = \"x\"\n\"\" = \"y\"\nplain-1 = \"z\"\n"
      "[[wsm.feeds]]\nvenue = \"kraken\"\n[[wsm.feeds]]\nvenue = \"coinbase\"\n";
  Config config = parse(toml, {{"VIRTUFIN_GATEWAY__AUTH__MODE", "\"open\"\n"}});
  Sample first;
  first.read(config);
  INFO(config.finish());
  REQUIRE(config.finish().ok());
  const std::string text = config.effective();

  Config again = parse(text);
  Sample second;
  second.read(again);
  INFO(text);
  INFO(again.finish());
  REQUIRE(again.finish().ok());
  CHECK(second.host == first.host);
  CHECK(second.limit == first.limit);
  CHECK(second.speed == first.speed);
  CHECK(second.open == first.open);
  CHECK(second.origins == first.origins);
  CHECK(second.names == first.names);
  CHECK(second.auth_mode == "\"open\"\n");
  CHECK(second.feeds == std::vector<std::string>{"kraken", "coinbase"});
}

TEST_CASE("doubles keep their value and their kind") {
  for (const double value : {0.1, 1.0, -0.0, 1e-300, 123456789.125, 2.5e17}) {
    Config config = parse("");
    double given = value;
    config.section("a").value("b", given, "B.");
    Config again = parse(config.effective());
    double read = 77;
    again.section("a").value("b", read, "B.");
    CHECK(again.finish().ok());
    CHECK(read == value);
  }
}

TEST_CASE("a section may be read twice") {
  Config config = parse("[gateway]\nhttp_port = 9\n[[wsm.feeds]]\n");
  Sample first, second;
  first.read(config);
  const std::string once = config.effective();
  second.read(config);
  CHECK(second.port == 9);
  CHECK(second.feeds.size() == 1);
  CHECK(config.effective() == once);
  CHECK(config.finish().ok());
}

TEST_CASE("the process's environment is that of the platform's names") {
  setenv("VIRTUFIN_GATEWAY__HOST", "from=env", 1);
  const auto environment = Config::process_environment();
  unsetenv("VIRTUFIN_GATEWAY__HOST");
  CHECK(environment.at("VIRTUFIN_GATEWAY__HOST") == "from=env");
  CHECK(environment.count("PATH") == 0);
}

// Any bytes as a config file, then as the environment: no crash, and what is accepted reads the
// same when it was written and read again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/config.h"

namespace {

using virtufin::Config;

struct Sample {
  bool flag = false;
  std::int64_t number = 1;
  double real = 1;
  std::string text = "t";
  std::string word = "one";
  std::vector<std::string> list;
  std::map<std::string, std::string> table;
  std::vector<std::string> entries;

  bool operator==(const Sample&) const = default;

  bool read(Config& config) {
    auto section = config.section("a");
    section.value("flag", flag, "Flag.");
    section.value("number", number, "Number.", {0, 100});
    section.value("real", real, "Real.");
    section.value("text", text, "Text.");
    section.choice("word", word, {"one", "two"}, "Word.");
    section.value("list", list, "List.");
    section.value("table", table, "Table.");
    auto inner = config.section("a.b");
    std::map<std::string, std::string> keys;
    inner.secrets("keys", keys, "Keys.");
    for (auto entry : section.tables("entries", "Entries.")) {
      std::string name = "n";
      entry.value("name", name, "Name.");
      entries.push_back(name);
    }
    return config.finish().ok();
  }
};

void check(std::string_view toml, Config::Environment environment) {
  auto config = Config::parse(toml, "fuzz", std::move(environment));
  if (!config.ok()) return;
  Sample first;
  const bool accepted = first.read(*config);
  auto again = Config::parse(config->effective(), "again", {});
  Sample second;
  // Even what was refused leaves values that can be written: the defaults.
  if (!again.ok() || !second.read(*again)) std::abort();
  if (accepted && !(second == first)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check(text, {});
  Config::Environment environment;
  constexpr const char* kNames[] = {"FLAG", "NUMBER", "REAL", "TEXT", "WORD", "LIST", "B__KEYS__X"};
  std::size_t at = 0;
  for (const char* name : kNames) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    environment["VIRTUFIN_A__" + std::string(name)] = text.substr(at, end - at);
    at = std::min(end + 1, text.size());
  }
  environment["VIRTUFIN_" + std::string(text.substr(0, 64))] = "x";
  check("", std::move(environment));
  return 0;
}

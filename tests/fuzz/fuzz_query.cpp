// Any bytes as a query, over a few records: no crash, and what is accepted answers the same twice,
// within the prefix that it says.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bus/memory/query.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using virtufin::bus::memory::Query;
  using virtufin::bus::memory::QueryRun;
  // The input is also a value, because values come from outside too.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::vector<std::pair<std::string, std::string>> records{
      {"a.1", R"({"status":"open","qty":2,"legs":[{"s":"BTC"}]})"},
      {"a.2", R"({"status":null,"qty":-1.5e300,"flag":true})"},
      {"b", R"([1,[2,{"x":"y"}],18446744073709551615])"},
      {"c", "not json"},
      {"d", std::string(text)},
  };
  const auto query = Query::parse(text);
  if (!query.ok()) return 0;
  struct Found {
    QueryRun::SortKey sort;
    std::string_view key;
  };
  const auto run_once = [&] {
    QueryRun run(*query);
    std::vector<Found> found;
    for (const auto& [key, value] : records) {
      if (!run.matches(key, value)) continue;
      if (!key.starts_with(query->prefix())) std::abort();
      found.push_back({run.sort_key(), key});
    }
    std::sort(found.begin(), found.end(), [&](const Found& a, const Found& b) {
      const bool before = run.before(a.sort, a.key, b.sort, b.key);
      // An order, or std::sort reads where it must not.
      if (before && run.before(b.sort, b.key, a.sort, a.key)) std::abort();
      return before;
    });
    std::vector<std::string_view> keys;
    for (const Found& one : found) keys.push_back(one.key);
    return keys;
  };
  if (run_once() != run_once()) std::abort();
  return 0;
}

#include "core/uuid.h"

#include <bit>
#include <catch2/catch.hpp>
#include <thread>
#include <unordered_set>
#include <vector>

namespace virtufin {
namespace {

bool well_formed(std::string_view text, char version) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? c != '-' : !hex) return false;
  }
  return text[14] == version && std::string_view("89ab").find(text[19]) != std::string_view::npos;
}

std::vector<int> bits(const UuidText& id) {
  std::vector<int> out;
  for (const char c : id.view()) {
    if (c == '-') continue;
    const int nibble = c <= '9' ? c - '0' : c - 'a' + 10;
    for (int bit = 3; bit >= 0; --bit) out.push_back(nibble >> bit & 1);
  }
  return out;
}

int distance(const UuidText& a, const UuidText& b) {
  const auto x = bits(a), y = bits(b);
  int count = 0;
  for (std::size_t i = 0; i < x.size(); ++i) count += x[i] != y[i];
  return count;
}

}  // namespace

TEST_CASE("random ids are version 4 and differ, in every thread", "[uuid]") {
  std::vector<std::vector<std::string>> made(4);
  std::vector<std::thread> threads;
  for (auto& mine : made) {
    threads.emplace_back([&mine] {
      for (int i = 0; i < 5000; ++i) mine.emplace_back(random_uuid().view());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::unordered_set<std::string> all;
  for (const auto& mine : made) {
    for (const std::string& id : mine) {
      if (!well_formed(id, '4')) FAIL(id);
      all.insert(id);
    }
  }
  CHECK(all.size() == 20'000);
}

TEST_CASE("the same facts have the same id for ever", "[uuid]") {
  // Frozen. A change here changes the ids of facts that others have stored.
  CHECK(UuidHasher({})(0).view() == "e0880738-74cb-832b-800f-6fdd599ebd63");
  CHECK(UuidHasher({""})(0).view() == "30b9d047-1736-8e0a-a743-b30d3abaa8b6");
  CHECK(UuidHasher({"binance", "depth", "BTCUSDT"})(1).view() ==
        "6856599a-4da6-851d-a519-57c492784b1d");
  CHECK(UuidHasher({"binance", "depth", "BTCUSDT"})(~std::uint64_t{0}).view() ==
        "af20924f-7334-8126-9e8b-6c7efcd52a78");
  CHECK(UuidHasher({"0123456789abcdef0", "\xff\x80"})(42).view() ==
        "fff81b2e-ab30-8ef3-9167-0238e7fb2435");
}

TEST_CASE("a prefix is the beginning of the whole list", "[uuid]") {
  CHECK(UuidHasher::Prefix({"binance", "depth"}).with("BTCUSDT")(1).view() ==
        UuidHasher({"binance", "depth", "BTCUSDT"})(1).view());
  CHECK(UuidHasher::Prefix({}).with("")(7).view() == UuidHasher({""})(7).view());
}

TEST_CASE("parts are told apart by where they end", "[uuid]") {
  std::unordered_set<std::string> ids;
  const auto add = [&ids](const UuidHasher& hasher) { ids.emplace(hasher(7).view()); };
  add(UuidHasher({"ab", "c"}));
  add(UuidHasher({"a", "bc"}));
  add(UuidHasher({"abc"}));
  add(UuidHasher({"abc", ""}));
  add(UuidHasher({"", "abc"}));
  add(UuidHasher({std::string_view("abc\0", 4)}));
  add(UuidHasher({"c", "ab"}));
  CHECK(ids.size() == 7);
}

TEST_CASE("hashed ids are version 8 and differ", "[uuid]") {
  std::unordered_set<std::string> ids;
  for (int symbol = 0; symbol < 100; ++symbol) {
    const UuidHasher hasher({"binance", "depth", std::to_string(symbol)});
    for (std::uint64_t number = 0; number < 1000; ++number) {
      const UuidText id = hasher(number);
      if (!well_formed(id.view(), '8')) FAIL(id.view());
      ids.emplace(id.view());
    }
  }
  CHECK(ids.size() == 100'000);
}

TEST_CASE("one bit more in a number or a part changes half of an id", "[uuid]") {
  // 122 of the bits are free: 61 change on average, with a deviation of 5.5 for one pair.
  const UuidHasher hasher({"binance", "trade", "BTCUSDT"});
  for (int bit = 0; bit < 64; ++bit) {
    double total = 0;
    constexpr int kNumbers = 200;
    for (std::uint64_t number = 0; number < kNumbers; ++number) {
      total += distance(hasher(number), hasher(number ^ std::uint64_t{1} << bit));
    }
    INFO("bit " << bit << " of the number");
    CHECK(total / kNumbers == Approx(61).margin(2.5));
  }
  const std::string part = "0123456789abcdefghi";
  for (std::size_t bit = 0; bit < part.size() * 8; ++bit) {
    std::string other = part;
    other[bit / 8] = static_cast<char>(other[bit / 8] ^ 1 << bit % 8);
    double total = 0;
    constexpr int kNumbers = 200;
    for (std::uint64_t number = 0; number < kNumbers; ++number) {
      total += distance(UuidHasher({part})(number), UuidHasher({other})(number));
    }
    INFO("bit " << bit << " of a part");
    CHECK(total / kNumbers == Approx(61).margin(2.5));
  }
}

}  // namespace virtufin

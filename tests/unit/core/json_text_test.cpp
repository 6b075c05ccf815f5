#include "core/json_text.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace virtufin;

namespace {

std::string quoted(std::string_view text) {
  std::string out = "x";
  append_json_string(out, text);
  return out.substr(1);
}

}  // namespace

TEST_CASE("text becomes a JSON string: as it is, escaped, or mended", "[json]") {
  CHECK(quoted("") == R"("")");
  CHECK(quoted("sc.LIVE.orders ~") == R"("sc.LIVE.orders ~")");
  CHECK(quoted("a\"b\\c") == R"("a\"b\\c")");
  CHECK(quoted("\n\r\t") == R"("\n\r\t")");
  CHECK(quoted(std::string_view("\0\x1f", 2)) == R"("\u0000\u001f")");
  CHECK(quoted("\x7f") == "\"\x7f\"");
  CHECK(quoted("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"") ==
        "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\\\"\"");
  CHECK(quoted("a\xff\xc3") == "\"a\xef\xbf\xbd\xef\xbf\xbd\"");
}

TEST_CASE("an object is built member by member", "[json]") {
  JsonObject object;
  object.text("name", "a\"b").number("count", 7).boolean("yes", true).raw("list", "[1]");
  CHECK(std::move(object).finish() == R"({"name":"a\"b","count":7,"yes":true,"list":[1]})");
  CHECK(JsonObject().finish() == "{}");
  JsonObject large;
  large.text("text", std::string(10'000, 'p'));
  CHECK(std::move(large).finish() == "{\"text\":\"" + std::string(10'000, 'p') + "\"}");
  CHECK(json_array(std::vector<std::string>{"a", "b"}) == R"(["a","b"])");
}

#include <catch2/catch.hpp>

#include "core/errors.h"
#include "core/event_codec.h"
#include "core/json_check.h"
#include "event_samples.h"

namespace virtufin {
namespace {

using Catch::Contains;
using test::describe;

EventPtr read(std::string_view json, DecodeOptions options = {}) {
  auto event = event_from_json(json, options);
  INFO(json);
  INFO(message(event.status()));
  REQUIRE(event.ok());
  REQUIRE(test::verifies(**event));
  return *event;
}

std::string refused(std::string_view json) {
  const auto event = event_from_json(json);
  INFO(json);
  REQUIRE_FALSE(event.ok());
  CHECK(event.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(message(event.status()));
}

constexpr std::string_view kHead = R"({"specversion":"1.0","id":"1","source":"s","type":"t")";

/// The least event with more members behind.
std::string with(std::string_view members) { return std::string(kHead).append(members) + "}"; }

std::string rewritten(std::string_view members) {
  const std::string json = to_json(*read(with(members)));
  CHECK(json.starts_with(kHead));
  return json.substr(kHead.size(), json.size() - kHead.size() - 1);
}

EventPtr made(const EventFields& fields) { return make_event(fields).value(); }

EventPtr with_data(std::string_view type, std::string_view data, DataKind kind) {
  EventFields fields = test::small_fields();
  fields.data_content_type = type;
  fields.data = as_bytes(data);
  fields.data_kind = kind;
  return made(fields);
}

}  // namespace

TEST_CASE("JSON comes back as it came", "[event][json]") {
  for (
      const char* members : {
          "",
          R"(,"datacontenttype":"application/json","dataschema":"urn:x","subject":"a/b")",
          R"(,"time":"2026-01-31T13:34:56+01:00")",
          R"(,"text":"x","flag":true,"off":false,"count":-2147483648,"most":2147483647,"empty":"")",
          R"(,"zz":"1","aa":"2","mm":"3")",
          R"(,"note":"grün \"q\" \\ 日本 😀")",
          R"(,"market.lane":"hyp","market.selector":"x")",
          R"(,"data":{"b":1,"a":[1.10,12345678901234567890123,1e400,-0.0]})",
          R"(,"data":[])",
          R"(,"data":null)",
          R"(,"data":true)",
          R"(,"data":0.10)",
          R"(,"data":"text")",
          R"(,"data":"\ud800 half a pair")",
          R"(,"datacontenttype":"text/plain","data":"two\nlines\t\u0001\"\\")",
          R"(,"datacontenttype":"text/plain","data":"")",
          R"(,"datacontenttype":"application/xml","data":"<x/>")",
          R"(,"datacontenttype":"application/xml","data":{"not":"xml"})",
          R"(,"datacontenttype":"application/vnd.x+json","data":"text")",
          R"(,"data_base64":"AAH/gA==")",
          R"(,"data_base64":"")",
          R"(,"datacontenttype":"application/json","data_base64":"e30=")",
      }) {
    CHECK(rewritten(members) == members);
  }
}

TEST_CASE("the order of members in JSON is kept for extensions, and data may stand anywhere",
          "[event][json]") {
  const EventPtr event = read(
      R"( { "data" : { "x" : [ 1 , 2 ] } , "b":"2", "type":"t", "correlationid":"c", "id":"1",
            "a" : 1 , "source":"s", "specversion":"1.0", "subject":null, "nothing":null } )");
  CHECK(describe(*event) ==
        "id = 1\ntype = t\nsource = s\nspecversion = 1.0\ndatacontenttype = \ndataschema = \n"
        "subject = \ntime = \nextension correlationid kind 0 = c\nextension b kind 0 = 2\n"
        "extension a kind 2 = 1\ndata = { \"x\" : [ 1 , 2 ] }\ndata_kind = 3\n");
}

TEST_CASE("escapes in JSON are read, in names too", "[event][json]") {
  const EventPtr event = read(with(R"(,"\u0074ext":"\u00e9\ud83d\ude00\/","d\u0061ta":"\u0041")"));
  CHECK(event->extension("text") == "é😀/");
  CHECK(as_text(event->data()) == R"("\u0041")");
}

TEST_CASE("an event's JSON is one line", "[event][json]") {
  const std::string json =
      to_json(*read(with(",\"data\":{\r\n  \"a\": \"b c\",\n \"d\": [1,\n2]}")));
  CHECK_THAT(json, Contains(R"("data":{"a":"b c","d":[1,2]})"));
  CHECK(json.find('\n') == std::string::npos);
}

TEST_CASE("data goes out as what it is", "[event][json]") {
  const auto written = [](std::string_view type, std::string_view data, DataKind kind) {
    const std::string json = to_json(*with_data(type, data, kind));
    return json.substr(json.rfind("\"data"));
  };
  using enum DataKind;
  CHECK(written("", "{}", kByContentType) == R"("data":{}})");
  CHECK(written("", "{", kByContentType) == R"("data_base64":"ew=="})");
  CHECK(written("", "", kByContentType) == R"("data_base64":""})");
  CHECK(written("application/json; charset=utf-8", " 1 ", kByContentType) == R"("data":1})");
  CHECK(written("Application/Cloud+JSON", "1", kByContentType) == R"("data":1})");
  CHECK(written("text/plain", "1", kByContentType) == R"("data":"1"})");
  CHECK(written("TEXT/csv", "a,b", kByContentType) == R"("data":"a,b"})");
  CHECK(written("text/plain", "\xff", kByContentType) == R"("data_base64":"/w=="})");
  CHECK(written("application/avro", "1", kByContentType) == R"("data_base64":"MQ=="})");
  CHECK(written("application/json", "1", kBinary) == R"("data_base64":"MQ=="})");
  CHECK(written("application/avro", "1", kText) == R"("data":"1"})");
  CHECK(written("text/plain", "\xff", kText) == R"("data_base64":"/w=="})");
  CHECK(written("text/plain", R"({"a":1})", kJson) == R"("data":{"a":1}})");
  CHECK(written("text/plain", R"("a")", kJson) == R"("data":"\"a\""})");
  CHECK(written("", "no json", kJson) == R"("data_base64":"bm8ganNvbg=="})");
  CHECK(written("", "any", kProto) == R"("data_base64":"YW55"})");
}

TEST_CASE("an event of all attributes comes back from JSON", "[event][json]") {
  // JSON has no kinds for bytes, URIs and timestamps: those come back as strings.
  auto extensions = test::extensions_of_all_kinds();
  EventFields fields = test::market_fields(extensions);
  fields.data_schema = "https://virtufin.com/schema";
  fields.data_kind = DataKind::kJson;
  const EventPtr event = made(fields);
  for (Extension& extension : extensions) {
    if (extension.kind > AttributeKind::kInteger) extension.kind = AttributeKind::kString;
  }
  CHECK(describe(*read(to_json(*event))) == describe(*made(fields)));
}

TEST_CASE("worker config keys pass where they are allowed", "[event][json]") {
  const std::string json = with(R"(,"api_host":"h","Max Size":"3")");
  CHECK_THAT(refused(json), Contains("'api_host'"));
  CHECK(to_json(*read(json, {.config_names = true})) == json);
}

TEST_CASE("what is no event in JSON is refused with the attribute's name", "[event][json]") {
  CHECK_THAT(refused(R"({"id":"1","source":"s","type":"t"})"), Contains("'specversion'"));
  CHECK_THAT(refused(R"({"specversion":"1.0","source":"s","type":"t"})"), Contains("'id'"));
  CHECK_THAT(refused(R"({"specversion":"1.0","id":"1","type":"t"})"), Contains("'source'"));
  CHECK_THAT(refused(R"({"specversion":"1.0","id":"1","source":"s"})"), Contains("'type'"));
  CHECK_THAT(refused(R"({"specversion":1.0,"id":"1","source":"s","type":"t"})"),
             Contains("'specversion'") && Contains("1.0"));
  CHECK_THAT(refused(with(R"(,"id":"2")")), Contains("'id'") && Contains("twice"));
  CHECK_THAT(refused(with(R"(,"a":"2","a":"2")")), Contains("'a'") && Contains("twice"));
  CHECK_THAT(refused(with(R"(,"data":1,"data":1)")), Contains("'data'") && Contains("twice"));
  CHECK_THAT(refused(with(R"(,"data":1,"data_base64":"")")), Contains("'data_base64'"));
  CHECK_THAT(refused(with(R"(,"data_base64":"*")")), Contains("'data_base64'"));
  CHECK_THAT(refused(with(R"(,"data_base64":1)")), Contains("'data_base64'"));
  CHECK_THAT(refused(with(R"(,"subject":5)")), Contains("'subject'") && Contains("5"));
  CHECK_THAT(refused(with(R"(,"time":"noon")")), Contains("'time'"));
  CHECK_THAT(refused(with(R"(,"x":1.5)")), Contains("'x'") && Contains("1.5"));
  CHECK_THAT(refused(with(R"(,"x":2147483648)")), Contains("'x'"));
  CHECK_THAT(refused(with(R"(,"x":{"y":1})")), Contains("'x'") && Contains("{\"y\":1}"));
  CHECK_THAT(refused(with(R"(,"x":[])")), Contains("'x'"));
  CHECK_THAT(refused(with(R"(,"x":"\ud800")")), Contains("'x'"));
  CHECK_THAT(refused(with(R"(,"X":"1")")), Contains("'X'"));
  CHECK_THAT(refused(with(R"(,"":"1")")), Contains("''"));
  CHECK_THAT(refused("[]"), Contains("object"));
  CHECK_THAT(refused(""), Contains("JSON"));
  CHECK_THAT(refused("{"), Contains("JSON"));
  CHECK_THAT(refused(std::string(kHead) + "} x"), Contains("JSON"));
  CHECK_THAT(refused(with(",\"data\":{\"a\":tru}")), Contains("JSON"));
  CHECK_THAT(refused(with(",\"x\":\"\xff\"")), Contains("UTF-8"));
}

TEST_CASE("JSON nests to a bound", "[event][json]") {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  CHECK(is_json(nested(kMaxJsonDepth)));
  CHECK_FALSE(is_json(nested(kMaxJsonDepth + 1)));
  const std::string deepest = R"(,"data":)" + nested(kMaxJsonDepth);
  CHECK(rewritten(deepest) == deepest);
  CHECK_THAT(refused(with(R"(,"data":)" + nested(kMaxJsonDepth + 1))), Contains("levels"));
}

TEST_CASE("large JSON is read", "[event][json]") {
  const std::string members = R"(,"data":")" + std::string(1 << 20, 'x') + "\"";
  CHECK(rewritten(members) == members);
}

TEST_CASE("is_json follows the grammar", "[json]") {
  for (const char* json :
       {"{}", "[]", " [ ] ", "0", "-0", "1.5e+10", "1E-2", "\"\"", "true", "false", "null",
        "[1,[2,{\"a\":[]}],{}]", "{\"a\":1,\"a\":2}", "\"\\u12aF\\n\\\\\"", "\t\r\n1", "[{},{}]",
        "123456789012345678901234"}) {
    INFO(json);
    CHECK(is_json(json));
  }
  for (const char* json : {"",
                           " ",
                           "{",
                           "}",
                           "[1,]",
                           "[,1]",
                           "[1 2]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{a:1}",
                           "{1:1}",
                           "01",
                           "-",
                           "+1",
                           "1.",
                           ".5",
                           "1e",
                           "1e+",
                           "tru",
                           "truee",
                           "nul",
                           "'a'",
                           "\"a",
                           "\"\n\"",
                           "\"\\x\"",
                           "\"\\u12g4\"",
                           "\"\\u12",
                           "[1}",
                           "{\"a\":1]",
                           "1 2",
                           "[]]",
                           "\xff",
                           "\"\xc0\x80\"",
                           "NaN",
                           "[1]//",
                           "\xef\xbb\xbf{}"}) {
    INFO(json);
    CHECK_FALSE(is_json(json));
  }
}

}  // namespace virtufin

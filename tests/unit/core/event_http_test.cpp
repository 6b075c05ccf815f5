#include <catch2/catch.hpp>
#include <map>

#include "core/errors.h"
#include "core/event_codec.h"
#include "event_samples.h"

namespace virtufin {
namespace {

using Catch::Contains;
using test::describe;
using Headers = std::vector<HttpHeader>;

const Headers kLeast = {
    {"ce-specversion", "1.0"}, {"ce-id", "1"}, {"ce-source", "s"}, {"ce-type", "t"}};

Headers with(Headers more) {
  more.insert(more.begin(), kLeast.begin(), kLeast.end());
  return more;
}

EventPtr read(const Headers& headers, std::string_view body = {}) {
  auto event = event_from_http(headers, body);
  INFO(message(event.status()));
  REQUIRE(event.ok());
  return *event;
}

std::string refused(const Headers& headers) {
  const auto event = event_from_http(headers, "");
  REQUIRE_FALSE(event.ok());
  CHECK(event.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(message(event.status()));
}

EventPtr back(const Event& event) {
  const auto http = to_http(event);
  REQUIRE(http.ok());
  Headers headers;
  for (const auto& [name, value] : http->headers) {
    for (const char c : value) REQUIRE((c > 0x20 && c < 0x7f));
    headers.emplace_back(name, value);
  }
  return read(headers, http->body);
}

}  // namespace

TEST_CASE("headers become attributes, whatever their case", "[event][http]") {
  const EventPtr event = read({{"Host", "x"},
                               {"CE-SpecVersion", "1.0"},
                               {"Ce-Id", " 1 "},
                               {"ce-source", "/s"},
                               {"ce-type", "t"},
                               {"ce-time", "2026-01-31T12:34:56Z"},
                               {"ce-dataschema", "urn:x"},
                               {"ce-subject", "a/b"},
                               {"ce-zz", "%E2%82%AC%20100%25"},
                               {"ce-correlationid", "c"},
                               {"ce-AA", "\"quoted \\\"x\\\"\""},
                               {"ce-market.lane", "act"},
                               {"Content-Type", "text/plain"}},
                              "body");
  CHECK(describe(*event) ==
        "id = 1\ntype = t\nsource = /s\nspecversion = 1.0\ndatacontenttype = text/plain\n"
        "dataschema = urn:x\nsubject = a/b\ntime = 2026-01-31T12:34:56Z\n"
        "extension correlationid kind 0 = c\nextension zz kind 0 = € 100%\n"
        "extension aa kind 0 = quoted \"x\"\nextension market.lane kind 0 = act\n"
        "data = body\ndata_kind = 0\n");
  CHECK(describe(*back(*event)) == describe(*event));
}

TEST_CASE("an event of all attributes comes back from HTTP", "[event][http]") {
  // Headers have no kinds: all come back as strings, and data by its content type.
  auto extensions = test::extensions_of_all_kinds();
  EventFields fields = test::market_fields(extensions);
  fields.subject = "währung/ \"%41\"";
  fields.data_schema = "https://virtufin.com/schema";
  const EventPtr event = make_event(fields).value();
  for (Extension& extension : extensions) extension.kind = AttributeKind::kString;
  CHECK(describe(*back(*event)) == describe(**make_event(fields)));
}

TEST_CASE("data in HTTP: absent, empty, binary", "[event][http]") {
  CHECK_FALSE(read(kLeast)->has_data());
  CHECK_FALSE(back(*read(kLeast))->has_data());
  const EventPtr empty = read(with({{"content-type", "application/json"}}));
  CHECK(empty->has_data());
  CHECK(empty->data().empty());
  CHECK(describe(*back(*empty)) == describe(*empty));
  const std::string bytes("\0\xff\r\n", 4);
  const EventPtr binary = read(with({{"content-type", "application/octet-stream"}}), bytes);
  CHECK(as_text(binary->data()) == bytes);
  CHECK(describe(*back(*binary)) == describe(*binary));
}

TEST_CASE("headers are percent-encoded as the binding says", "[event][http]") {
  const std::vector<Extension> extensions = {{"note", "Euro € 😀 \"50%\"~!"}};
  EventFields fields = test::small_fields();
  fields.extensions = extensions;
  const auto http = to_http(*make_event(fields).value());
  REQUIRE(http.ok());
  const std::map<std::string, std::string> headers(http->headers.begin(), http->headers.end());
  CHECK(headers.at("ce-note") == "Euro%20%E2%82%AC%20%F0%9F%98%80%20%2250%25%22~!");
  CHECK(headers.contains("content-type") == false);
}

TEST_CASE("what is no event in HTTP is refused with the attribute's name", "[event][http]") {
  CHECK_THAT(refused({}), Contains("'id'"));
  CHECK_THAT(refused({{"ce-id", "1"}, {"ce-source", "s"}, {"ce-type", "t"}}),
             Contains("'specversion'"));
  CHECK_THAT(refused(with({{"CE-ID", "2"}})), Contains("ce-id") && Contains("twice"));
  CHECK_THAT(refused(with({{"ce-x", "2"}, {"ce-x", "2"}})), Contains("'x'") && Contains("twice"));
  CHECK_THAT(refused(with({{"ce-x", "100%"}})), Contains("'x'") && Contains("%25"));
  CHECK_THAT(refused(with({{"ce-x", "%4"}})), Contains("'x'"));
  CHECK_THAT(refused(with({{"ce-x", "%zz"}})), Contains("'x'"));
  CHECK_THAT(refused(with({{"ce-x", "%FF"}})), Contains("'x'") && Contains("UTF-8"));
  CHECK_THAT(refused(with({{"ce-x", "a%0Ab"}})), Contains("'x'") && Contains("U+000A"));
  CHECK_THAT(refused(with({{"ce-", "2"}})), Contains("''"));
  CHECK_THAT(refused(with({{"ce-data", "2"}})), Contains("'data'"));
  CHECK_THAT(refused(with({{"ce-datacontenttype", "a/b"}})), Contains("'datacontenttype'"));
  CHECK_THAT(refused(with({{"ce-time", "noon"}})), Contains("'time'"));
}

TEST_CASE("a name that no header can have is refused", "[event][http]") {
  for (const char* name : {"Upper", "with space", "a:b"}) {
    const std::vector<Extension> extensions = {{name, "x"}};
    EventFields fields = test::small_fields();
    fields.extensions = extensions;
    fields.config_names = true;
    const auto http = to_http(*make_event(fields).value());
    REQUIRE_FALSE(http.ok());
    CHECK_THAT(std::string(message(http.status())), Contains(name));
  }
}

}  // namespace virtufin

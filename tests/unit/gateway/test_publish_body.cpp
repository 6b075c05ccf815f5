#include <catch2/catch.hpp>

#include "core/errors.h"
#include "core/event_codec.h"
#include "modules/gateway/publish_body.h"

namespace virtufin::gateway {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

EventPtr parsed(const Headers& headers, std::string_view body) {
  auto event = event_from_publish_body(headers, body);
  INFO(event.status().ToString());
  REQUIRE(event.ok());
  return *std::move(event);
}

std::string refused(const Headers& headers, std::string_view body) {
  const auto event = event_from_publish_body(headers, body);
  REQUIRE_FALSE(event.ok());
  CHECK(event.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(message(event.status()));
}

constexpr std::string_view kStructured =
    R"({"specversion":"1.0","id":"i","source":"/s","type":"t","subject":"a/b","zebra":"z","data":{"x":1.50}})";

TEST_CASE("a structured event, by content type or by its members") {
  for (const Headers& headers :
       {Headers{{"content-type", "application/cloudevents+json"}},
        Headers{{"CONTENT-TYPE", "Application/CloudEvents+JSON ; charset=UTF-8"}},
        Headers{{"content-type", "application/json"}}, Headers{}}) {
    const EventPtr event = parsed(headers, kStructured);
    CHECK(event->id() == "i");
    CHECK(event->source() == "/s");
    CHECK(event->type() == "t");
    CHECK(event->subject() == "a/b");
    CHECK(event->extension("zebra") == "z");
    CHECK(as_text(event->data()) == R"({"x":1.50})");
    CHECK(event->time().empty());
  }
}

TEST_CASE("binary mode") {
  const EventPtr event = parsed({{"CE-Id", "i"},
                                 {"ce-source", "/s"},
                                 {"ce-type", "t"},
                                 {"ce-specversion", "1.0"},
                                 {"ce-scenarioid", "LIVE"},
                                 {"Content-Type", "application/octet-stream"}},
                                std::string_view("\0\x01", 2));
  CHECK(event->id() == "i");
  CHECK(event->scenario_id() == "LIVE");
  CHECK(event->data_content_type() == "application/octet-stream");
  CHECK(as_text(event->data()) == std::string_view("\0\x01", 2));
  CHECK_THAT(refused({{"ce-id", "i"}, {"ce-specversion", "1.0"}, {"ce-type", "t"}}, ""),
             Catch::Contains("source"));
}

TEST_CASE("an event in the member cloudevent, as structured JSON") {
  const EventPtr event =
      parsed({{"content-type", "application/json"}},
             "{ \"topic\":\"ignored\", \"cloudevent\" : " + std::string(kStructured) + " } ");
  CHECK(to_json(*event) == to_json(*parsed({}, kStructured)));
}

TEST_CASE("an event in the member cloudevent, in the proto3 mapping") {
  for (const char* version : {"specVersion", "spec_version"}) {
    const EventPtr event = parsed(
        {},
        std::string(R"({"cloudevent":{"id":"i","source":"/s","type":"t",")") + version +
            R"(":"1.0","attributes":{"subject":{"ceString":"a/b"},"n":{"ceInteger":5}},"textData":"hello"}})");
    CHECK(event->id() == "i");
    CHECK(event->subject() == "a/b");
    CHECK(event->extension("n") == "5");
    CHECK(event->extension_at(0).kind == AttributeKind::kInteger);
    CHECK(as_text(event->data()) == "hello");
  }
  CHECK_THAT(refused({}, R"({"cloudevent":{"specVersion":"1.0","id":"i","nonsense":1}})"),
             Catch::Contains("nonsense"));
}

TEST_CASE("the old form") {
  const EventPtr event = parsed({}, R"({"data":"aGVsbG8="})");
  CHECK(event->type() == "com.virtufin.api.message");
  CHECK(event->source() == "urn:com.virtufin.api");
  CHECK(event->id().size() == 36);
  CHECK(event->spec_version() == "1.0");
  CHECK(as_text(event->data()) == "hello");
  CHECK(event->time().empty());
  CHECK(parsed({}, R"({"data":"aGVsbG8="})")->id() != event->id());
  CHECK(parsed({}, R"({"topic":"t","data":""})")->has_data());
}

TEST_CASE("what is none of the forms is refused with a reason") {
  CHECK_THAT(refused({}, ""), Catch::Contains("JSON object"));
  CHECK_THAT(refused({}, "[1]"), Catch::Contains("JSON object"));
  CHECK_THAT(refused({}, "{}"), Catch::Contains("no event"));
  CHECK_THAT(refused({}, "{\"data\":"), Catch::Contains("JSON object"));
  CHECK_THAT(refused({}, R"({"data":"a*b"})"), Catch::Contains("a*b"));
  CHECK_THAT(refused({}, R"({"data":5})"), Catch::Contains("no event"));
  CHECK_THAT(refused({}, R"({"data":"","cloudevent":{}})"), Catch::Contains("no event"));
  CHECK_THAT(refused({}, R"({"cloudevent":"x"})"), Catch::Contains("cloudevent"));
  CHECK_THAT(refused({}, R"({"cloudevent":{}})"), Catch::Contains("specversion"));
  CHECK_THAT(refused({}, R"({"cloudevent":{},"cloudevent":{}})"), Catch::Contains("twice"));
  CHECK_THAT(refused({}, R"({"message":"x"})"), Catch::Contains("'message'"));
  CHECK_THAT(refused({}, R"({"data":"aGVsbG8="} {})"), Catch::Contains("goes on"));
  CHECK_THAT(refused({{"content-type", "application/cloudevents-batch+json"}}, "[]"),
             Catch::Contains("cloudevents-batch"));
  CHECK_THAT(refused({{"content-type", "application/cloudevents+json"}},
                     R"({"specversion":"1.0","source":"s","type":"t"})"),
             Catch::Contains("id"));
}

}  // namespace
}  // namespace virtufin::gateway

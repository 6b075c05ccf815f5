#include <google/protobuf/any.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/message_differencer.h>
#include <io/cloudevents/v1/cloudevents.pb.h>

#include <catch2/catch.hpp>
#include <functional>

#include "core/errors.h"
#include "core/event_codec.h"
#include "event_samples.h"

namespace virtufin {
namespace {

namespace ce = io::cloudevents::v1;
using Catch::Contains;
using test::describe;

ce::CloudEvent least() {
  ce::CloudEvent proto;
  proto.set_id("1");
  proto.set_source("s");
  proto.set_spec_version("1.0");
  proto.set_type("t");
  return proto;
}

EventPtr read(const ce::CloudEvent& proto) {
  auto event = event_from_proto(proto);
  INFO(message(event.status()));
  REQUIRE(event.ok());
  REQUIRE(test::verifies(**event));
  return *event;
}

ce::CloudEvent written(const Event& event) {
  ce::CloudEvent proto;
  proto.set_id("what was there before");
  to_proto(event, proto);
  return proto;
}

void check_returns(const ce::CloudEvent& proto) {
  const ce::CloudEvent again = written(*read(proto));
  INFO(proto.DebugString());
  INFO(again.DebugString());
  CHECK(google::protobuf::util::MessageDifferencer::Equals(proto, again));
}

std::string refused(const std::function<void(ce::CloudEvent&)>& change) {
  ce::CloudEvent proto = least();
  change(proto);
  const auto event = event_from_proto(proto);
  REQUIRE_FALSE(event.ok());
  CHECK(event.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(message(event.status()));
}

ce::CloudEventAttributeValue& attribute(ce::CloudEvent& proto, const std::string& name) {
  return (*proto.mutable_attributes())[name];
}

}  // namespace

TEST_CASE("a protobuf of all attribute types comes back as it came", "[event][proto]") {
  ce::CloudEvent proto = least();
  attribute(proto, "subject").set_ce_string("a/b");
  attribute(proto, "datacontenttype").set_ce_string("application/json");
  attribute(proto, "dataschema").set_ce_uri("urn:x");
  attribute(proto, "time").mutable_ce_timestamp()->set_seconds(1'769'862'896);
  attribute(proto, "flag").set_ce_boolean(true);
  attribute(proto, "off").set_ce_boolean(false);
  attribute(proto, "low").set_ce_integer(std::numeric_limits<std::int32_t>::min());
  attribute(proto, "zero").set_ce_integer(0);
  attribute(proto, "text").set_ce_string("grün");
  attribute(proto, "empty").set_ce_string("");
  attribute(proto, "raw").set_ce_bytes(std::string("\0\xff\x80", 3));
  attribute(proto, "none").set_ce_bytes("");
  attribute(proto, "link").set_ce_uri("https://virtufin.com");
  attribute(proto, "ref").set_ce_uri_ref("/x");
  attribute(proto, "first").mutable_ce_timestamp()->set_seconds(-62'135'596'800);
  auto* last = attribute(proto, "last").mutable_ce_timestamp();
  last->set_seconds(253'402'300'799);
  last->set_nanos(999'999'999);
  check_returns(proto);
  CHECK(read(proto)->time() == "2026-01-31T12:34:56.000000000Z");
}

TEST_CASE("data of every kind comes back from protobuf", "[event][proto]") {
  ce::CloudEvent proto = least();
  check_returns(proto);
  CHECK_FALSE(read(proto)->has_data());
  for (const char* type : {"", "application/json", "text/plain", "application/xml"}) {
    if (*type != '\0') attribute(proto, "datacontenttype").set_ce_string(type);
    for (const char* text : {"", "{\"a\":1}", "no json", "\"s\"", "12345678901234567890123"}) {
      proto.set_text_data(text);
      check_returns(proto);
      proto.set_binary_data(text);
      check_returns(proto);
    }
    proto.set_binary_data("\xff\xfe");
    check_returns(proto);
    google::protobuf::Timestamp inner;
    inner.set_seconds(5);
    proto.mutable_proto_data()->PackFrom(inner);
    check_returns(proto);
    CHECK(read(proto)->data_kind() == DataKind::kProto);
    proto.mutable_proto_data()->Clear();
    check_returns(proto);
  }
}

TEST_CASE("an event of all attributes comes back from protobuf", "[event][proto]") {
  auto extensions = test::extensions_of_all_kinds();
  EventFields fields = test::market_fields(extensions);
  fields.data_schema = "https://virtufin.com/schema";
  fields.data_kind = DataKind::kJson;
  const EventPtr event = make_event(fields).value();
  // A map has no order: they come back in that of their names.
  std::ranges::sort(extensions, {}, &Extension::name);
  CHECK(describe(*read(written(*event))) == describe(**make_event(fields)));
}

TEST_CASE("our own JSON and text go out as text", "[event][proto]") {
  const auto data_case = [](std::string_view type, std::string_view data, DataKind kind) {
    EventFields fields = test::small_fields();
    fields.data_content_type = type;
    fields.data = as_bytes(data);
    fields.data_kind = kind;
    return written(*make_event(fields).value()).data_case();
  };
  using enum DataKind;
  CHECK(data_case("", "{}", kByContentType) == ce::CloudEvent::kTextData);
  CHECK(data_case("application/json", "{}", kByContentType) == ce::CloudEvent::kTextData);
  CHECK(data_case("application/json", "{", kByContentType) == ce::CloudEvent::kBinaryData);
  CHECK(data_case("text/csv", "a", kByContentType) == ce::CloudEvent::kTextData);
  CHECK(data_case("text/csv", "\xff", kByContentType) == ce::CloudEvent::kBinaryData);
  CHECK(data_case("application/avro", "a", kByContentType) == ce::CloudEvent::kBinaryData);
  CHECK(data_case("application/json", "{}", kBinary) == ce::CloudEvent::kBinaryData);
  CHECK(data_case("application/json", "\xff", kProto) == ce::CloudEvent::kBinaryData);
}

TEST_CASE("time is a timestamp where that says the same", "[event][proto]") {
  const auto time = [](std::string_view text) {
    EventFields fields = test::small_fields();
    fields.time = text;
    const EventPtr event = make_event(fields).value();
    const ce::CloudEvent proto = written(*event);
    const auto& value = proto.attributes().at("time");
    CHECK(read(proto)->event_time() == event->event_time());
    return value.has_ce_timestamp() ? std::to_string(value.ce_timestamp().seconds()) + "." +
                                          std::to_string(value.ce_timestamp().nanos())
                                    : value.ce_string();
  };
  CHECK(time("2026-01-31T12:34:56Z") == "1769862896.0");
  CHECK(time("2026-01-31T12:34:56.123456789Z") == "1769862896.123456789");
  CHECK(time("1969-12-31T23:59:59.5Z") == "-1.500000000");
  // What a timestamp cannot say stays the caller's text.
  for (const char* text :
       {"2026-01-31T13:34:56+01:00", "2026-01-31T12:34:56.1234567891Z", "2016-12-31T23:59:60Z",
        "2026-01-31t12:34:56z", "2026-01-31 12:34:56Z", "0000-01-01T00:00:00Z"}) {
    CHECK(time(text) == text);
  }
}

TEST_CASE("what is no event in protobuf is refused with the attribute's name", "[event][proto]") {
  CHECK_THAT(refused([](auto& proto) { proto.clear_id(); }), Contains("'id'"));
  CHECK_THAT(refused([](auto& proto) { proto.clear_source(); }), Contains("'source'"));
  CHECK_THAT(refused([](auto& proto) { proto.clear_type(); }), Contains("'type'"));
  CHECK_THAT(refused([](auto& proto) { proto.clear_spec_version(); }), Contains("'specversion'"));
  CHECK_THAT(refused([](auto& proto) { attribute(proto, "x"); }), Contains("'x'"));
  CHECK_THAT(refused([](auto& proto) { attribute(proto, "Bad").set_ce_string("x"); }),
             Contains("'Bad'"));
  CHECK_THAT(refused([](auto& proto) { attribute(proto, "id").set_ce_string("2"); }),
             Contains("'id'"));
  CHECK_THAT(refused([](auto& proto) { attribute(proto, "subject").set_ce_integer(2); }),
             Contains("'subject'"));
  CHECK_THAT(refused([](auto& proto) { attribute(proto, "time").set_ce_integer(2); }),
             Contains("'time'"));
  CHECK_THAT(refused([](auto& proto) { attribute(proto, "time").set_ce_string("noon"); }),
             Contains("'time'"));
  CHECK_THAT(
      refused([](auto& proto) { attribute(proto, "at").mutable_ce_timestamp()->set_nanos(-1); }),
      Contains("'at'"));
  CHECK_THAT(refused([](auto& proto) {
               attribute(proto, "at").mutable_ce_timestamp()->set_seconds(253'402'300'800);
             }),
             Contains("'at'"));
}

TEST_CASE("an event goes through all its forms and stays what it is", "[event]") {
  // Kinds that every form has, so that nothing may change but the order that protobuf's map loses.
  const std::vector<Extension> extensions = {{"alpha", "ä%\"\\ x"}, {"beta", ""}, {"gamma", "1"}};
  EventFields fields = test::market_fields(extensions);
  fields.data_kind = DataKind::kJson;
  const EventPtr first = make_event(fields).value();
  const EventPtr by_proto = read(written(*first));
  const EventPtr by_json = event_from_json(to_json(*by_proto)).value();
  CHECK(describe(*by_json) == describe(*first));
  const HttpEvent http = to_http(*by_json).value();
  const std::vector<HttpHeader> headers(http.headers.begin(), http.headers.end());
  const EventPtr by_http = event_from_http(headers, http.body).value();
  CHECK(to_json(*by_http) == to_json(*first));
  CHECK(describe(*parse_event(by_json->bytes()).value()) == describe(*first));
}

}  // namespace virtufin

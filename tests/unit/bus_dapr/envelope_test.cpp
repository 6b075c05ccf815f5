#include "bus/dapr/envelope.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/wrappers.pb.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "core/errors.h"
#include "core/event_codec.h"
#include "core/event_writer.h"
#include "dapr/proto/runtime/v1/dapr.pb.h"

using namespace virtufin;
using namespace virtufin::bus;
using dapr::proto::runtime::v1::TopicEventRequest;

namespace {

/// What the sidecar makes of a structured event, as far as it matters here (seen with 1.18): it
/// adds `time`, overwrites trace and topic, and takes data apart by its content type.
TopicEventRequest through_sidecar(const std::string& json) {
  google::protobuf::Struct event;
  REQUIRE(google::protobuf::util::JsonStringToMessage(json, &event).ok());
  auto& fields = *event.mutable_fields();
  TopicEventRequest message;
  const auto text = [&](const char* name) {
    const auto found = fields.find(name);
    if (found == fields.end()) return std::string();
    std::string value = found->second.string_value();
    fields.erase(name);
    return value;
  };
  message.set_id(text("id"));
  message.set_source(text("source"));
  message.set_type(text("type"));
  message.set_spec_version(text("specversion"));
  message.set_data_content_type(text("datacontenttype"));
  message.set_topic("on.the.broker");
  message.set_pubsub_name("pubsub");
  if (fields.count("data_base64")) {
    // As bytes of a JSON string, which protobuf's JSON decodes.
    google::protobuf::BytesValue bytes;
    REQUIRE(
        google::protobuf::util::JsonStringToMessage('"' + text("data_base64") + '"', &bytes).ok());
    message.set_data(bytes.value());
  } else if (fields.count("data")) {
    if (message.data_content_type().starts_with("application/json")) {
      std::string data;
      REQUIRE(google::protobuf::util::MessageToJsonString(fields["data"], &data).ok());
      message.set_data(data);
    }
    fields.erase("data");
  }
  if (!fields.count("time")) fields["time"].set_string_value("2026-01-01T00:00:00Z");
  fields["traceid"].set_string_value("00-sidecar");
  fields["traceparent"].set_string_value("00-sidecar");
  fields["tracestate"].set_string_value("");
  fields["topic"].set_string_value("on.the.broker");
  fields["pubsubname"].set_string_value("pubsub");
  *message.mutable_extensions() = std::move(event);
  return message;
}

EventPtr event_of(const EventFields& fields) {
  auto event = make_event(fields);
  INFO(message(event.status()));
  REQUIRE(event.ok());
  return *std::move(event);
}

EventFields basic() {
  EventFields fields;
  fields.id = "id-1";
  fields.type = "com.virtufin.test";
  fields.source = "urn:com.virtufin.test";
  return fields;
}

Arrived round_trip(const Event& event) {
  TopicEventRequest message = through_sidecar(encode_envelope(event, {0x1234, 7}));
  auto arrived = decode_envelope(message);
  INFO(virtufin::message(arrived.status()));
  REQUIRE(arrived.ok());
  return *std::move(arrived);
}

/// The same attributes, extensions (in the order of their names), data and kinds.
void check_unchanged(const Event& event) {
  const Arrived arrived = round_trip(event);
  REQUIRE(arrived.event);
  const Event& back = *arrived.event;
  CHECK(back.id() == event.id());
  CHECK(back.source() == event.source());
  CHECK(back.type() == event.type());
  CHECK(back.spec_version() == event.spec_version());
  CHECK(back.subject() == event.subject());
  CHECK(back.time() == event.time());
  CHECK(back.data_content_type() == event.data_content_type());
  CHECK(back.data_schema() == event.data_schema());
  CHECK(back.has_data() == event.has_data());
  CHECK(as_text(back.data()) == as_text(event.data()));
  CHECK(resolve_data_kind(back) == resolve_data_kind(event));
  REQUIRE(back.extension_count() == event.extension_count());
  std::vector<Extension> ours, theirs;
  for (std::size_t i = 0; i < event.extension_count(); ++i) {
    ours.push_back(event.extension_at(i));
    theirs.push_back(back.extension_at(i));
  }
  const auto by_name = [](const Extension& a, const Extension& b) { return a.name < b.name; };
  std::sort(ours.begin(), ours.end(), by_name);
  std::sort(theirs.begin(), theirs.end(), by_name);
  for (std::size_t i = 0; i < ours.size(); ++i) {
    INFO(ours[i].name);
    CHECK(theirs[i].name == ours[i].name);
    CHECK(theirs[i].value == ours[i].value);
    CHECK(theirs[i].kind == ours[i].kind);
  }
  REQUIRE(arrived.order);
  CHECK(arrived.order->instance == 0x1234);
  CHECK(arrived.order->counter == 7);
  CHECK(arrived.topic == "on.the.broker");
}

}  // namespace

TEST_CASE("a place in the order is 16 hex digits and 20 decimal ones") {
  CHECK(to_text({0x1234abcd, 42}) == "000000001234abcd.00000000000000000042");
  const auto back = parse_bus_order("ffffffffffffffff.18446744073709551615");
  REQUIRE(back);
  CHECK(back->instance == ~std::uint64_t{0});
  CHECK(back->counter == ~std::uint64_t{0});
  for (const char* wrong :
       {"", "1.2", "000000001234abcd.0000000000000000004", "000000001234abcg.00000000000000000042",
        "000000001234abcd-00000000000000000042", "000000001234abcd.0000000000000000004x",
        "ffffffffffffffff.18446744073709551616", "000000001234abcd.000000000000000000042"}) {
    INFO(wrong);
    CHECK_FALSE(parse_bus_order(wrong));
  }
}

TEST_CASE("an ordinary market event needs no busmeta") {
  auto fields = basic();
  const std::string data = R"({"price":"1.50"})";
  const std::vector<Extension> extensions{{"scenarioid", "LIVE"}, {"marketlane", "act"}};
  fields.time = "2026-01-31T12:34:56.123456789Z";
  fields.data = as_bytes(data);
  fields.data_content_type = "application/json";
  fields.data_kind = DataKind::kJson;
  fields.extensions = extensions;
  const EventPtr event = event_of(fields);
  CHECK(encode_envelope(*event, {1, 2}) ==
        R"({"specversion":"1.0","id":"id-1","source":"urn:com.virtufin.test",)"
        R"("type":"com.virtufin.test","datacontenttype":"application/json",)"
        R"("time":"2026-01-31T12:34:56.123456789Z","scenarioid":"LIVE","marketlane":"act",)"
        R"("data":{"price":"1.50"},)"
        R"("busorder":"0000000000000001.00000000000000000002"})");
  check_unchanged(*event);
}

TEST_CASE("what the sidecar would touch comes back as it was") {
  auto fields = basic();
  const std::vector<Extension> extensions{
      {"traceparent", "00-ours"},
      {"tracestate", "vendor=1"},
      {"traceid", "ours"},
      {"topic", "not.the.broker's"},
      {"pubsubname", "mine"},
      {"expiration", "2001-01-01T00:00:00Z", AttributeKind::kTimestamp},
      {"flag", "true", AttributeKind::kBoolean},
      {"number", "-12", AttributeKind::kInteger},
      {"blob", "AAEC", AttributeKind::kBytes},
      {"link", "http://x/y", AttributeKind::kUri},
      {"quote", "a\"b\\c"}};
  fields.subject = "order/7";
  fields.data_schema = "http://schema";
  fields.extensions = extensions;
  check_unchanged(*event_of(fields));
}

TEST_CASE("data of every kind comes back") {
  auto fields = basic();
  struct Case {
    std::string type, data;
    DataKind kind;
  };
  const std::string binary("\x00\xff\x7f{", 4);
  const std::vector<Case> cases{
      {"application/json", R"({"a":[1,2,{"b":null}]})", DataKind::kByContentType},
      {"application/json", R"("text")", DataKind::kJson},
      {"application/json", "null", DataKind::kJson},
      {"application/json", R"({"ns":1769862896123456789,"s":"x"})", DataKind::kJson},
      {"application/json", R"([0.1234567890123456])", DataKind::kJson},
      {"application/json", R"([1e400])", DataKind::kJson},
      {"application/json", R"([{"12345678901234567890":"\"12345678901234567890"},123456789012345])",
       DataKind::kJson},
      {"application/json", "not json", DataKind::kByContentType},
      {"application/json; charset=utf-8", R"({"a":"b"})", DataKind::kByContentType},
      {"application/vnd.x+json", R"({"a":"b"})", DataKind::kJson},
      {"", R"({"a":"b"})", DataKind::kJson},
      {"", binary, DataKind::kBinary},
      {"text/plain", "some <text>", DataKind::kText},
      {"text/plain", "3", DataKind::kJson},
      {"application/octet-stream", binary, DataKind::kBinary},
      {"application/octet-stream", "", DataKind::kBinary},
      {"application/x-protobuf", binary, DataKind::kBinary},
      {"application/cloudevents+json", R"({"a":"b"})", DataKind::kJson},
  };
  for (const Case& c : cases) {
    INFO(c.type << " " << c.data << " " << static_cast<int>(c.kind));
    fields.data_content_type = c.type;
    fields.data = as_bytes(c.data);
    fields.data_kind = c.kind;
    check_unchanged(*event_of(fields));
  }
}

TEST_CASE("only numbers that floating point does not hold make JSON travel in base64") {
  auto fields = basic();
  fields.data_content_type = "application/json";
  fields.data_kind = DataKind::kJson;
  const auto in_base64 = [&](std::string_view data) {
    fields.data = as_bytes(data);
    return encode_envelope(*event_of(fields), {1, 1}).find("data_base64") != std::string::npos;
  };
  CHECK_FALSE(in_base64(R"({"price":"1769862896123456789","id":123456789012345})"));
  CHECK_FALSE(in_base64(R"([-0.00012345678901234, 0, -1.50])"));
  CHECK(in_base64("1234567890123456"));
  CHECK(in_base64("[-1.234567890123456]"));
  CHECK(in_base64(R"({"a\"b":1e5})"));
}

TEST_CASE("what was published without our extensions is an event like any other") {
  TopicEventRequest message = through_sidecar(
      R"({"specversion":"1.0","id":"7","source":"app","type":"t","datacontenttype":"text/plain",)"
      R"("Foo_Bar":"x","list":[1,"a"],"none":null,"fraction":1.5})");
  const auto arrived = decode_envelope(message);
  INFO(virtufin::message(arrived.status()));
  REQUIRE(arrived.ok());
  CHECK_FALSE(arrived->order);
  CHECK(arrived->event->time() == "2026-01-01T00:00:00Z");
  CHECK(arrived->event->extension("Foo_Bar") == "x");
  CHECK(arrived->event->extension("list") == R"([1,"a"])");
  CHECK(arrived->event->extension("fraction") == "1.5");
  CHECK(arrived->event->extension("none").empty());
  CHECK(arrived->event->extension("traceparent").empty());
  CHECK_FALSE(arrived->event->has_data());
}

TEST_CASE("a busmeta or busorder that is none is as if it were not there") {
  for (const char* meta : {"", "x", "{}", "[]", R"({"moved":{"scenarioid":["X",0]}})",
                           R"({"moved":{"traceid":["X"]}})", R"({"moved":{"traceid":["X",99]}})",
                           R"({"kinds":{"a":"b"}})", R"({"data":77})", R"({"absent":"time"})",
                           R"({"empty":1})", R"({"absent":["time"],"kinds":{"a":-1}})"}) {
    INFO(meta);
    TopicEventRequest message;
    message.set_id("1");
    message.set_source("s");
    message.set_type("t");
    message.set_spec_version("1.0");
    auto& fields = *message.mutable_extensions()->mutable_fields();
    fields["time"].set_string_value("2026-01-01T00:00:00Z");
    fields["busmeta"].set_string_value(meta);
    fields["busorder"].set_string_value("000000001234abcd.42");
    const auto arrived = decode_envelope(message);
    REQUIRE(arrived.ok());
    CHECK(arrived->event->time() == "2026-01-01T00:00:00Z");
    CHECK(arrived->event->extension_count() == 0);
    CHECK_FALSE(arrived->order);
  }
}

TEST_CASE("what can be no event is refused") {
  TopicEventRequest message;
  CHECK(decode_envelope(message).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a late event says so, and is else the same") {
  auto fields = basic();
  const std::vector<Extension> extensions{{"scenarioid", "LIVE"}};
  fields.extensions = extensions;
  const EventPtr event = event_of(fields);
  const auto late = mark_late(*event);
  REQUIRE(late.ok());
  CHECK((*late)->extension("buslate") == "true");
  CHECK((*late)->scenario_id() == "LIVE");
  CHECK((*late)->id() == "id-1");
  // It is the receiver's word: one who publishes the event again does not pass it on.
  CHECK(encode_envelope(**late, {1, 1}) == encode_envelope(*event, {1, 1}));
}

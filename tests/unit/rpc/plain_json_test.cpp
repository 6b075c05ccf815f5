#include "rpc/plain_json.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "virtufin/pubsub.pb.h"
#include "virtufin/state.pb.h"
#include "virtufin/websocketmanager.pb.h"
#include "virtufin/workmanager.pb.h"

namespace virtufin::rpc {
namespace {

namespace pb = google::protobuf;

/// What protobuf prints.
std::string reference(const pb::Message& message) {
  pb::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string json;
  REQUIRE(pb::util::MessageToJsonString(message, &json, options).ok());
  return json;
}

/// A JSON text as a value: the order of an object's members means nothing.
std::string value_of(const std::string& json) {
  pb::Value value;
  INFO(json);
  REQUIRE(pb::util::JsonStringToMessage(json, &value).ok());
  std::string bytes;
  {
    pb::io::StringOutputStream sink(&bytes);
    pb::io::CodedOutputStream out(&sink);
    out.SetSerializationDeterministic(true);
    REQUIRE(value.SerializeToCodedStream(&out));
  }
  return bytes;
}

WorkerInfo worker() {
  WorkerInfo worker;
  worker.set_id("a \"quoted\" \\ id\n\x01 €");
  worker.add_topics("act.*");
  worker.add_topics("");
  worker.set_status(WORKER_STATUS_RUNNING);
  (*worker.mutable_config())["k"] = "v";
  worker.set_delivered(std::numeric_limits<std::uint64_t>::max());
  worker.set_lag_p50_us(std::numeric_limits<std::int64_t>::min());
  return worker;
}

TEST_CASE("what is written is what protobuf writes") {
  CreateWorkerRequest create;
  create.mutable_code_source()->set_content(std::string("\0\xff binary", 9));
  create.mutable_code_source()->mutable_credential()->mutable_basic()->set_username("u");
  create.mutable_retry()->set_max_attempts(-1);
  create.set_start(true);
  WorkerInfo unknown_enum;
  unknown_enum.set_status(static_cast<WorkerStatus>(77));
  ListWorkersResponse list;
  *list.add_workers() = worker();
  list.add_workers();
  WebSocketConnection connection;
  connection.mutable_feed()->add_symbols("btcusdt");
  for (const pb::Message* message :
       {static_cast<const pb::Message*>(&create), static_cast<const pb::Message*>(&unknown_enum),
        static_cast<const pb::Message*>(&list), static_cast<const pb::Message*>(&connection)}) {
    std::string json = "before";
    REQUIRE(write_plain_json(*message, json));
    REQUIRE(json.starts_with("before"));
    INFO(json);
    CHECK(value_of(json.substr(6)) == value_of(reference(*message)));
  }
}

TEST_CASE("what is not plain is left to protobuf, and nothing is written") {
  PublishRequest publish;
  publish.mutable_cloudevent()->set_id("1");
  (*publish.mutable_cloudevent()->mutable_attributes())["time"].mutable_ce_timestamp()->set_seconds(
      1);
  std::string json = "before";
  CHECK_FALSE(write_plain_json(publish, json));
  CHECK(json == "before");
  // The same type without the well-known one is plain.
  publish.mutable_cloudevent()->mutable_attributes()->clear();
  CHECK(write_plain_json(publish, json));
}

TEST_CASE("what is read is what protobuf reads") {
  const std::string texts[] = {
      "{}",
      R"( { "service" : "api", "key":"k\u00e9\n", "ttl_seconds": 5 } )",
      R"({"ttlSeconds":"-7","includeValue":true})",
      R"({"ttlSeconds":9223372036854775807})",
  };
  for (const std::string& text : texts) {
    SaveStateRequest ours;
    SaveStateRequest theirs;
    INFO(text);
    REQUIRE(read_plain_json(text, ours));
    REQUIRE(pb::util::JsonStringToMessage(text, &theirs).ok());
    CHECK(pb::util::MessageDifferencer::Equals(ours, theirs));
  }
  CreateWorkerRequest create;
  REQUIRE(read_plain_json(
      R"({"codeSource":{"url":"u","sha256":"x"},"topics":["a","b"],"concurrency":2})", create));
  CHECK(create.code_source().url() == "u");
  CHECK(create.topics_size() == 2);
  CHECK(create.concurrency() == 2);
}

TEST_CASE("what is unusual or wrong is left to protobuf") {
  for (const char* text :
       {"", "[]", "null", "{", R"({"key":1})", R"({"nothing":"x"})", R"({"key":null})",
        R"({"includeValue":"true"})", R"({"includeValue":1})", R"({"ttlSeconds":1.0})",
        R"({"ttlSeconds":"1x"})", R"({"ttlSeconds":9223372036854775808})",
        R"({"includeValue":true,"include_value":false})", R"({"key":"a","key":"b"})",
        "{\"key\":\"\xff\"}", R"({"key":"\ud800"})"}) {
    SaveStateRequest request;
    INFO(text);
    CHECK_FALSE(read_plain_json(text, request));
  }
  CreateWorkerRequest create;
  CHECK_FALSE(read_plain_json(R"({"codeSource":{"url":"u","content":"YQ=="}})", create));
  CHECK_FALSE(read_plain_json(R"({"tags":{"a":"b"}})", create));
  std::string deep = "{\"codeSource\":";
  for (int i = 0; i < 5000; ++i) deep += "[";
  CHECK_FALSE(read_plain_json(deep, create));
}

TEST_CASE("a large body is read like a small one") {
  const std::string value(1 << 20, 'v');
  SaveStateRequest request;
  REQUIRE(read_plain_json("{\"value\":\"" + value + "\"}", request));
  CHECK(request.value() == value);
}

}  // namespace
}  // namespace virtufin::rpc

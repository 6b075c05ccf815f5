#include "rpc/transcoder.h"

#include <google/protobuf/util/message_differencer.h>

#include <catch2/catch.hpp>

#include "google/api/annotations.pb.h"
#include "rows.h"
#include "rpc/error_json.h"
#include "rpc/field_path.h"
#include "virtufin/websocketmanager.pb.h"
#include "virtufin/workmanager.pb.h"

namespace virtufin::rpc {
namespace {

using namespace test;
namespace pb = google::protobuf;

/// A row with a descriptor; it is never called here.
class Described final : public Method {
 public:
  explicit Described(const std::string& dotted)
      : descriptor_(pb::DescriptorPool::generated_pool()->FindMethodByName(dotted)), name_(dotted) {
    REQUIRE(descriptor_ != nullptr);
  }
  std::string_view full_name() const override { return name_; }
  const pb::MethodDescriptor* descriptor() const override { return descriptor_; }
  void call(CallPtr, BytesPtr, std::shared_ptr<ServerStream> replies) const override {
    replies->finish(unimplemented("{}", name_));
  }
  void call(CallPtr, const pb::Message&,
            ReplyTo<std::unique_ptr<pb::Message>> reply) const override {
    reply(unimplemented("{}", name_));
  }

 private:
  const pb::MethodDescriptor* descriptor_;
  const std::string name_;
};

Transcoding transcoding(const std::string& method, const google::api::HttpRule* rule = nullptr) {
  const auto row = std::make_shared<Described>(method);
  auto made = Transcoding::make(
      row, rule != nullptr ? *rule : row->descriptor()->options().GetExtension(google::api::http),
      std::make_shared<JsonCodec>(), std::make_shared<pb::DynamicMessageFactory>());
  REQUIRE(made.ok());
  return *std::move(made);
}

/// The request as text, or the code and the error.
std::string request(const Transcoding& binding, const Transcoding::Captures& captures,
                    std::string_view query, std::string_view body = "") {
  const auto made = binding.request(captures, query, body);
  if (!made.ok()) {
    return fmt::format("{}: {}", code_name(made.status().code()), message(made.status()));
  }
  return (*made)->ShortDebugString();
}

TEST_CASE("a query sets fields in either spelling, nested, repeated") {
  const auto list = transcoding("virtufin.State.GetBulkState");
  CHECK(request(list, {{"service", "api"}}, "keys=a&keys=b%20c") ==
        R"(service: "api" keys: "a" keys: "b c")");
  const auto subscribe = transcoding("virtufin.Pubsub.Subscribe");
  CHECK(request(subscribe, {}, "topics=act.*&filter.type=t&filter.scenarioId=X&queueEvents=5") ==
        R"(topics: "act.*" filter { type: "t" scenario_id: "X" } queue_events: 5)");
  CHECK(request(subscribe, {}, "filter.scenario_id=Y&queue_events=-1") ==
        R"(filter { scenario_id: "Y" } queue_events: -1)");
}

TEST_CASE("tags become filters") {
  const auto list = transcoding("virtufin.WorkManager.ListWorkers");
  CHECK(request(list, {}, "tag.team=a&tag.a.b=x%26y") ==
        R"(filters { key: "team" value: "a" } filters { key: "a.b" value: "x&y" })");
  const auto get = transcoding("virtufin.State.GetState");
  CHECK(request(get, {}, "tag.team=a").find("INVALID_ARGUMENT") == 0);
}

TEST_CASE("what a query cannot say is refused by name") {
  const auto query = transcoding("virtufin.State.QueryState");
  const Transcoding::Captures captures{{"service", "api"}};
  CHECK(request(query, captures, "limti=1") ==
        "INVALID_ARGUMENT: query: virtufin.State.QueryState has no parameter limti");
  CHECK(request(query, captures, "limit=ten") == "INVALID_ARGUMENT: query: limit: ten is no int32");
  CHECK(request(query, captures, "limit=99999999999").find("is no int32") != std::string::npos);
  CHECK(request(query, captures, "limit=1&limit=2") ==
        "INVALID_ARGUMENT: query: limit is given twice");
  CHECK(request(query, captures, "service=other") ==
        "INVALID_ARGUMENT: query: service stands in the path already");
  CHECK(request(query, captures, "query.x=1").find("no parameter query.x") != std::string::npos);
  CHECK(request(query, captures, "query=%ff").find("no UTF-8") != std::string::npos);
  CHECK(request(query, captures, "query=%f").find("broken %-escape") != std::string::npos);
  CHECK(request(query, {{"service", "\xff"}}, "").find("no UTF-8") != std::string::npos);
  const auto subscribe = transcoding("virtufin.Pubsub.Subscribe");
  CHECK(request(subscribe, {}, "filter=x").find("name one of its fields") != std::string::npos);
  CHECK(request(subscribe, {}, "topics.x=x").find("no parameter topics.x") != std::string::npos);
  const auto save = transcoding("virtufin.State.SaveState");
  CHECK(request(save, {}, "key=x", "{}").find("no parameter key") != std::string::npos);
}

TEST_CASE("a body is read in either spelling, the path wins, an empty one is empty") {
  const auto save = transcoding("virtufin.State.SaveState");
  CHECK(
      request(save, {}, "",
              R"({"service":"api","includeValue":true,"publish_change":true,"ttlSeconds":"5"})") ==
      R"(service: "api" include_value: true publish_change: true ttl_seconds: 5)");
  const auto start = transcoding("virtufin.WorkManager.StartWorker");
  CHECK(request(start, {{"id", "w1"}}, "") == R"(id: "w1")");
  CHECK(request(start, {{"id", "w1"}}, "", R"({"id":"w2"})") == R"(id: "w1")");
  for (const char* bad : {"{", "[]", "1", "nul", R"({"nothing":1})", R"({"key":1}x)",
                          R"({"includeValue":"perhaps"})"}) {
    INFO(bad);
    CHECK(request(save, {}, "", bad).find("INVALID_ARGUMENT: JSON that is no") == 0);
  }
  CHECK(request(save, {}, "", R"({"nothing":1})").find("nothing") != std::string::npos);
}

TEST_CASE("a body may be one field") {
  google::api::HttpRule rule;
  rule.set_post("/x/{id}");
  rule.set_body("code_source");
  auto create = transcoding("virtufin.WorkManager.CreateWorker", &rule);
  CHECK(request(create, {}, "mimeType=m", R"({"url":"u"})") ==
        R"(code_source { url: "u" } mime_type: "m")");
  CHECK(request(create, {}, "codeSource.url=u").find("no parameter") != std::string::npos);
  rule.set_body("topics");
  create = transcoding("virtufin.WorkManager.CreateWorker", &rule);
  CHECK(request(create, {}, "", R"(["a","b"])") == R"(topics: "a" topics: "b")");
  CHECK(request(create, {}, "", R"([],"group":"g")").find("INVALID_ARGUMENT") == 0);
  rule.set_body("nothing");
  CHECK(Transcoding::make(std::make_shared<Described>("virtufin.WorkManager.CreateWorker"), rule,
                          std::make_shared<JsonCodec>(), nullptr)
            .status()
            .code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a reply is lowerCamelCase with every field; 64-bit numbers are strings") {
  const auto list = transcoding("virtufin.WorkManager.ListWorkers");
  ListWorkersResponse reply;
  WorkerInfo& worker = *reply.add_workers();
  worker.set_id("w");
  worker.set_status(WORKER_STATUS_RUNNING);
  worker.set_dead_lettered(5);
  std::string json;
  REQUIRE(list.reply(reply, json).ok());
  CHECK(json.find(R"({"workers":[{"id":"w","mimeType":"")") == 0);
  CHECK(json.find(R"("status":"WORKER_STATUS_RUNNING")") != std::string::npos);
  CHECK(json.find(R"("deadLettered":"5")") != std::string::npos);
  CHECK(json.find(R"("topics":[])") != std::string::npos);
  std::string from_bytes;
  REQUIRE(list.reply(reply.SerializeAsString(), from_bytes).ok());
  CHECK(from_bytes == json);

  google::api::HttpRule rule;
  rule.set_get("/x");
  rule.set_response_body("value");
  const auto value = transcoding("virtufin.State.GetState", &rule);
  GetStateResponse state;
  state.set_value("a\"b");
  json.clear();
  REQUIRE(value.reply(state, json).ok());
  CHECK(json == R"("a\"b")");
}

TEST_CASE("a message of another pool is transcoded by its own descriptors") {
  pb::DescriptorPool pool;
  pb::FileDescriptorProto file;
  file.set_name("other.proto");
  file.set_package("other");
  file.set_syntax("proto3");
  auto& type = *file.add_message_type();
  type.set_name("M");
  auto& field = *type.add_field();
  field.set_name("some_name");
  field.set_number(1);
  field.set_type(pb::FieldDescriptorProto::TYPE_INT32);
  field.set_label(pb::FieldDescriptorProto::LABEL_OPTIONAL);
  const auto* built = pool.BuildFile(file);
  REQUIRE(built != nullptr);
  pb::DynamicMessageFactory factory;
  const std::unique_ptr<pb::Message> message(factory.GetPrototype(built->message_type(0))->New());
  JsonCodec codec;
  REQUIRE(codec.from_json(R"({"someName":7})", *message).ok());
  std::string json;
  REQUIRE(codec.to_json(*message, json).ok());
  CHECK(json == R"({"someName":7})");
}

TEST_CASE("every type of field is set from text") {
  // Descriptors' own messages have what ours lack: enums, floats; the wrappers stand for one value.
  JsonCodec codec;
  const auto read_json = [&](std::string_view json, pb::Message& into) {
    return codec.from_json(json, into);
  };
  pb::UninterpretedOption option;
  CHECK(set_field(option, "double_value", "1.5", read_json).ok());
  CHECK(option.double_value() == 1.5);
  CHECK_FALSE(set_field(option, "double_value", "1.5x", read_json).ok());
  CHECK(set_field(option, "positiveIntValue", "18446744073709551615", read_json).ok());
  CHECK(option.positive_int_value() == 18446744073709551615ULL);
  CHECK_FALSE(set_field(option, "positiveIntValue", "-1", read_json).ok());
  CHECK(set_field(option, "negative_int_value", "-9", read_json).ok());
  CHECK(set_field(option, "string_value", "YQ==", read_json).ok());
  CHECK(option.string_value() == "a");
  CHECK_FALSE(set_field(option, "string_value", "!", read_json).ok());
  pb::FieldOptions options;
  CHECK(set_field(options, "deprecated", "true", read_json).ok());
  CHECK_FALSE(set_field(options, "deprecated", "yes", read_json).ok());
  CHECK(set_field(options, "ctype", "CORD", read_json).ok());
  CHECK(options.ctype() == pb::FieldOptions::CORD);
  CHECK(set_field(options, "ctype", "2", read_json).ok());
  CHECK(options.ctype() == pb::FieldOptions::STRING_PIECE);
  CHECK_FALSE(set_field(options, "ctype", "ROPE", read_json).ok());
  CHECK(set_field(options, "nothing", "1", read_json).code() == absl::StatusCode::kNotFound);
}

TEST_CASE("errors are JSON whatever their text") {
  CHECK(error_json(not_found("a \"b\"\n\x01 {}", "\xff-€")) ==
        "{\"code\":5,\"message\":\"a \\\"b\\\"\\n\\u0001 \xef\xbf\xbd-€\",\"details\":[]}");
}

}  // namespace
}  // namespace virtufin::rpc

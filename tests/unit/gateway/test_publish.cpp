#include "rig.h"

namespace virtufin::gateway::testing {
namespace {

using absl::StatusCode;

PublishRequest request_with(std::string_view topic) {
  PublishRequest request;
  request.set_topic(std::string(topic));
  auto& event = *request.mutable_cloudevent();
  event.set_id("id-1");
  event.set_source("/a/source");
  event.set_spec_version("1.0");
  event.set_type("com.example.thing");
  return request;
}

TEST_CASE("PublishEvent passes the event through unchanged") {
  Rig rig;
  const auto client = rig.subscribe({"my topic"});
  client->started();
  PublishRequest request = request_with("my topic");
  auto& attributes = *request.mutable_cloudevent()->mutable_attributes();
  attributes["subject"].set_ce_string("thing/1");
  attributes["flag"].set_ce_boolean(true);
  attributes["count"].set_ce_integer(-7);
  attributes["correlationid"].set_ce_string("c-1");
  request.mutable_cloudevent()->set_binary_data(std::string("\0\xff\x01", 3));
  const auto response = rig.call<PublishResponse>("virtufin.Pubsub/PublishEvent", request);
  REQUIRE(response.ok());
  CHECK(response->status().success());
  CHECK(response->status().status() == "OK");
  const auto received = client->received(1);
  REQUIRE(received.size() == 1);
  // Nothing added, not even a time.
  CHECK(received[0].cloudevent().DebugString() == request.cloudevent().DebugString());
}

TEST_CASE("PublishEvent names what is missing") {
  Rig rig;
  const auto refused = [&rig](const PublishRequest& request, const std::string& word) {
    const auto response = rig.call<PublishResponse>("virtufin.Pubsub/PublishEvent", request);
    CHECK(response.status().code() == StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(message(response.status())), Catch::Contains(word));
  };
  refused(request_with(""), "topic");
  PublishRequest request = request_with("t");
  request.mutable_cloudevent()->clear_id();
  refused(request, "id");
  request = request_with("t");
  request.mutable_cloudevent()->clear_source();
  refused(request, "source");
  request = request_with("t");
  request.mutable_cloudevent()->clear_type();
  refused(request, "type");
  request = request_with("t");
  request.mutable_cloudevent()->clear_spec_version();
  refused(request, "specversion");
  request = request_with("t");
  request.clear_cloudevent();
  refused(request, "id");
}

TEST_CASE("after close_intake nothing is published") {
  Rig rig;
  rig.pubsub->close_intake();
  CHECK(rig.call<PublishResponse>("virtufin.Pubsub/PublishEvent", request_with("t"))
            .status()
            .code() == StatusCode::kUnavailable);
}

rpc::HttpResponse post(Rig& rig, const std::string& topic, const std::string& body,
                       std::vector<std::pair<std::string, std::string>> headers) {
  rpc::HttpRequest request;
  request.verb = "POST";
  request.captures = {{"topic", topic}};
  request.headers = std::move(headers);
  request.body = body;
  const auto exchange = std::make_shared<FakeExchange>(std::move(request));
  rig.pubsub->publish_over_http(exchange);
  return exchange->response();
}

TEST_CASE("POST publishes and answers like the method") {
  Rig rig;
  const auto client = rig.subscribe({"t"});
  client->started();
  const auto response =
      post(rig, "t", R"({"specversion":"1.0","id":"7","source":"s","type":"x","data":{"a":1}})",
           {{"Content-Type", "application/cloudevents+json; charset=utf-8"}});
  CHECK(response.status == 200);
  CHECK(response.content_type == "application/json");
  CHECK(response.body == R"({"status":{"success":true,"status":"OK","message":""}})");
  const auto received = client->received(1);
  CHECK(received.at(0).cloudevent().id() == "7");
  CHECK(received.at(0).cloudevent().text_data() == R"({"a":1})");
}

TEST_CASE("POST of what is no event answers 400 with a reason") {
  Rig rig;
  const auto response = post(rig, "t", R"({"data":"%%%"})", {});
  CHECK(response.status == 400);
  CHECK_THAT(response.body, Catch::Contains("base64"));
  CHECK(post(rig, "t\xff", R"({"data":"AA=="})", {}).status == 400);
  CHECK(post(rig, "", R"({"data":"AA=="})", {}).status == 400);
}

}  // namespace
}  // namespace virtufin::gateway::testing

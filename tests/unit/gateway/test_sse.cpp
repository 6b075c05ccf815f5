#include <fmt/format.h>

#include "core/event_codec.h"
#include "modules/gateway/stream_query.h"
#include "rig.h"

namespace virtufin::gateway::testing {
namespace {

using Query = std::vector<std::pair<std::string, std::string>>;

std::shared_ptr<FakeExchange> open(Rig& rig, Query query) {
  rpc::HttpRequest request;
  request.verb = "GET";
  request.path = "/v1/pubsub/stream";
  request.query = std::move(query);
  auto exchange = std::make_shared<FakeExchange>(std::move(request));
  rig.pubsub->stream_over_http(exchange);
  return exchange;
}

TEST_CASE("server-sent events have the exact shape") {
  Rig rig;
  const auto client = open(rig, {{"topics", "a,b"}});
  const auto head = client->head();
  CHECK(head.status == 200);
  CHECK(head.content_type == "text/event-stream");
  const EventPtr first = event("1", "t", "s/1", "{\n  \"pretty\": \"a\\nb\"\r\n}");
  const EventPtr second = event("2");
  rig.publish("a", first);
  rig.publish("b", second);
  const std::string expected =
      "id: 1\n"
      R"(data: {"topic":"a","cloudevent":{"specversion":"1.0",)";
  const std::string body = client->streamed("id: 2");
  CHECK(body.substr(0, expected.size()) == expected);
  const std::string pretty = R"("data":{"pretty":"a\nb"}}})";
  CHECK_THAT(body, Catch::Contains(pretty));
  CHECK_THAT(body, Catch::Contains("}\n\nid: 2\ndata: {\"topic\":\"b\",\"cloudevent\":" +
                                   to_json(*second) + "}\n\n"));
  client->peer().cancel();
  CHECK(client->ended());
  CHECK(eventually([&] { return rig.bus.footprint().subscriptions == 0; }));
}

TEST_CASE("gRPC streams and server-sent events share a bus subscription") {
  Rig rig;
  const auto sse = open(rig, {{"topics", "a.*"}});
  sse->head();
  const auto client = rig.subscribe({"a.*"});
  client->started();
  CHECK(rig.bus.footprint().subscriptions == 1);
  rig.publish("a.b", event("1"));
  sse->streamed("id: 1\n");
  CHECK(client->received(1).size() == 1);
}

TEST_CASE("a slow reader of server-sent events is told what it missed") {
  GatewayConfig config;
  config.stream_queue_events = 3;
  Rig rig(config);
  const auto client = open(rig, {{"topics", "a"}});
  client->head();
  client->stop_reading();
  const auto watcher = rig.subscribe({"a"});
  watcher->started();
  for (int i = 0; i < 10; ++i) {
    rig.publish("a", event(fmt::format("{}", i)));
    watcher->received(static_cast<std::size_t>(i) + 1);  // handed out in the order of opening
  }
  client->read_on();
  const std::string body = client->streamed("id: 9\n");
  CHECK_THAT(body, Catch::Contains("id: 0\n"));
  CHECK_THAT(body, Catch::Contains("id: 7\ndata: {\"topic\":\"a\",\"cloudevent\":" +
                                   to_json(*event("7")) + ",\"missed\":6}\n\nid: 8\n"));
  CHECK(body.find("missed") == body.rfind("missed"));
}

TEST_CASE("an idle stream is told that it lives") {
  GatewayConfig config;
  config.sse_comment = std::chrono::milliseconds(10);
  Rig rig(config);
  const auto client = open(rig, {{"topics", "a"}});
  client->streamed(":\n\n:\n\n");
}

TEST_CASE("a stream that cannot be answers its error") {
  Rig rig;
  CHECK(open(rig, {})->response().status == 400);
  CHECK(open(rig, {{"topics", ""}})->response().status == 400);
  CHECK(open(rig, {{"topics", "a.*.b"}})->response().status == 400);
  const auto unknown = open(rig, {{"topics", "a"}, {"subjekt", "x"}})->response();
  CHECK(unknown.status == 400);
  CHECK_THAT(unknown.body, Catch::Contains("subjekt"));
  rig.pubsub->close_intake();
  CHECK(open(rig, {{"topics", "a"}})->response().status == 503);
}

TEST_CASE("the query's topics and filter") {
  const auto request = stream_request_from_query({{"topics", "a,b"},
                                                  {"topics", "c"},
                                                  {"type", "t*"},
                                                  {"subject", "s"},
                                                  {"scenarioid", "X"},
                                                  {"clocktype", "wall"}});
  REQUIRE(request.ok());
  CHECK(request->topics == std::vector<std::string>{"a", "b", "c"});
  CHECK(request->filter.accepts(*event("1", "tt", "s", "1", {{"scenarioid", "X"}})));
  CHECK_FALSE(request->filter.accepts(*event("1", "u", "s", "1", {{"scenarioid", "X"}})));
  CHECK_FALSE(request->filter.accepts(*event("1", "tt", "s2", "1", {{"scenarioid", "X"}})));
  CHECK_FALSE(request->filter.accepts(*event("1", "tt", "s", "1", {{"scenarioid", "Y"}})));
  CHECK_FALSE(request->filter.accepts(
      *event("1", "tt", "s", "1", {{"scenarioid", "X"}, {"clocktype", "historical"}})));
  CHECK_FALSE(stream_request_from_query({{"topics", "a"}, {"type", "x"}, {"type", "y"}}).ok());
}

}  // namespace
}  // namespace virtufin::gateway::testing

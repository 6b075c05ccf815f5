#include <fmt/format.h>

#include "rig.h"
#include "virtufin/state.pb.h"

namespace virtufin::gateway::testing {
namespace {

using absl::StatusCode;
using Catch::Contains;

SaveStateRequest save_request(std::string_view key, std::string_view value) {
  SaveStateRequest request;
  request.set_service("examples");
  request.set_key(std::string(key));
  request.set_value(std::string(value));
  return request;
}

std::string save(Rig& rig, std::string_view key, std::string_view value) {
  const auto response =
      rig.call<SaveStateResponse>("virtufin.State/SaveState", save_request(key, value));
  REQUIRE(response.ok());
  CHECK(response->status().success());
  CHECK(response->status().status() == "OK");
  return response->etag();
}

GetStateResponse get(Rig& rig, std::string_view key) {
  GetStateRequest request;
  request.set_service("examples");
  request.set_key(std::string(key));
  const auto response = rig.call<GetStateResponse>("virtufin.State/GetState", request);
  REQUIRE(response.ok());
  return *response;
}

DeleteStateRequest delete_request(std::string_view key) {
  DeleteStateRequest request;
  request.set_service("examples");
  request.set_key(std::string(key));
  return request;
}

TEST_CASE("what is saved is read, and what is missing reads as empty") {
  Rig rig;
  CHECK(get(rig, "k").value().empty());
  CHECK(get(rig, "k").etag().empty());
  CHECK(get(rig, "k").key() == "k");
  const std::string etag = save(rig, "k", "{not json");
  CHECK(get(rig, "k").value() == "{not json");
  CHECK(get(rig, "k").etag() == etag);
  CHECK_FALSE(etag.empty());
}

TEST_CASE("the service selects the store and is no namespace") {
  GatewayConfig config;
  config.services = {"mine", "api"};
  Rig rig(config);
  save(rig, "k", "v");
  for (const char* service : {"api", "workmanager", "websocketmanager", "examples", "mine"}) {
    GetStateRequest request;
    request.set_service(service);
    request.set_key("k");
    const auto response = rig.call<GetStateResponse>("virtufin.State/GetState", request);
    REQUIRE(response.ok());
    CHECK(response->value() == "v");
  }
  for (const char* service : {"", "API", "nobody"}) {
    GetStateRequest request;
    request.set_service(service);
    request.set_key("k");
    const auto response = rig.call<GetStateResponse>("virtufin.State/GetState", request);
    CHECK(response.status().code() == StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(message(response.status())),
               Contains("api, workmanager, websocketmanager, examples, mine"));
  }
}

TEST_CASE("every method refuses a service that is not registered") {
  Rig rig;
  const auto refused = [](const absl::Status& status) {
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(message(status)), Contains("not registered"));
  };
  SaveStateRequest saved;
  saved.set_key("k");
  refused(rig.call<SaveStateResponse>("virtufin.State/SaveState", saved).status());
  DeleteStateRequest deleted;
  deleted.set_key("k");
  refused(rig.call<DeleteStateResponse>("virtufin.State/DeleteState", deleted).status());
  refused(rig.call<QueryStateResponse>("virtufin.State/QueryState", QueryStateRequest()).status());
  refused(rig.call<GetBulkStateResponse>("virtufin.State/GetBulkState", GetBulkStateRequest())
              .status());
  refused(
      rig.call<DeleteBulkStateResponse>("virtufin.State/DeleteBulkState", DeleteBulkStateRequest())
          .status());
}

TEST_CASE("a stale etag is a conflict and changes nothing") {
  Rig rig;
  const std::string first = save(rig, "k", "1");
  auto request = save_request("k", "2");
  request.set_etag(first);
  REQUIRE(rig.call<SaveStateResponse>("virtufin.State/SaveState", request).ok());

  request.set_value("3");
  const auto stale = rig.call<SaveStateResponse>("virtufin.State/SaveState", request);
  CHECK(stale.status().code() == StatusCode::kAborted);
  CHECK(message(stale.status()).substr(0, 9) == "CONFLICT:");
  CHECK_THAT(std::string(message(stale.status())), Contains("'k'"));
  CHECK(get(rig, "k").value() == "2");

  auto deletion = delete_request("k");
  deletion.set_etag(first);
  const auto kept = rig.call<DeleteStateResponse>("virtufin.State/DeleteState", deletion);
  CHECK(kept.status().code() == StatusCode::kAborted);
  CHECK(message(kept.status()).substr(0, 9) == "CONFLICT:");
  deletion.set_etag(get(rig, "k").etag());
  REQUIRE(rig.call<DeleteStateResponse>("virtufin.State/DeleteState", deletion).ok());
  CHECK(get(rig, "k").etag().empty());
}

TEST_CASE("keys, values and times to live have limits that say so") {
  GatewayConfig config;
  config.max_key_bytes = 10;
  config.max_value_bytes = 20;
  config.max_bulk_keys = 2;
  Rig rig(config);
  const auto refused = [&rig](const SaveStateRequest& request, const std::string& word) {
    const auto response = rig.call<SaveStateResponse>("virtufin.State/SaveState", request);
    CHECK(response.status().code() == StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(message(response.status())), Contains(word));
  };
  refused(save_request("", "v"), "key is empty");
  refused(save_request("0123456789x", "v"), "max_key_bytes");
  refused(save_request("k", std::string(21, 'v')), "max_value_bytes");
  auto request = save_request("k", "v");
  request.set_ttl_seconds(-1);
  refused(request, "ttl_seconds");
  save(rig, "0123456789", std::string(20, 'v'));

  GetBulkStateRequest bulk;
  bulk.set_service("api");
  for (const char* key : {"a", "b", "c"}) bulk.add_keys(key);
  CHECK(rig.call<GetBulkStateResponse>("virtufin.State/GetBulkState", bulk).status().code() ==
        StatusCode::kInvalidArgument);
}

TEST_CASE("a record with a time to live is there until then") {
  Rig rig;
  auto request = save_request("k", "v");
  request.set_ttl_seconds(1);
  REQUIRE(rig.call<SaveStateResponse>("virtufin.State/SaveState", request).ok());
  CHECK(get(rig, "k").value() == "v");
  CHECK(eventually([&] { return get(rig, "k").etag().empty(); }));
}

TEST_CASE("a change is told on state.change") {
  Rig rig;
  const auto client = rig.subscribe({"state.change"});
  client->started();
  auto request = save_request("a\"b", "the\nvalue");
  REQUIRE(rig.call<SaveStateResponse>("virtufin.State/SaveState", request).ok());  // not told
  request.set_publish_change(true);
  REQUIRE(
      rig.call<SaveStateResponse>("virtufin.State/SaveState", request, {{"correlationid", "c-1"}})
          .ok());
  request.set_include_value(true);
  REQUIRE(rig.call<SaveStateResponse>("virtufin.State/SaveState", request).ok());
  auto deletion = delete_request("a\"b");
  deletion.set_publish_change(true);
  deletion.set_include_value(true);
  REQUIRE(rig.call<DeleteStateResponse>("virtufin.State/DeleteState", deletion).ok());
  REQUIRE(rig.call<SaveStateResponse>("virtufin.State/SaveState", save_request("x", "1")).ok());
  DeleteBulkStateRequest bulk;
  bulk.set_service("examples");
  bulk.add_keys("x");
  bulk.add_keys("y");
  bulk.set_publish_change(true);
  REQUIRE(rig.call<DeleteBulkStateResponse>("virtufin.State/DeleteBulkState", bulk).ok());

  const auto received = client->received(4);
  REQUIRE(received.size() == 4);
  const auto& saved = received[0].cloudevent();
  CHECK(saved.type() == "com.virtufin.state.change.saved");
  CHECK(saved.source() == "urn:com.virtufin.api");
  CHECK(saved.id().size() == 36);
  CHECK(saved.attributes().at("correlationid").ce_string() == "c-1");
  CHECK(saved.attributes().at("datacontenttype").ce_string() == "application/json");
  CHECK(saved.text_data() == R"({"service":"examples","key":"a\"b","action":"save"})");
  CHECK(received[1].cloudevent().text_data() ==
        R"({"service":"examples","key":"a\"b","action":"save","value":"the\nvalue"})");
  CHECK(received[1].cloudevent().attributes().count("correlationid") == 0);
  CHECK(received[2].cloudevent().type() == "com.virtufin.state.change.deleted");
  CHECK(received[2].cloudevent().text_data() ==
        R"({"service":"examples","key":"a\"b","action":"delete","value":"the\nvalue"})");
  CHECK(received[3].cloudevent().type() == "com.virtufin.state.change.deleted");
  CHECK(received[3].cloudevent().text_data() ==
        R"({"service":"examples","keys":["x","y"],"action":"delete"})");
}

TEST_CASE("the caller's own change event goes to the caller's topic") {
  Rig rig;
  const auto client = rig.subscribe({"my.changes", "state.change"});
  client->started();
  auto request = save_request("k", "v");
  request.set_publish_change(true);
  request.set_change_topic("my.changes");
  auto& event = *request.mutable_change_event();
  event.set_id("mine");
  event.set_source("me");
  event.set_type("changed");
  event.set_spec_version("1.0");
  REQUIRE(rig.call<SaveStateResponse>("virtufin.State/SaveState", request).ok());
  const auto received = client->received(1);
  CHECK(received.at(0).topic() == "my.changes");
  CHECK(received.at(0).cloudevent().DebugString() == event.DebugString());

  // A malformed one is refused before anything is written.
  request.set_value("w");
  event.clear_type();
  const auto refused = rig.call<SaveStateResponse>("virtufin.State/SaveState", request);
  CHECK(refused.status().code() == StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(message(refused.status())), Contains("change_event"));
  request.clear_change_event();
  CHECK(rig.call<SaveStateResponse>("virtufin.State/SaveState", request).status().code() ==
        StatusCode::kInvalidArgument);
  CHECK(get(rig, "k").value() == "v");
}

TEST_CASE("a conflict is not told as a change") {
  Rig rig;
  const auto client = rig.subscribe({"state.change"});
  client->started();
  save(rig, "k", "1");
  auto request = save_request("k", "2");
  request.set_etag("stale");
  request.set_publish_change(true);
  CHECK_FALSE(rig.call<SaveStateResponse>("virtufin.State/SaveState", request).ok());
  request.clear_etag();
  REQUIRE(rig.call<SaveStateResponse>("virtufin.State/SaveState", request).ok());
  CHECK(client->received(1).size() == 1);
}

TEST_CASE("bulk reads answer in the order asked, what is missing as empty") {
  Rig rig;
  save(rig, "a", "1");
  const std::string etag = save(rig, "b", "2");
  GetBulkStateRequest request;
  request.set_service("api");
  for (const char* key : {"b", "none", "a"}) request.add_keys(key);
  const auto response = rig.call<GetBulkStateResponse>("virtufin.State/GetBulkState", request);
  REQUIRE(response.ok());
  REQUIRE(response->items_size() == 3);
  CHECK(response->items(0).key() == "b");
  CHECK(response->items(0).value() == "2");
  CHECK(response->items(0).etag() == etag);
  CHECK(response->items(1).key() == "none");
  CHECK(response->items(1).value().empty());
  CHECK(response->items(1).etag().empty());
  CHECK(response->items(2).value() == "1");
}

/// Fails what is asked for, as a broker that is away does.
class HalfBrokenStore final : public bus::StateStore {
 public:
  void get(std::string key, bus::Done<bus::Item> done) override { done(bus::Item{key, "", ""}); }
  void get(std::vector<std::string>, bus::Done<std::vector<bus::Item>> done) override {
    done(unavailable("away"));
  }
  void save(bus::Save, bus::Done<std::string> done) override { done(std::string("1")); }
  void erase(bus::Erase erase, bus::Done<std::monostate> done) override {
    if (erase.key[0] == 'x') return done(unavailable("away"));
    done(std::monostate());
  }
  void transact(std::vector<std::variant<bus::Save, bus::Erase>>,
                bus::Done<std::monostate> done) override {
    done(unavailable("away"));
  }
  void query(std::string, std::size_t, bus::Done<std::vector<bus::Item>> done) override {
    done(unimplemented("no queries here"));
  }
};

TEST_CASE("bulk deletion answers which keys failed, and tells of those that went") {
  Rig rig;
  HalfBrokenStore broken;
  register_state_service(rig.methods, broken, rig.bus, rig.clock, rig.metrics, rig.config);
  const auto client = rig.subscribe({"state.change"});
  client->started();
  DeleteBulkStateRequest request;
  request.set_service("api");
  for (const char* key : {"x1", "a", "x2", "b"}) request.add_keys(key);
  request.set_publish_change(true);
  const auto response =
      rig.call<DeleteBulkStateResponse>("virtufin.State/DeleteBulkState", request);
  REQUIRE(response.ok());
  CHECK_FALSE(response->status().success());
  CHECK(response->status().status() == "ERROR");
  CHECK_THAT(response->status().message(), Contains("2 of 4") && Contains("away"));
  REQUIRE(response->failed_keys_size() == 2);
  CHECK(response->failed_keys(0) == "x1");
  CHECK(response->failed_keys(1) == "x2");
  CHECK(client->received(1).at(0).cloudevent().text_data() ==
        R"({"service":"api","keys":["a","b"],"action":"delete"})");

  QueryStateRequest query;
  query.set_service("api");
  CHECK(rig.call<QueryStateResponse>("virtufin.State/QueryState", query).status().code() ==
        StatusCode::kUnimplemented);
}

TEST_CASE("queries answer records up to the limit") {
  Rig rig;
  for (int i = 0; i < 5; ++i) save(rig, fmt::format("sc.X.{}", i), fmt::format("{}", i));
  save(rig, "other", "1");
  QueryStateRequest request;
  request.set_service("api");
  request.set_query(R"({"filter":{"PREFIX":"sc.X."}})");
  auto response = rig.call<QueryStateResponse>("virtufin.State/QueryState", request);
  REQUIRE(response.ok());
  CHECK(response->items_size() == 5);
  request.set_limit(2);
  response = rig.call<QueryStateResponse>("virtufin.State/QueryState", request);
  REQUIRE(response.ok());
  CHECK(response->items_size() == 2);
  CHECK_FALSE(response->items(0).etag().empty());
  request.set_limit(-1);
  CHECK(rig.call<QueryStateResponse>("virtufin.State/QueryState", request).status().code() ==
        StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace virtufin::gateway::testing

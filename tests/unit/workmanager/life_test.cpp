// Workers from creation to deletion, over restarts.

#include <openssl/evp.h>

#include "unit/workmanager/rig.h"

namespace virtufin::workmanager::test {
namespace {

std::vector<std::string> types(const std::vector<Seen>& all) {
  std::vector<std::string> out;
  for (const auto& one : all) {
    const std::string type(one.event->type());
    out.push_back(type.substr(type.rfind('.') + 1));
  }
  return out;
}

}  // namespace

TEST_CASE("created stopped, started, stopped, deleted, each told") {
  Rig rig;
  rig.start();
  Listener lifecycle(rig.bus, {"workmanager.lifecycle"});
  auto request = Rig::request({"in"});
  request.set_start(false);
  (*request.mutable_tags())["team"] = "a";
  const auto id = rig.create(request);
  auto info = rig.info(id);
  CHECK(info.status() == WORKER_STATUS_STOPPED);
  CHECK(info.state() == "stopped");
  CHECK(info.language() == "Native");
  CHECK(info.mime_type() == "application/x-native-dll");
  CHECK(info.instance() == "test-instance");
  CHECK(info.tags().at("team") == "a");
  rig.publish("in", "none");
  CHECK(rig.info(id).delivered() == 0);

  CHECK(rig.start_worker(id).ok());
  CHECK(rig.start_worker(id).ok());
  CHECK(rig.info(id).status() == WORKER_STATUS_RUNNING);
  rig.publish("in", "none");
  REQUIRE(eventually([&] { return rig.info(id).processed() == 1; }));
  CHECK(rig.stop_worker(id).ok());
  CHECK(rig.stop_worker(id).ok());
  rig.publish("in", "none");
  CHECK(rig.info(id).delivered() == 1);
  CHECK(rig.start_worker(id).ok());
  CHECK(rig.delete_worker(id).ok());
  CHECK(rig.delete_worker(id).code() == absl::StatusCode::kNotFound);
  CHECK(rig.start_worker(id).code() == absl::StatusCode::kNotFound);
  CHECK(rig.stop_worker(id).code() == absl::StatusCode::kNotFound);
  CHECK(rig.get("workmanager.worker." + id).etag.empty());
  CHECK(rig.get("workmanager.worker.index").value == "[]");
  const auto totals = rig.module->totals();
  CHECK(totals.workers == 0);
  CHECK(totals.processed == 1);
  const auto seen = lifecycle.wait(8);
  CHECK(types(seen) == std::vector<std::string>{"created", "starting", "online", "stopping",
                                                "stopped", "starting", "online", "deleted"});
  CHECK(seen[0].event->subject() == "worker/" + id);
  CHECK(seen[0].data() == R"({"worker_id":")" + id +
                              R"(","replica_id":"test-instance","topic":"in","topics":["in"]})");
}

TEST_CASE("workers come back in their saved state, with their code") {
  Rig rig;
  rig.start();
  auto request = Rig::request({"in", "act.x"});
  (*request.mutable_config())["key"] = "value \"quoted\"";
  request.set_group("g");
  request.set_scenario("LIVE");
  request.set_timeout_ms(1234);
  const auto running = rig.create(request);
  auto idle_request = Rig::request({"in"});
  idle_request.set_start(false);
  const auto stopped = rig.create(idle_request);
  const auto deleted = rig.create(Rig::request({"in"}));
  REQUIRE(rig.delete_worker(deleted).ok());
  const auto before = rig.info(running);
  rig.stop();

  rig.start();
  const auto after = rig.info(running);
  CHECK(after.status() == WORKER_STATUS_RUNNING);
  CHECK(after.created_at() == before.created_at());
  CHECK(after.config().at("key") == "value \"quoted\"");
  CHECK(after.topics_size() == 2);
  CHECK(rig.info(stopped).status() == WORKER_STATUS_STOPPED);
  CHECK(rig.module->totals().workers == 2);
  Listener out(rig.bus, {"com.example.echo"});
  rig.publish("in", "echo back");
  CHECK(out.wait(1)[0].data() == "back");
}

TEST_CASE("a worker that does not come back is reported, skipped and tried again") {
  Rig rig;
  rig.start();
  const auto broken = rig.create(Rig::request({"in"}));
  const auto sound = rig.create(Rig::request({"in"}));
  const std::string good = rig.get("workmanager.worker." + broken).value;
  rig.stop();
  std::string bad = good;
  const auto code = bad.find("\"code\":\"") + 8;
  bad.replace(code, bad.find('"', code) - code, "AAAA");
  rig.save("workmanager.worker." + broken, bad);
  rig.start();
  CHECK(rig.info(sound).status() == WORKER_STATUS_RUNNING);
  auto info = rig.info(broken);
  CHECK(info.state() == "failed");
  CHECK(info.status() == WORKER_STATUS_STOPPED);
  CHECK_THAT(info.last_error(), Catch::Contains("neither an ELF shared library"));
  CHECK(rig.module->health().at(0).status.ok());
}

TEST_CASE("what cannot be created says why and leaves nothing behind") {
  Rig rig;
  rig.start();
  using absl::StatusCode;
  const auto check = [&](StatusCode code, std::string_view words,
                         const std::function<void(CreateWorkerRequest&)>& change) {
    auto request = Rig::request({"in"});
    change(request);
    const auto id = rig.try_create(request);
    CAPTURE(id.status().ToString());
    CHECK(id.status().code() == code);
    CHECK_THAT(std::string(message(id.status())), Catch::Contains(std::string(words)));
  };
  check(StatusCode::kInvalidArgument, "application/x-native-dll (Native)",
        [](auto& r) { r.set_mime_type("text/x-cobol"); });
  check(StatusCode::kInvalidArgument, "topics is empty", [](auto& r) { r.clear_topics(); });
  check(StatusCode::kInvalidArgument, "*", [](auto& r) { r.add_topics("a*b"); });
  check(StatusCode::kInvalidArgument, "content is empty", [](auto& r) { r.clear_code_source(); });
  check(StatusCode::kUnimplemented, "URL",
        [](auto& r) { r.mutable_code_source()->set_url("file:///etc/passwd"); });
  check(StatusCode::kInvalidArgument, "neither an ELF",
        [](auto& r) { r.mutable_code_source()->set_content("hello"); });
  check(StatusCode::kInvalidArgument, "SHA-256",
        [](auto& r) { r.mutable_code_source()->set_sha256("00"); });
  check(StatusCode::kInvalidArgument, "correlationid",
        [](auto& r) { (*r.mutable_config())["correlationid"] = "x"; });
  check(StatusCode::kInvalidArgument, "printable",
        [](auto& r) { (*r.mutable_config())["a b"] = "x"; });
  check(StatusCode::kInvalidArgument, "pool, thread, inline",
        [](auto& r) { r.set_dispatch("fast"); });
  check(StatusCode::kInvalidArgument, "block, drop_oldest, drop_newest",
        [](auto& r) { r.set_overflow("never"); });
  check(StatusCode::kInvalidArgument, "scenario", [](auto& r) { r.set_scenario("a.b"); });
  check(StatusCode::kUnimplemented, "isolation", [](auto& r) { r.set_isolation("process"); });
  check(StatusCode::kInvalidArgument, "timeout_ms", [](auto& r) { r.set_timeout_ms(-1); });
  check(StatusCode::kInvalidArgument, "51 tags", [](auto& r) {
    for (int i = 0; i < 51; ++i) (*r.mutable_tags())["t" + std::to_string(i)] = "";
  });
  rig.store->fail_saves("workmanager.worker.", 1);
  check(StatusCode::kUnavailable, "told to fail", [](auto&) {});
  CHECK(rig.module->totals().workers == 0);
  rig.publish("in", "none");
  CHECK(rig.module->totals().delivered == 0);
}

TEST_CASE("there is a limit to workers, and none is made while the process ends") {
  Rig rig;
  auto config = Rig::quick();
  config.max_workers = 1;
  rig.start(config);
  rig.create(Rig::request({"in"}));
  CHECK(rig.try_create(Rig::request({"in"})).status().code() ==
        absl::StatusCode::kResourceExhausted);
  rig.module->close_intake();
  CHECK(rig.try_create(Rig::request({"in"})).status().code() == absl::StatusCode::kUnavailable);
}

TEST_CASE("the list is filtered by tags") {
  Rig rig;
  rig.start();
  auto a = Rig::request({"in"}), b = Rig::request({"in"});
  (*a.mutable_tags())["team"] = "a";
  (*b.mutable_tags())["team"] = "b";
  const auto id = rig.create(a);
  rig.create(b);
  ListWorkersRequest request;
  auto* filter = request.add_filters();
  filter->set_key("team");
  filter->set_value("a");
  auto list = rig.call<ListWorkersResponse>("virtufin.WorkManager/ListWorkers", request);
  REQUIRE(list.ok());
  REQUIRE(list->workers_size() == 1);
  CHECK(list->workers(0).id() == id);
}

TEST_CASE("the end of the process lets what is queued finish") {
  Rig rig;
  rig.start();
  rig.create(Rig::request({"in"}));
  Listener out(rig.bus, {"com.example.echo"});
  for (int i = 0; i < 1000; ++i) rig.publish("in", "echo " + std::to_string(i));
  rig.module->close_intake();
  rig.module->stop(std::chrono::steady_clock::now() + std::chrono::seconds(10));
  CHECK(out.count() == 1000);
  const auto totals = rig.module->totals();
  CHECK(totals.delivered == 1000);
  CHECK(totals.processed == 1000);
  CHECK(totals.in_flight == 0);
}

}  // namespace virtufin::workmanager::test

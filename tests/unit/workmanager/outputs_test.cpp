// What a worker puts out: topic, envelope, scenario, failures of publishing.

#include <worker_api_generated.h>

#include "core/scenario.h"
#include "unit/workmanager/rig.h"

namespace virtufin::workmanager::test {
namespace {

const char* const kHypothetical =
    R"({"scenarioName":"bt","status":"active","market":{"lane":"hyp","selector":"u1"},)"
    R"("portfolio":{"lane":"hyp"},"strategy":{"lane":"hyp"},)"
    R"("createdAt":"2026-01-01T00:00:00Z","updatedAt":"2026-01-01T00:00:00Z"})";

void check_sound(const Event& event) {
  flatbuffers::Verifier verifier(event.bytes().data(), event.bytes().size());
  CHECK(Virtufin::Worker::FlatBuffers::VerifyCloudEventBuffer(verifier));
}

}  // namespace

TEST_CASE("the output's topic: publishtopic, then replytopic, then the type") {
  Rig rig;
  rig.start();
  rig.create(Rig::request({"in"}));
  Listener out(rig.bus, {"asked", "answer", "com.example.echo"});
  rig.publish("in", "to asked");
  rig.publish("in", "to asked", {{"replytopic", "answer"}});
  rig.publish("in", "echo a", {{"replytopic", "answer"}});
  rig.publish("in", "echo b");
  const auto seen = out.wait(4);
  CHECK(seen[0].topic == "asked");
  CHECK(seen[1].topic == "asked");
  CHECK(seen[2].topic == "answer");
  CHECK(seen[3].topic == "com.example.echo");
  CHECK(seen[0].extension("publishtopic").empty());
}

TEST_CASE("an output's envelope follows its input and its worker") {
  Rig rig;
  rig.start();
  const auto id = rig.create(Rig::request({"in"}));
  Listener out(rig.bus, {"com.example.echo"});
  const auto before = rig.clock.now();
  const auto input = rig.event("echo hi", {{"correlationid", "corr"},
                                           {"scenarioid", "OTHER"},
                                           {"runid", "run"},
                                           {"marketlane", "hyp"},
                                           {"marketselector", "sel"},
                                           {"portfoliolane", "hyp"},
                                           {"exchange", "binance"}});
  rig.publish("in", input);
  const auto seen = out.wait(1)[0];
  check_sound(*seen.event);
  CHECK(seen.event->id() == UuidHasher({id, input->id()})(0).view());
  CHECK(seen.event->source() == "urn:com.virtufin.workmanager");
  CHECK(seen.event->subject() == "s");
  CHECK(seen.data() == "hi");
  CHECK(seen.event->extension_at(0).name == "correlationid");
  CHECK(seen.extension("correlationid") == "corr");
  CHECK(seen.extension("runid") == "run");
  CHECK(seen.extension("scenarioid") == "LIVE");
  CHECK(seen.extension("marketlane") == "hyp");
  CHECK(seen.extension("marketselector") == "sel");
  CHECK(seen.extension("portfoliolane") == "act");
  CHECK(seen.extension("strategylane") == "act");
  CHECK(seen.extension("clocktype") == "wall");
  CHECK(seen.extension("exchange").empty());
  CHECK(seen.event->wall_time() >= before);
  CHECK(seen.event->event_time() == seen.event->wall_time());
  CHECK(seen.event->time() == seen.extension("eventtime"));
}

TEST_CASE("the same event puts out the same id") {
  Rig rig;
  rig.start();
  rig.create(Rig::request({"in"}));
  Listener out(rig.bus, {"com.example.echo"});
  const auto input = rig.event("echo x");
  rig.publish("in", input);
  rig.publish("in", input);
  const auto seen = out.wait(2);
  CHECK(seen[0].event->id() == seen[1].event->id());
}

TEST_CASE("in the historical clock an output happens when its input did") {
  Rig rig;
  rig.save("scenario.bt", kHypothetical);
  rig.start();
  auto request = Rig::request({"in"});
  request.set_scenario("bt");
  rig.create(request);
  Listener out(rig.bus, {"com.example.echo"});
  rig.publish("in", "echo x",
              {{"clocktype", "historical"}, {"eventtime", "2020-05-06T07:08:09.123456789Z"}});
  const auto seen = out.wait(1)[0];
  CHECK(seen.extension("eventtime") == "2020-05-06T07:08:09.123456789Z");
  CHECK(seen.event->time() == "2020-05-06T07:08:09.123456789Z");
  CHECK(seen.extension("clocktype") == "historical");
  CHECK(seen.extension("scenarioid") == "bt");
  CHECK(seen.extension("marketlane") == "hyp");
  CHECK(seen.extension("marketselector") == "u1");
  CHECK(seen.extension("portfoliolane") == "hyp");
  CHECK(seen.event->wall_time() > seen.event->event_time());
}

TEST_CASE("a worker's scenario takes the place of LIVE in its topics and records") {
  Rig rig;
  rig.save("scenario.bt", kHypothetical);
  rig.start();
  auto request = Rig::request({"in"});
  request.set_scenario("bt");
  rig.create(request);
  Listener out(rig.bus, {"sc.bt.orders", "sc.LIVE.orders"});
  rig.publish("in", "order o1", {{"clocktype", "historical"}});
  CHECK(out.wait(1)[0].topic == "sc.bt.orders");
  CHECK_FALSE(rig.get("sc.bt.trading.order.o1").etag.empty());
  CHECK(rig.get("sc.LIVE.trading.order.o1").etag.empty());
}

TEST_CASE("a scenario must be registered") {
  Rig rig;
  rig.start();
  auto request = Rig::request({"in"});
  request.set_scenario("nobody");
  const auto id = rig.try_create(request);
  CHECK(id.status().code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("what a replay causes never reaches a live topic") {
  Rig rig;
  rig.start();
  const auto id = rig.create(Rig::request({"in"}));  // a live worker, fed by a replay
  Listener live(rig.bus, {"sc.LIVE.*"});
  Listener dead(rig.bus, {"sc.LIVE.orders-dead"});
  Listener input_dead(rig.bus, {"in-dead"});
  rig.publish("in", "order o1", {{"clocktype", "historical"}});
  const auto letter = dead.wait(1)[0];
  CHECK(letter.extension("deadletterreason") == "historical");
  CHECK(letter.extension("deadlettertopic") == "sc.LIVE.orders");
  CHECK(letter.extension("deadletterworker") == id);
  CHECK(input_dead.wait(1)[0].extension("deadletterreason") == "historical");
  CHECK(live.count() == 0);
  CHECK(rig.get("sc.LIVE.trading.order.o1").etag.empty());
  const auto info = rig.info(id);
  CHECK(info.dead_lettered() == 1);
  CHECK(info.orders() == 0);
  CHECK(info.orders_recorded() == 0);
}

TEST_CASE("a failure to publish repeats publishing and never Process") {
  Rig rig;
  rig.start();
  const auto id = rig.create(Rig::request({"in"}));
  Listener out(rig.bus, {"com.example.echo"});
  rig.bus.fail_publishes("com.example.echo", 3);
  rig.publish("in", "echo a");
  rig.publish("in", "echo b");
  const auto seen = out.wait(2);
  CHECK(seen[0].data() == "a");
  CHECK(seen[1].data() == "b");
  REQUIRE(eventually([&] { return rig.info(id).processed() == 2; }));
  CHECK(rig.info(id).failed() == 0);
}

TEST_CASE("an output that cannot be published is dead-lettered, and its input with it") {
  Rig rig;
  rig.start();
  const auto id = rig.create(Rig::request({"in"}));
  Listener out(rig.bus, {"com.example.echo"});
  Listener dead(rig.bus, {"com.example.echo-dead"});
  Listener input_dead(rig.bus, {"in-dead"});
  rig.bus.fail_publishes("com.example.echo", 4);
  rig.publish("in", "echo lost", {{"correlationid", "c"}});
  rig.publish("in", "echo next");
  CHECK(out.wait(1)[0].data() == "next");
  const auto letter = dead.wait(1)[0];
  check_sound(*letter.event);
  CHECK(letter.data() == "lost");
  CHECK(letter.extension("deadletterreason") == "publish");
  CHECK(letter.extension("deadletterattempts") == "4");
  CHECK(letter.extension("correlationid") == "c");
  CHECK(letter.extension("deadletterid") != letter.event->id());
  CHECK(input_dead.wait(1)[0].extension("deadletterreason") == "publish");
  REQUIRE(eventually([&] { return rig.info(id).processed() == 1; }));
  const auto info = rig.info(id);
  CHECK(info.dead_lettered() == 1);
  CHECK(info.outputs() == 1);
  CHECK(info.delivered() == 2);
}

}  // namespace virtufin::workmanager::test

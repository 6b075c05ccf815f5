// Events to calls of Process: order, retries, timeouts, ways to run.

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>

#include "unit/workmanager/rig.h"

namespace virtufin::workmanager::test {
namespace {

/// A name that no other test uses, in the temporary folder; removed at the end.
class FlagFile {
 public:
  FlagFile()
      : path_((std::filesystem::temp_directory_path() /
               ("virtufin-flag-" + std::string(random_uuid().view())))
                  .string()) {}
  ~FlagFile() { std::filesystem::remove(path_); }
  void raise() { std::ofstream(path_) << "go"; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void check_sum(const WorkerInfo& info) {
  CHECK(info.delivered() ==
        info.processed() + info.dead_lettered() + info.dropped() + info.in_flight());
}

bool idle(Rig& rig, const std::string& id) {
  const auto info = rig.info(id);
  return info.delivered() > 0 && info.in_flight() == 0;
}

}  // namespace

TEST_CASE("events are processed in the order of arrival, whatever runs them") {
  const auto [dispatch, concurrency] =
      GENERATE(table<const char*, int>({{"pool", 1}, {"thread", 1}, {"inline", 1}, {"pool", 4}}));
  CAPTURE(dispatch, concurrency);
  Rig rig;
  rig.start();
  auto request = Rig::request({"in"});
  request.set_dispatch(dispatch);
  request.set_concurrency(1);
  const auto id = rig.create(request);
  Listener out(rig.bus, {"com.example.echo"});
  for (int i = 0; i < 2000; ++i) rig.publish("in", "echo " + std::to_string(i));
  const auto seen = out.wait(2000);
  for (int i = 0; i < 2000; ++i)
    REQUIRE(seen[static_cast<std::size_t>(i)].data() == std::to_string(i));
  REQUIRE(eventually([&] { return idle(rig, id); }));
  const auto info = rig.info(id);
  CHECK(info.delivered() == 2000);
  CHECK(info.processed() == 2000);
  CHECK(info.outputs() == 2000);
  check_sum(info);
  CHECK(rig.module->totals().lag_p99_us > 0);
}

TEST_CASE("a failed call is tried again and holds what is behind it") {
  const char* dispatch = GENERATE("pool", "inline");
  CAPTURE(dispatch);
  Rig rig;
  rig.start();
  auto request = Rig::request({"in"});
  request.set_dispatch(dispatch);
  const auto id = rig.create(request);
  Listener out(rig.bus, {"com.example.*"});
  rig.publish("in", "fail 2");
  rig.publish("in", "echo behind");
  const auto seen = out.wait(2);
  CHECK(seen[0].event->type() == "com.example.recovered");
  CHECK(seen[0].data() == "3");
  CHECK(seen[1].data() == "behind");
  REQUIRE(eventually([&] { return idle(rig, id); }));
  const auto info = rig.info(id);
  CHECK(info.failed() == 2);
  CHECK(info.processed() == 2);
  CHECK(info.dead_lettered() == 0);
  check_sum(info);
}

TEST_CASE("an event that keeps failing is dead-lettered by the bus and the next one goes on") {
  Rig rig;
  rig.start();
  const auto id = rig.create(Rig::request({"in"}));
  Listener dead(rig.bus, {"in-dead"});
  Listener out(rig.bus, {"com.example.echo"});
  const auto event = rig.event("fail 100", {{"correlationid", "c-1"}});
  rig.publish("in", event);
  rig.publish("in", "echo next");
  CHECK(out.wait(1)[0].data() == "next");
  const auto letter = dead.wait(1)[0];
  CHECK(letter.extension("deadletterid") == event->id());
  CHECK(letter.extension("deadletterworker") == id);
  CHECK(letter.extension("deadletterattempts") == "4");
  CHECK(letter.extension("deadlettertopic") == "in");
  CHECK(letter.extension("deadletterreason") == "error: failed on call 4");
  CHECK(letter.extension("correlationid") == "c-1");
  CHECK(letter.event->id() != event->id());
  CHECK(letter.data() == "fail 100");
  REQUIRE(eventually([&] { return idle(rig, id); }));
  const auto info = rig.info(id);
  CHECK(info.failed() == 4);
  CHECK(info.dead_lettered() == 1);
  CHECK(info.processed() == 1);
  check_sum(info);
}

TEST_CASE("exceptions and outputs that are no events fail the call with their words") {
  const auto [command, words] = GENERATE(table<const char*, const char*>(
      {{"throw", "thrown on purpose"}, {"untyped", "the worker's output is no event"}}));
  CAPTURE(command);
  Rig rig;
  rig.start();
  auto request = Rig::request({"in"});
  request.mutable_retry()->set_max_attempts(1);
  const auto id = rig.create(request);
  Listener dead(rig.bus, {"in-dead"});
  rig.publish("in", command);
  CHECK_THAT(dead.wait(1)[0].extension("deadletterreason"), Catch::Contains(words));
  CHECK_THAT(rig.info(id).last_error(), Catch::Contains(words));
}

TEST_CASE("a report beside an output is kept and fails nothing") {
  Rig rig;
  rig.start();
  const auto id = rig.create(Rig::request({"in"}));
  Listener out(rig.bus, {"com.example.reported"});
  rig.publish("in", "report");
  out.wait(1);
  REQUIRE(eventually([&] { return rig.info(id).processed() == 1; }));
  CHECK(rig.info(id).last_error() == "something to tell");
  CHECK(rig.info(id).failed() == 0);
}

TEST_CASE("a call past its timeout costs its worker and nobody else") {
  const char* dispatch = GENERATE("pool", "thread");
  CAPTURE(dispatch);
  FlagFile flag;
  Rig rig;
  auto config = Rig::quick();
  config.worker_threads = 1;  // the only thread hangs, and is replaced
  rig.start(config);
  auto request = Rig::request({"in"});
  request.set_timeout_ms(100);
  request.set_dispatch(dispatch);
  const auto id = rig.create(request);
  const auto other = rig.create(Rig::request({"other"}));
  Listener dead(rig.bus, {"in-dead"});
  Listener out(rig.bus, {"com.example.echo"});
  Listener lifecycle(rig.bus, {"workmanager.lifecycle"});
  const auto event = rig.event("hang " + flag.path());
  rig.publish("in", event);
  rig.publish("in", "echo never");

  const auto letter = dead.wait(1)[0];
  CHECK(letter.extension("deadletterreason") == "timeout");
  CHECK(letter.extension("deadletterattempts") == "1");
  REQUIRE(eventually([&] { return rig.info(id).dropped() == 1; }));
  CHECK(rig.info(id).state() == "failed");
  rig.publish("other", "echo alive");
  CHECK(out.wait(1)[0].data() == "alive");
  CHECK(lifecycle.wait(1)[0].event->type() == "com.virtufin.workmanager.lifecycle.failed");
  auto info = rig.info(id);
  CHECK(info.status() == WORKER_STATUS_STOPPED);
  CHECK(info.dead_lettered() == 1);
  check_sum(info);

  // Started again, it has its code anew; what the old call returns is dropped.
  REQUIRE(rig.start_worker(id).ok());
  rig.publish("in", "echo again");
  CHECK(out.wait(2)[1].data() == "again");
  flag.raise();
  rig.publish("in", "echo after");
  CHECK(out.wait(3)[2].data() == "after");
  check_sum(rig.info(id));
  CHECK(rig.info(other).processed() == 1);
}

TEST_CASE("what waits when a worker is stopped counts as dropped") {
  FlagFile flag;
  Rig rig;
  rig.start();
  const auto id = rig.create(Rig::request({"in"}));
  rig.publish("in", "hang " + flag.path());
  for (int i = 0; i < 1000; ++i) rig.publish("in", "none");
  auto stopped = std::async(std::launch::async, [&] { return rig.stop_worker(id); });
  // The event in hand is let finish; the others, in the ring and in the bus, are gone already.
  REQUIRE(eventually([&] { return rig.info(id).dropped() == 1000; }));
  CHECK(rig.info(id).in_flight() == 1);
  flag.raise();
  CHECK(stopped.get().ok());
  const auto info = rig.info(id);
  CHECK(info.delivered() == 1001);
  CHECK(info.processed() == 1);
  check_sum(info);
}

TEST_CASE("concurrency lets calls overlap and keeps the order of outputs") {
  FlagFile flag;
  Rig rig;
  auto config = Rig::quick();
  config.worker_threads = 4;
  rig.start(config);
  auto request = Rig::request({"in"});
  request.set_concurrency(4);
  // Each of two workers' calls keeps a map; overlapping calls of one library must not share it.
  request.mutable_code_source()->set_content(read_file(VIRTUFIN_TEST_WORKERS "/libreentrant.so"));
  const auto id = rig.create(request);
  Listener out(rig.bus, {"com.example.reentrant"});
  // Three calls wait until a fourth is inside: without overlap none would return.
  for (int i = 0; i < 4; ++i) rig.publish("in", std::to_string(i));
  const auto seen = out.wait(4);
  for (int i = 0; i < 4; ++i) CHECK(seen[static_cast<std::size_t>(i)].data() == std::to_string(i));
  REQUIRE(eventually([&] { return idle(rig, id); }));
  check_sum(rig.info(id));
}

TEST_CASE("a group shares the events, single workers get all of them") {
  Rig rig;
  rig.start();
  auto grouped = Rig::request({"in"});
  grouped.set_group("g");
  const auto a = rig.create(grouped), b = rig.create(grouped);
  const auto single = rig.create(Rig::request({"in"}));
  for (int i = 0; i < 100; ++i) {
    rig.publish("in", rig.event("none", {}, "subject/" + std::to_string(i)));
  }
  REQUIRE(eventually([&] {
    return rig.info(a).processed() + rig.info(b).processed() == 100 &&
           rig.info(single).processed() == 100;
  }));
  CHECK(rig.info(a).processed() > 0);
  CHECK(rig.info(b).processed() > 0);
}

TEST_CASE("a command runs once, beside other topics that everyone gets") {
  Rig rig;
  rig.start();
  const auto a = rig.create(Rig::request({"command.do", "in"}));
  const auto b = rig.create(Rig::request({"command.do", "in"}));
  for (int i = 0; i < 20; ++i) {
    rig.publish("command.do", rig.event("none", {}, "s" + std::to_string(i)));
  }
  rig.publish("in", "none");
  REQUIRE(eventually([&] { return rig.info(a).processed() + rig.info(b).processed() == 22; }));
  CHECK(rig.info(a).delivered() + rig.info(b).delivered() == 22);
}

TEST_CASE("the routing filter decides before the worker") {
  Rig rig;
  rig.start();
  auto request = Rig::request({"in"});
  request.mutable_filter()->set_subject("wanted/*");
  const auto id = rig.create(request);
  rig.publish("in", rig.event("none", {}, "other/1"));
  rig.publish("in", rig.event("none", {}, "wanted/1"));
  REQUIRE(eventually([&] { return rig.info(id).processed() == 1; }));
  CHECK(rig.info(id).delivered() == 1);
}

TEST_CASE("config reaches the worker on its own copy of the event") {
  Rig rig;
  rig.start();
  auto request = Rig::request({"in"});
  (*request.mutable_config())["api_host"] = "example.org";
  rig.create(request);
  rig.create(Rig::request({"in"}));
  Listener out(rig.bus, {"com.example.config"});
  rig.publish("in", "config api_host");
  std::multiset<std::string> seen;
  for (const auto& one : out.wait(2)) seen.insert(one.data());
  CHECK(seen == std::multiset<std::string>{"", "example.org"});
}

TEST_CASE("a slow worker loses the oldest market events, counted") {
  FlagFile flag;
  Rig rig;
  rig.start();
  auto request = Rig::request({"act.exchange.x.trade.tape"});
  request.set_queue_events(10);
  const auto id = rig.create(request);
  rig.publish("act.exchange.x.trade.tape", "hang " + flag.path());
  // Not before it is out of the queue, or it could be among the oldest itself.
  REQUIRE(eventually([&] { return rig.info(id).in_flight() == 1; }));
  // One in the call, 255 more in flight, 10 wait; the rest is lost.
  for (int i = 0; i < 1000; ++i) rig.publish("act.exchange.x.trade.tape", "none");
  flag.raise();
  REQUIRE(eventually([&] {
    const auto info = rig.info(id);
    return info.in_flight() == 0 && info.delivered() == 1001;
  }));
  const auto info = rig.info(id);
  CHECK(info.dropped() > 700);
  check_sum(info);
}

}  // namespace virtufin::workmanager::test

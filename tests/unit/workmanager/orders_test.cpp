// Orders: recorded before they are published, updated afterwards, listed in pages.

#include <simdjson.h>

#include "modules/workmanager/order_index.h"
#include "modules/workmanager/order_record.h"
#include "unit/workmanager/rig.h"

namespace virtufin::workmanager::test {
namespace {

/// The ids on a page, found under any of today's days (midnight may pass during a test).
std::vector<std::string> page(Rig& rig, const std::string& prefix, int number) {
  const std::string now = format_time(rig.clock.now());
  const std::string day = now.substr(0, 4) + now.substr(5, 2) + now.substr(8, 2);
  const auto item = rig.get(prefix + ".index." + day + "." + std::to_string(number));
  std::vector<std::string> ids;
  if (item.etag.empty()) return ids;
  simdjson::dom::parser parser;
  simdjson::dom::array array;
  REQUIRE(!parser.parse(item.value).get_array().get(array));
  for (const auto one : array) ids.emplace_back(std::string_view(one.get_string()));
  return ids;
}

}  // namespace

TEST_CASE("an order is in the store before a subscriber sees it") {
  Rig rig;
  rig.start();
  const auto id = rig.create(Rig::request({"in"}));
  std::string seen_record;
  Listener out(rig.bus, {"sc.LIVE.orders"});
  rig.store->hold_saves("sc.LIVE.trading.order.");
  rig.publish("in", "order o1");
  rig.publish("in", "order o2");
  // Both are with the store already; neither is out, and nothing counts as done.
  REQUIRE(eventually([&] { return rig.store->held() == 2; }));
  CHECK(out.count() == 0);
  CHECK(rig.info(id).processed() == 0);
  CHECK(rig.info(id).in_flight() == 2);
  rig.store->release();
  const auto seen = out.wait(2);
  CHECK(seen[0].event->subject() == "order/o1");
  CHECK(seen[1].event->subject() == "order/o2");

  auto record = order_from_json(rig.get("sc.LIVE.trading.order.o1").value);
  REQUIRE(record.ok());
  CHECK(record->order_id == "o1");
  CHECK(record->status == "submitted");
  CHECK(record->side == "buy");
  CHECK(record->type == "limit");
  CHECK(record->qty == "2");
  CHECK(record->remaining_qty == "2");
  CHECK(record->avg_price == "0");
  CHECK(record->price == "10.50");
  CHECK(record->venue == "binance");
  CHECK(record->symbol == "BTCUSDT");
  CHECK(record->created_at == seen[0].extension("eventtime"));
  REQUIRE(eventually([&] { return rig.info(id).processed() == 2; }));
  const auto totals = rig.module->totals();
  CHECK(totals.orders == 2);
  CHECK(totals.orders_recorded == 2);
  CHECK(totals.order_record_bytes > 200);
}

TEST_CASE("an order that exists counts as recorded and goes out again under its id") {
  Rig rig;
  rig.start();
  const auto id = rig.create(Rig::request({"in"}));
  Listener out(rig.bus, {"sc.LIVE.orders"});
  const auto input = rig.event("order o1");
  rig.publish("in", input);
  out.wait(1);
  const std::string first = rig.get("sc.LIVE.trading.order.o1").value;
  rig.publish("in", input);
  const auto seen = out.wait(2);
  CHECK(seen[0].event->id() == seen[1].event->id());
  CHECK(rig.get("sc.LIVE.trading.order.o1").value == first);
  REQUIRE(eventually([&] { return rig.info(id).orders_recorded() == 2; }));
}

TEST_CASE("a record that cannot be saved keeps its order back") {
  Rig rig;
  rig.start();
  const auto id = rig.create(Rig::request({"in"}));
  Listener out(rig.bus, {"sc.LIVE.orders"});
  Listener dead(rig.bus, {"sc.LIVE.orders-dead"});
  rig.store->fail_saves("sc.LIVE.trading.order.late", 2);
  rig.publish("in", "order late");  // saved by the third try
  CHECK(out.wait(1)[0].event->subject() == "order/late");
  rig.store->fail_saves("sc.LIVE.trading.order.never", 4);
  rig.publish("in", "order never");
  CHECK(dead.wait(1)[0].extension("deadletterreason") == "publish");
  CHECK(out.count() == 1);
  REQUIRE(eventually([&] { return rig.info(id).in_flight() == 0; }));
  const auto info = rig.info(id);
  CHECK(info.orders() == 1);
  CHECK(info.orders_recorded() == 1);
  CHECK(info.dead_lettered() == 1);
}

TEST_CASE("later events update the record and never replace it") {
  Rig rig;
  rig.start();
  rig.create(Rig::request({"in"}));
  Listener out(rig.bus, {"sc.LIVE.orders", "com.virtufin.trading.order.filled"});
  rig.publish("in", "order o1");
  rig.publish("in", "filled o1");
  out.wait(2);
  auto record = order_from_json(rig.get("sc.LIVE.trading.order.o1").value);
  REQUIRE(record.ok());
  CHECK(record->status == "partially_filled");
  CHECK(record->remaining_qty == "1.5");
  CHECK(record->avg_price == "10.4");
  CHECK(record->qty == "2");
  CHECK(record->price == "10.50");
  // Of an order that nobody opened there is no record, and its event goes out.
  rig.publish("in", "filled unknown");
  out.wait(3);
  CHECK(rig.get("sc.LIVE.trading.order.unknown").etag.empty());
}

TEST_CASE("an order's life, by its record") {
  Rig rig;
  const auto event = [&](std::string_view what, std::string_view data) {
    EventFields fields;
    fields.id = "e";
    const std::string type = "com.virtufin.trading.order." + std::string(what);
    fields.type = type;
    fields.source = "urn:test";
    fields.subject = "order/from-subject";
    fields.data = as_bytes(data);
    const Extension time[] = {{"eventtime", "2026-01-02T03:04:05.000000006Z"}};
    fields.extensions = time;
    auto made = make_event(fields);
    REQUIRE(made.ok());
    return *made;
  };
  CHECK(order_id_of(*event("submitted", R"({"order_id":"from-data"})")) == "from-data");
  CHECK(order_id_of(*event("submitted", "no json")) == "from-subject");

  // A number instead of a decimal string, as older workers write.
  auto record = open_order(*event("submitted", R"({"qty":3,"side":"sell","type":"market"})"));
  CHECK(record.qty == "3");
  CHECK(record.created_at == "2026-01-02T03:04:05.000000006Z");
  update_order(record, *event("accepted", "{}"));
  CHECK(record.status == "accepted");
  update_order(record, *event("filled", R"({"qty_filled":"1","price":"10","remaining_qty":"2"})"));
  CHECK(record.status == "partially_filled");
  update_order(record, *event("filled", R"({"qty_filled":"1","price":"11"})"));
  CHECK(record.remaining_qty == "1");
  CHECK(record.avg_price == "10.5");
  update_order(record, *event("amended", R"({"new_qty":"5","new_price":"12.0"})"));
  CHECK(record.qty == "5");
  CHECK(record.remaining_qty == "3");
  CHECK(record.price == "12.0");
  update_order(record, *event("filled", R"({"qty_filled":"3","price":"12","remaining_qty":"0"})"));
  CHECK(record.status == "filled");
  CHECK(record.avg_price == "11.4");

  auto again = order_from_json(to_json(record));
  REQUIRE(again.ok());
  CHECK(to_json(*again) == to_json(record));
}

TEST_CASE("orders are listed in pages, go on after a restart and are complete after a crash") {
  Rig rig;
  auto config = Rig::quick();
  config.order_index_page_ids = 3;
  rig.start(config);
  rig.create(Rig::request({"in"}));
  Listener out(rig.bus, {"sc.LIVE.orders"});
  for (int i = 0; i < 4; ++i) rig.publish("in", "order o" + std::to_string(i));
  out.wait(4);
  const std::string prefix = "sc.LIVE.trading.order";
  REQUIRE(eventually([&] { return page(rig, prefix, 1).size() == 1; }));
  CHECK(page(rig, prefix, 0) == std::vector<std::string>{"o0", "o1", "o2"});
  CHECK(page(rig, prefix, 1) == std::vector<std::string>{"o3"});

  rig.stop();
  CHECK(rig.get("workmanager.order.index").value == "closed");
  rig.start(config);
  rig.publish("in", "order o4");
  REQUIRE(eventually([&] { return page(rig, prefix, 1).size() == 2; }));

  // A crash: the record is there, its page is not, the index was left open.
  rig.stop();
  rig.save("workmanager.order.index", "open");
  rig.save("sc.LIVE.trading.order.lost", R"({"order_id":"lost"})");
  rig.start(config);
  REQUIRE(eventually([&] { return page(rig, prefix, 1).size() == 3; }));
  CHECK(page(rig, prefix, 1) == std::vector<std::string>{"o3", "o4", "lost"});
  CHECK(page(rig, prefix, 2).empty());
}

}  // namespace virtufin::workmanager::test

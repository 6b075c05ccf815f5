// The imbalance worker as it is shipped: the library, crafted books, orders by value.

#include <simdjson.h>

#include "modules/workmanager/engines/native/native_engine.h"
#include "unit/workmanager/rig.h"

namespace virtufin::workmanager::test {
namespace {

struct Order {
  std::string topic, type, subject, data;
};

class OrderSink final : public OutputSink {
 public:
  absl::Status output(const EventFields& fields) override {
    Order order{"", std::string(fields.type), std::string(fields.subject),
                std::string(as_text(*fields.data))};
    for (const auto& extension : fields.extensions) {
      if (extension.name == "publishtopic") order.topic = extension.value;
    }
    orders.push_back(std::move(order));
    return absl::OkStatus();
  }
  void report(std::string_view) override {}
  std::vector<Order> orders;
};

/// The worker fed with events of one venue.
class Strategy {
 public:
  Strategy() : engine_({}, "", methods_) {
    const std::string library = read_file(VIRTUFIN_WORKERS "/libimbalance.so");
    auto code = engine_.load({.worker_id = "w", .first_topic = "t", .code = as_bytes(library)});
    REQUIRE(code.ok());
    code_ = *std::move(code);
  }

  /// The orders that this event makes.
  std::vector<Order> send(std::string_view type, std::string_view data,
                          std::string_view venue = "binance", std::string_view symbol = "BTCUSDT") {
    const std::string id = "event-" + std::to_string(++count_);
    const std::string full =
        "com.virtufin.exchange." + std::string(venue) + "." + std::string(type);
    const std::string subject = "currency_pair/" + std::string(symbol);
    const Extension extensions[] = {{"exchange", venue},
                                    {"eventtime", "2026-01-31T12:34:56.123456789Z"}};
    EventFields fields;
    fields.id = id;
    fields.type = full;
    fields.source = "urn:test";
    fields.subject = subject;
    fields.data = as_bytes(data);
    fields.extensions = extensions;
    auto event = make_event(fields);
    REQUIRE(event.ok());
    OrderSink sink;
    last_status = code_->process(**event, sink);
    return sink.orders;
  }
  std::vector<Order> snapshot(std::string_view bids, std::string_view asks, int last = 100,
                              std::string_view venue = "binance",
                              std::string_view symbol = "BTCUSDT") {
    return send("orderbook.snapshot",
                fmt::format(R"({{"bids":[{}],"asks":[{}],"last_update_id":{},)"
                            R"("snapshot_at":"2026-01-31T12:34:56.000000000Z"}})",
                            bids, asks, last),
                venue, symbol);
  }
  std::vector<Order> update(std::string_view bids, std::string_view asks, int first, int last,
                            std::string_view venue = "binance",
                            std::string_view symbol = "BTCUSDT") {
    return send("orderbook.updated",
                fmt::format(R"({{"bids_delta":[{}],"asks_delta":[{}],"first_update_id":{},)"
                            R"("last_update_id":{}}})",
                            bids, asks, first, last),
                venue, symbol);
  }

  absl::Status last_status;

 private:
  rpc::MethodTable methods_;
  native::NativeEngine engine_;
  std::shared_ptr<WorkerCode> code_;
  int count_ = 0;
};

std::string side(const std::vector<Order>& orders) {
  REQUIRE(orders.size() == 1);
  simdjson::dom::parser parser;
  std::string_view value;
  REQUIRE(!parser.parse(orders[0].data)["side"].get_string().get(value));
  return std::string(value);
}

}  // namespace

TEST_CASE("imbalance: above the threshold one buy at the best ask, as the contract writes orders") {
  Strategy strategy;
  CHECK(strategy.snapshot(R"(["100.10","1"],["100.00","9"])", R"(["100.20","1"],["100.30","9"])")
            .empty());
  const auto orders = strategy.update(R"(["100.10","4.5"])", "", 101, 101);  // 3.5 / 5.5
  REQUIRE(orders.size() == 1);
  CHECK(orders[0].type == "com.virtufin.trading.order.submitted");
  CHECK(orders[0].topic == "sc.LIVE.orders");
  CHECK(orders[0].subject == "order/imbalance-event-2");
  CHECK(orders[0].data ==
        R"({"order_id":"imbalance-event-2","symbol":"BTCUSDT","side":"buy","type":"limit",)"
        R"("qty":"1","price":"100.20","venue":"binance",)"
        R"("submitted_at":"2026-01-31T12:34:56.123456789Z"})");
}

TEST_CASE("imbalance: armed again under 0.2 or by the other threshold, not before") {
  Strategy strategy;
  auto book = [&, id = 100](std::string_view bid, std::string_view ask) mutable {
    ++id;
    return strategy.update(fmt::format(R"(["10","{}"])", bid), fmt::format(R"(["11","{}"])", ask),
                           id, id);
  };
  CHECK(strategy.snapshot(R"(["10","1"])", R"(["11","1"])").empty());
  CHECK(side(book("9", "1")) == "buy");   // 0.8
  CHECK(book("19", "1").empty());         // 0.9: it has fired
  CHECK(book("4", "1").empty());          // exactly 0.6 is not above
  CHECK(book("3", "2").empty());          // exactly 0.2 does not arm
  CHECK(book("9", "1").empty());          // still not armed
  CHECK(book("11", "9").empty());         // 0.1 arms
  CHECK(side(book("9", "1")) == "buy");   // and it fires again
  CHECK(side(book("1", "9")) == "sell");  // the other threshold without the middle
  CHECK(book("1", "9").empty());
  CHECK(side(book("9", "1")) == "buy");
}

TEST_CASE("imbalance: a sell is at the best bid") {
  Strategy strategy;
  const auto orders = strategy.snapshot(R"(["0.01737000","1"],["0.01736000","50"])",
                                        R"(["0.01740000","100"],["0.01750000","1"])");
  CHECK(side(orders) == "sell");
  CHECK_THAT(orders[0].data, Catch::Contains(R"("price":"0.01737000")"));
}

TEST_CASE("imbalance: the book follows removals, insertions and equal prices in other digits") {
  Strategy strategy;
  strategy.snapshot(R"(["10.0","5"],["9.0","5"],["8.0","5"])",
                    R"(["11.0","5"],["12.0","5"],["13.0","1"])");
  CHECK(strategy.update(R"(["10.00","0"])", "", 101, 101).empty());  // best bid is 9.0 now
  CHECK(strategy.update("", R"(["11","0"],["12.0","6"])", 102, 102).empty());
  CHECK(strategy.update(R"(["7.5","100"])", R"(["99","100"])", 103, 103).empty());
  const auto orders = strategy.update(R"(["9.50","90"])", R"(["12.5","1"])", 104, 104);
  CHECK(side(orders) == "buy");
  CHECK_THAT(orders[0].data, Catch::Contains(R"("price":"12.0")"));
  CHECK(strategy.update(R"(["1","0"])", R"(["2","0"])", 105, 105).empty());  // not there
}

TEST_CASE("imbalance: no signal before the snapshot, which is brought up to date") {
  Strategy strategy;
  CHECK(strategy.update(R"(["10","9"])", R"(["11","1"])", 90, 99).empty());    // older
  CHECK(strategy.update(R"(["10","8"])", R"(["11","8"])", 100, 101).empty());  // reaches back
  CHECK(strategy.update(R"(["10","9"])", R"(["11","1"])", 102, 102).empty());
  // The snapshot alone is even; with the updates that follow it the bid is heavy.
  const auto orders = strategy.snapshot(R"(["10","5"])", R"(["11","5"])", 100);
  CHECK(side(orders) == "buy");
  // What the book already holds changes nothing.
  CHECK(strategy.update(R"(["10","1"])", R"(["11","9"])", 101, 102).empty());
  CHECK(side(strategy.update(R"(["10","1"])", R"(["11","9"])", 103, 103)) == "sell");
}

TEST_CASE("imbalance: a snapshot of another run of the feed stands alone") {
  Strategy strategy;
  CHECK(strategy.update(R"(["10","9"])", R"(["11","1"])", 5000, 5001).empty());
  CHECK(strategy.snapshot(R"(["10","5"])", R"(["11","5"])", 100).empty());
  CHECK(side(strategy.update(R"(["10","50"])", "", 101, 101)) == "buy");
}

TEST_CASE("imbalance: a gap silences the book until its next snapshot") {
  Strategy strategy;
  strategy.snapshot(R"(["10","5"])", R"(["11","5"])");
  strategy.send("feed.gap", R"({"connection_id":"c","expected":1,"received":2,"reason":"gap"})");
  CHECK(strategy.update(R"(["10","50"])", "", 200, 200).empty());
  CHECK(strategy.snapshot(R"(["10","5"])", R"(["11","5"])", 300).empty());
  CHECK(side(strategy.update(R"(["10","50"])", "", 301, 301)) == "buy");
}

TEST_CASE("imbalance: books are kept by venue and subject") {
  Strategy strategy;
  strategy.snapshot(R"(["10","5"])", R"(["11","5"])", 100, "binance", "AAA");
  strategy.snapshot(R"(["10","5"])", R"(["11","5"])", 100, "binance", "BBB");
  strategy.snapshot(R"(["10","5"])", R"(["11","5"])", 100, "binance-futures", "AAA");
  const auto orders = strategy.update(R"(["10","50"])", "", 101, 101, "binance-futures", "AAA");
  CHECK(side(orders) == "buy");
  CHECK_THAT(orders[0].data, Catch::Contains(R"("venue":"binance-futures")"));
  CHECK(side(strategy.update(R"(["10","50"])", "", 101, 101, "binance", "AAA")) == "buy");
  CHECK(strategy.update("", "", 101, 101, "binance", "BBB").empty());
}

TEST_CASE("imbalance: an empty or crossed side gives no signal, other events are not its affair") {
  Strategy strategy;
  CHECK(strategy.snapshot(R"(["10","5"])", "").empty());
  CHECK(strategy.update("", R"(["9","1"])", 101, 101).empty());  // ask under bid
  CHECK(strategy.send("ticker.updated", R"({"bid":"1","bid_qty":"99","ask":"2","ask_qty":"1"})")
            .empty());
  CHECK(strategy.last_status.ok());
}

TEST_CASE("imbalance: a payload in another shape is read, one that is broken is refused") {
  Strategy strategy;
  strategy.snapshot(R"(["10","5"])", R"(["11","5"])");
  CHECK(side(strategy.send("orderbook.updated",
                           " { \"extra\" : {\"a\":[1,\"}\"]} , \"last_update_id\" : 101 ,\n"
                           "\"first_update_id\":101,\"asks_delta\":[ ] ,"
                           "\"bids_delta\":[ [ \"10\" , \"50\" ] ] }")) == "buy");
  for (const char* broken :
       {"", "[]", "{", R"({"bids_delta":[["10"]]})", R"({"bids_delta":[["x","1"]]})",
        R"({"bids_delta":[["1..0","1"]]})", R"({"last_update_id":"x"})", R"({"a":)"}) {
    CAPTURE(broken);
    CHECK(strategy.send("orderbook.updated", broken).empty());
    CHECK_FALSE(strategy.last_status.ok());
  }
}

}  // namespace virtufin::workmanager::test

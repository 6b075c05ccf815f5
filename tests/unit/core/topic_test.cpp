#include "core/topic.h"

#include <catch2/catch.hpp>

#include "core/errors.h"

namespace topic = virtufin::topic;
using topic::Root;

TEST_CASE("a topic of real market data is parsed") {
  const auto parts = topic::parse("act.exchange.binance.trade.tape");
  CHECK(parts.root == Root::kActual);
  CHECK(parts.selector.empty());
  CHECK(parts.scenario.empty());
  CHECK(parts.tail == "exchange.binance.trade.tape");
  CHECK_FALSE(parts.dead);
}

TEST_CASE("a topic of hypothetical market data is parsed") {
  const auto parts = topic::parse("hyp.crash-2020.exchange.kraken.orderbook.update.BTCUSDT");
  CHECK(parts.root == Root::kHypothetical);
  CHECK(parts.selector == "crash-2020");
  CHECK(parts.tail == "exchange.kraken.orderbook.update.BTCUSDT");
}

TEST_CASE("a topic of a scenario is parsed, the short form of orders too") {
  const auto order = topic::parse("sc.LIVE.trading.order.submitted.42");
  CHECK(order.root == Root::kScenario);
  CHECK(order.scenario == "LIVE");
  CHECK(order.tail == "trading.order.submitted.42");
  const auto orders = topic::parse("sc.paper_1.orders");
  CHECK(orders.scenario == "paper_1");
  CHECK(orders.tail == "orders");
}

TEST_CASE("a dead letter topic is parsed without its ending") {
  const auto parts = topic::parse("sc.LIVE.orders-dead");
  CHECK(parts.dead);
  CHECK(parts.root == Root::kScenario);
  CHECK(parts.tail == "orders");
  CHECK(topic::parse("websocketmanager.lifecycle-dead").tail == "websocketmanager.lifecycle");
}

TEST_CASE("what does not follow the grammar is a topic all the same") {
  for (const char* text :
       {"websocketmanager.lifecycle", "workmanager.infra.worker", "act", "act.", "hyp", "hyp.x",
        "hyp.x.", "hyp..exchange.x", "hyp.a b.exchange", "sc.LIVE", "sc.LIVE.", "sc..orders",
        "sc.012345678901234567890123456789012.orders", "ACT.exchange.x", "action.x", "*", "a.*.b",
        "-dead", "."}) {
    INFO(text);
    const auto parts = topic::parse(text);
    CHECK(parts.root == Root::kOther);
    CHECK(parts.tail == text);
    CHECK_FALSE(parts.dead);
    CHECK(topic::rewrite(text, "sel", "scn") == text);
  }
  CHECK(topic::parse("").root == Root::kOther);
}

TEST_CASE("ids and selectors are 1 to 32 characters of letters, digits, _ and -") {
  CHECK(topic::valid_id("a"));
  CHECK(topic::valid_id("LIVE"));
  CHECK(topic::valid_id("0_-Z"));
  CHECK(topic::valid_id(std::string(32, 'x')));
  CHECK_FALSE(topic::valid_id(std::string(33, 'x')));
  for (const char* bad : {"", "a.b", "a b", "a*", "ä", "a/b"}) CHECK_FALSE(topic::valid_id(bad));
}

TEST_CASE("topics are built") {
  CHECK(topic::market("", "exchange.binance.trade.tape") == "act.exchange.binance.trade.tape");
  CHECK(topic::market("bt", "exchange.binance.trade.tape") == "hyp.bt.exchange.binance.trade.tape");
  CHECK(topic::scenario("LIVE", "orders") == "sc.LIVE.orders");
  CHECK(topic::dead("sc.LIVE.orders") == "sc.LIVE.orders-dead");
}

TEST_CASE("production becomes backtest by rewriting the address") {
  const auto to_backtest = [](const char* text) { return topic::rewrite(text, "bt7", "sim"); };
  CHECK(to_backtest("act.exchange.binance.orderbook.update") ==
        "hyp.bt7.exchange.binance.orderbook.update");
  CHECK(to_backtest("hyp.other.exchange.binance.orderbook.update") ==
        "hyp.bt7.exchange.binance.orderbook.update");
  CHECK(to_backtest("sc.LIVE.trading.order.filled.7") == "sc.sim.trading.order.filled.7");
  CHECK(to_backtest("sc.LIVE.orders-dead") == "sc.sim.orders-dead");
  CHECK(to_backtest("act.exchange.x.trade.tape-dead") == "hyp.bt7.exchange.x.trade.tape-dead");
  CHECK(to_backtest("workmanager.lifecycle") == "workmanager.lifecycle");
}

TEST_CASE("a backtest's topics become production's again") {
  CHECK(topic::rewrite("hyp.bt7.exchange.binance.trade.tape", "", "LIVE") ==
        "act.exchange.binance.trade.tape");
  CHECK(topic::rewrite("act.exchange.binance.trade.tape", "", "LIVE") ==
        "act.exchange.binance.trade.tape");
  CHECK(topic::rewrite("sc.sim.orders", "", "LIVE") == "sc.LIVE.orders");
  CHECK(topic::rewrite("sc.sim.orders", "", "") == "sc.sim.orders");
}

TEST_CASE("a pattern is a topic or a prefix") {
  for (const char* good : {"a", "a.b", "a.*", "act.exchange.*", "a b", "x-dead", "a..*"}) {
    INFO(good);
    CHECK(topic::check_pattern(good).ok());
  }
  for (const char* bad : {"", "*", ".*", "a*", "*.a", "a.*.b", "a.*.*", "a.*-dead", "**"}) {
    INFO(bad);
    CHECK(topic::check_pattern(bad).code() == absl::StatusCode::kInvalidArgument);
  }
  CHECK(virtufin::message(topic::check_pattern("a.*.b")) ==
        "topic pattern 'a.*.b': a * may only end it, after a prefix and a dot, as in act.*");
}

TEST_CASE("a prefix matches what begins with it, never a dead letter") {
  CHECK(topic::matches("act.*", "act.exchange.binance.trade.tape"));
  CHECK(topic::matches("act.exchange.*", "act.exchange.b"));
  CHECK_FALSE(topic::matches("act.*", "act"));
  CHECK_FALSE(topic::matches("act.*", "action.x"));
  CHECK_FALSE(topic::matches("act.*", "hyp.act.x"));
  CHECK_FALSE(topic::matches("sc.*", "sc.LIVE.orders-dead"));
  CHECK(topic::matches("sc.LIVE.orders-dead", "sc.LIVE.orders-dead"));
  CHECK(topic::matches("a.b", "a.b"));
  CHECK_FALSE(topic::matches("a.b", "a.B"));
  CHECK_FALSE(topic::matches("a.b", "a.b.c"));
}

TEST_CASE("a star in a published topic is a character") {
  CHECK(topic::matches("a.*", "a.*"));
  CHECK_FALSE(topic::matches("a.b", "a.*"));
}

TEST_CASE("only what has something before -dead is a dead letter topic") {
  CHECK(topic::is_dead("a-dead"));
  CHECK_FALSE(topic::is_dead("-dead"));
  CHECK_FALSE(topic::is_dead("a-dead.b"));
  CHECK_FALSE(topic::is_dead("a"));
}

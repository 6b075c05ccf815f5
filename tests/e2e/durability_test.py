"""kill -9 in the middle of a run: every order that a subscriber saw is in the store after the restart."""

import unittest

import harness


class DurabilityTest(unittest.TestCase):
    def survive(self, durability):
        venue_port = harness.free_port()
        config = f"""
[modules]
venue = true
[venue]
port = {venue_port}
source = "synthetic"
symbols = ["BTCUSDT", "ETHUSDT"]
rate = 2000
laps = 0
[state]
durability = "{durability}"
path = "state.db"
"""
        with harness.Platform(config) as platform:
            platform.create_worker("libimbalance.so", ["act.exchange.binance.orderbook.update",
                                                       "act.exchange.binance.orderbook.snapshot"])
            orders = platform.subscribe("sc.LIVE.orders")
            platform.ok("POST", "/v1/connections", {
                "url": f"ws://127.0.0.1:{venue_port}/stream",
                "feed": {"venue": "binance", "symbols": ["BTCUSDT", "ETHUSDT"],
                         "channels": ["depth"], "restUrl": f"http://127.0.0.1:{venue_port}"}})
            seen = [orders.next() for _ in range(50)]
            platform.kill()
            orders.thread.join(timeout=harness.DEADLINE_S)
            seen += orders.drain()
            orders.close()

            platform.start()
            workers = platform.ok("GET", "/v1/workers")["workers"]
            self.assertEqual([w["status"] for w in workers], ["WORKER_STATUS_RUNNING"])
            for message in seen:
                order = message["cloudevent"]["data"]
                record = platform.state(f"sc.LIVE.trading.order.{order['order_id']}")["value"]
                self.assertTrue(record, f"order {order['order_id']} was seen but is not in the store")
                record = harness.json.loads(record)
                for name in ("order_id", "symbol", "side", "type", "qty", "price"):
                    self.assertEqual(record[name], order[name])

    def test_batched(self):
        self.survive("batched")

    def test_commit(self):
        self.survive("commit")


if __name__ == "__main__":
    unittest.main()

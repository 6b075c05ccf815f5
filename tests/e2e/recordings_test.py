"""All recorded Binance frames through the whole path: venue, connection, feed, bus, gateway, store.

Every frame must come out as exactly one event with the frame's own numbers, in the frame's order, and
the kept book must end as the raw file says.
"""

import collections
import unittest
from decimal import Decimal

import harness
import raw_recordings as raw

MARKETS = {
    "binance": ("BINANCE.ws.1.0", "BINANCE.http.0.0", "/api/v3"),
    "binance-futures": ("BINANCE_FUTURES.ws.1.0", "BINANCE_FUTURES.http.0.0", "/fapi/v1"),
}

TOPIC_OF = {
    "depthUpdate": "orderbook.update",
    "bookTicker": "ticker.update",
    "aggTrade": "trade.tape",
    "kline": "ohlcv.candle.1m",
}
TYPE_OF = {
    "depthUpdate": "orderbook.updated",
    "bookTicker": "ticker.updated",
    "aggTrade": "trade.tape",
    "kline": "ohlcv.candle",
}


def kind_of(frame):
    # Spot book tickers carry no `e`.
    return frame.data.get("e", "bookTicker")


def expected_payload(frame):
    """The members of the payload that the contract fixes, from the frame alone."""
    data, kind = frame.data, kind_of(frame)
    if kind == "depthUpdate":
        return {"bids_delta": data["b"], "asks_delta": data["a"],
                "first_update_id": data["U"], "last_update_id": data["u"]}
    if kind == "bookTicker":
        return {"bid": data["b"], "bid_qty": data["B"], "ask": data["a"], "ask_qty": data["A"]}
    if kind == "aggTrade":
        return {"trade_id": str(data["a"]), "price": data["p"], "qty": data["q"],
                "side": "sell" if data["m"] else "buy"}
    bar = data["k"]
    return {"interval": bar["i"], "open": bar["o"], "high": bar["h"], "low": bar["l"],
            "close": bar["c"], "volume": bar["v"], "closed": bar["x"]}


class RecordingsTest(unittest.TestCase):
    def run_market(self, venue):
        ws_name, http_name, _ = MARKETS[venue]
        harness.need_recordings(ws_name)
        harness.need_recordings(http_name)
        ws, http = harness.RECORDINGS / ws_name, harness.RECORDINGS / http_name
        frames = raw.frames(ws)
        venue_port = harness.free_port()
        config = f"""
[modules]
venue = true
[venue]
port = {venue_port}
recordings = "{harness.RECORDINGS}"
speed = 100.0
laps = 1
keep_times = true
[wsm]
snapshot_interval_ms = 200
"""
        with harness.Platform(config) as platform:
            stream = platform.subscribe("act.*")
            connection = platform.ok("POST", "/v1/connections", {
                "url": f"ws://127.0.0.1:{venue_port}/stream?streams=" + "/".join(raw.streams(ws)),
                "feed": {"venue": venue, "restUrl": f"http://127.0.0.1:{venue_port}"}})["id"]

            events = []
            others = collections.Counter()
            while len(events) < len(frames):
                message = stream.next()
                self.assertEqual(message.get("missed", 0), 0)
                if message["topic"].split(f".{venue}.")[1] in TOPIC_OF.values():
                    events.append(message)
                else:
                    others[message["cloudevent"]["type"]] += 1

            self.compare_counts(frames, events, venue)
            self.compare_each(frames, events, venue)
            self.compare_books(platform, venue, ws, http)
            self.assertEqual(others[f"com.virtufin.exchange.{venue}.feed.gap"], 0)

            listed = [c for c in platform.ok("GET", "/v1/connections")["connections"]
                      if c["id"] == connection][0]
            count = {name: int(listed[name]) for name in (
                "framesIn", "marketFrames", "controlFrames", "duplicates", "notPublished",
                "undecodable", "frameEvents")}
            self.assertEqual(count["marketFrames"], len(frames))
            self.assertEqual(count["frameEvents"], len(frames))
            self.assertEqual(count["framesIn"], sum(count[name] for name in (
                "marketFrames", "controlFrames", "duplicates", "notPublished", "undecodable")))
            stream.close()

    def compare_counts(self, frames, events, venue):
        wanted = collections.Counter(
            (f"com.virtufin.exchange.{venue}.{TYPE_OF[kind_of(f)]}",
             "currency_pair/" + f.data["s"]) for f in frames)
        found = collections.Counter(
            (m["cloudevent"]["type"], m["cloudevent"]["subject"]) for m in events)
        self.assertEqual(found, wanted)

    def compare_each(self, frames, events, venue):
        """Per stream and symbol, the n-th event is the n-th frame: so first and last prices too."""
        by_key = collections.defaultdict(list)
        for message in events:
            by_key[message["topic"], message["cloudevent"]["subject"]].append(message["cloudevent"])
        position = collections.Counter()
        ids = set()
        for frame in frames:
            key = (f"act.exchange.{venue}.{TOPIC_OF[kind_of(frame)]}",
                   "currency_pair/" + frame.data["s"])
            event = by_key[key][position[key]]
            position[key] += 1
            data = event["data"]
            wanted = expected_payload(frame)
            self.assertEqual({name: data.get(name) for name in wanted}, wanted, frame)
            self.assertEqual(event["exchange"], venue)
            self.assertEqual(event["scenarioid"], "LIVE")
            self.assertEqual((event["marketlane"], event["portfoliolane"], event["strategylane"]),
                             ("act", "act", "act"))
            self.assertEqual(event["time"], event["eventtime"])
            ids.add((event["source"], event["id"]))
        self.assertEqual(len(ids), len(frames), "every fact has an id of its own")

    def compare_books(self, platform, venue, ws, http):
        for symbol, book in raw.final_books(ws, http, venue == "binance-futures").items():
            def cached():
                value = platform.state(f"act.exchange.{venue}.orderbook.{symbol}",
                                       "websocketmanager")["value"]
                record = harness.json.loads(value) if value else {}
                return record if record.get("last_update_id") == book.last else None

            record = harness.wait_for(cached, f"the book of {symbol} at update {book.last}")
            for side, wanted in (("bids", book.bids), ("asks", book.asks)):
                found = [(Decimal(p), Decimal(q)) for p, q in record[side]]
                self.assertEqual(found, sorted(wanted.items(), reverse=side == "bids"), symbol)

    def test_spot(self):
        self.run_market("binance")

    def test_futures(self):
        self.run_market("binance-futures")


if __name__ == "__main__":
    unittest.main()

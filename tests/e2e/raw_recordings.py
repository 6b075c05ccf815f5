"""What a Binance recording says, computed from the raw file alone: the measure for the whole path.

Shares no code with the platform on purpose.
"""

import collections
import json
from decimal import Decimal

Frame = collections.namedtuple("Frame", "stream data")


def frames(path):
    """The venue's frames of a `*.ws.*` file, in order."""
    found = []
    for line in path.read_text().splitlines():
        if not line or line.startswith("wss:"):
            continue
        _, _, text = line.partition(": ")
        message = json.loads(text)
        if "stream" in message:
            found.append(Frame(message["stream"], message["data"]))
    return found


def streams(path):
    """The names in the recorded URL, in order."""
    return path.read_text().splitlines()[0].split("streams=")[1].split(" ")[0].split("/")


def snapshots(path):
    """symbol: the REST depth answer of a `*.http.*` file."""
    found = {}
    for line in path.read_text().splitlines():
        if "/depth?symbol=" not in line:
            continue
        url, _, rest = line.partition(" -> ")
        found[url.split("symbol=")[1].split("&")[0]] = json.loads(rest.partition(": ")[2])
    return found


class Book:
    """Levels as the venue wrote them; a level whose quantity is zero is gone."""

    def __init__(self):
        self.bids, self.asks, self.last = {}, {}, None

    def replace(self, snapshot):
        self.bids, self.asks = {}, {}
        self.apply(snapshot["bids"], snapshot["asks"])
        self.last = snapshot["lastUpdateId"]

    def apply(self, bids, asks):
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for price, quantity in levels:
                side.pop(Decimal(price), None)
                if Decimal(quantity) != 0:
                    side[Decimal(price)] = Decimal(quantity)

    def best(self):
        """(bid, quantity, ask, quantity), or None while a side is empty."""
        if not self.bids or not self.asks:
            return None
        bid, ask = max(self.bids), min(self.asks)
        return bid, self.bids[bid], ask, self.asks[ask]


def final_books(ws_path, http_path, futures):
    """symbol: the book after the snapshot and every update that the venue's rules let follow it."""
    books = {}
    for symbol, snapshot in snapshots(http_path).items():
        book = books[symbol] = Book()
        book.replace(snapshot)
    for frame in frames(ws_path):
        data = frame.data
        if data.get("e") != "depthUpdate":
            continue
        book = books[data["s"]]
        stale = data["u"] < book.last if futures else data["u"] <= book.last
        if not stale:
            book.apply(data["b"], data["a"])
            book.last = data["u"]
    return books

#!/usr/bin/env python3
"""Makes the JetStream streams that the components of config/dapr/jetstream want, or brings those
that stand to these settings. One stream for each root of topics, with the subjects `<root>.>`.

    streams.py [HOST:PORT]      default 127.0.0.1:4222
"""

import json
import socket
import sys

NANOSECONDS = 1_000_000_000
HOUR = 3600 * NANOSECONDS
MEBIBYTE = 1 << 20

# root: (max_age, max_bytes)
STREAMS = {
    "sc": (24 * HOUR, 256 * MEBIBYTE),
    "dead": (168 * HOUR, 64 * MEBIBYTE),
    "act": (1 * HOUR, 256 * MEBIBYTE),
    "hyp": (1 * HOUR, 256 * MEBIBYTE),
    "gateway": (24 * HOUR, 64 * MEBIBYTE),
    "websocketmanager": (24 * HOUR, 64 * MEBIBYTE),
    "workmanager": (24 * HOUR, 64 * MEBIBYTE),
    "command": (1 * HOUR, 64 * MEBIBYTE),
    "response": (1 * HOUR, 64 * MEBIBYTE),
    "state": (1 * HOUR, 64 * MEBIBYTE),
}
# Dapr sends the event id as Nats-Msg-Id; an event that is published again, as a dead letter or by
# hand, must not be dropped for having been seen.
DUPLICATE_WINDOW = NANOSECONDS // 10
ALREADY_EXISTS = 10058


class Nats:
    """As much of the NATS protocol as a request and its answer need."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=10)
        self.lines = self.socket.makefile("rb")
        self.lines.readline()  # INFO
        self.send(b'CONNECT {"verbose":false}\r\nSUB answer 1\r\n')

    def send(self, data):
        self.socket.sendall(data)

    def request(self, subject, message):
        body = json.dumps(message).encode()
        self.send(b"PUB %s answer %d\r\n%s\r\n" % (subject.encode(), len(body), body))
        while True:
            line = self.lines.readline()
            if not line:
                raise ConnectionError("the server closed the connection")
            if line.startswith(b"PING"):
                self.send(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                raise ConnectionError(line.decode().strip())
            elif line.startswith((b"MSG", b"HMSG")):
                size = int(line.split()[-1])
                data = self.lines.read(size + 2)[:size]
                if line.startswith(b"HMSG"):  # only a header: nobody answers
                    raise ConnectionError("no JetStream on this server: start it with -js")
                return json.loads(data)


def main():
    host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:4222").rpartition(":")
    try:
        nats = Nats(host, int(port))
        for root, (max_age, max_bytes) in STREAMS.items():
            stream = {
                "name": root,
                "subjects": [root + ".>"],
                "retention": "limits",
                "storage": "file",
                "discard": "old",
                "num_replicas": 1,
                "max_age": max_age,
                "max_bytes": max_bytes,
                "duplicate_window": DUPLICATE_WINDOW,
            }
            answer = nats.request(f"$JS.API.STREAM.CREATE.{root}", stream)
            if answer.get("error", {}).get("err_code") == ALREADY_EXISTS:
                answer = nats.request(f"$JS.API.STREAM.UPDATE.{root}", stream)
            if "error" in answer:
                raise ConnectionError(f"stream {root}: {answer['error'].get('description')}")
            print(f"{root}.>  {max_bytes // MEBIBYTE} MiB, {max_age // HOUR} h")
    except (OSError, ValueError) as error:
        sys.exit(f"streams.py: {host}:{port}: {error}")


if __name__ == "__main__":
    main()

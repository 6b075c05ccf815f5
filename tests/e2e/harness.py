"""The real binary on free ports of loopback, spoken to over real sockets. Python's library only."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import queue
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VIRTUFIN_BUILD", ROOT / "build" / "dev"))
BINARY = BUILD / "virtufin"
RECORDINGS = pathlib.Path(os.environ.get("VIRTUFIN_RECORDINGS", ROOT.parent / "shared" / "recordings"))

# Generous, because a sanitizer on a loaded machine is slow; nothing waits longer than it must.
DEADLINE_S = 60


def need_recordings(name):
    """Skips the test, visibly, if a recording is not there."""
    if not (RECORDINGS / name).exists():
        raise unittest.SkipTest(f"{RECORDINGS / name} is absent; set VIRTUFIN_RECORDINGS to the recordings")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, what, deadline_s=DEADLINE_S):
    """The first true value of `condition()`; fails with `what` if it does not come."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(0.02)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Stream:
    """A server-sent event stream, read by a thread of its own."""

    def __init__(self, port, path):
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.connection.request("GET", path, headers={"Accept": "text/event-stream"})
        self.response = self.connection.getresponse()
        if self.response.status != 200:
            raise AssertionError(f"{path} answered {self.response.status}: {self.response.read()}")
        self.events = queue.Queue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        event_id = None
        with contextlib.suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
            for line in self.response:
                line = line.decode().rstrip("\r\n")
                if line.startswith("id:"):
                    event_id = line[3:].strip()
                elif line.startswith("data:"):
                    message = json.loads(line[5:])
                    message["sse_id"] = event_id
                    self.events.put(message)

    def next(self, deadline_s=DEADLINE_S):
        try:
            return self.events.get(timeout=deadline_s)
        except queue.Empty:
            raise AssertionError(f"no event within {deadline_s} s") from None

    def drain(self):
        """All that has come so far."""
        messages = []
        with contextlib.suppress(queue.Empty):
            while True:
                messages.append(self.events.get_nowait())
        return messages

    def close(self):
        with contextlib.suppress(OSError):
            if self.connection.sock:
                self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(timeout=DEADLINE_S)
        self.response.close()
        self.connection.close()


class Platform:
    """`virtufin run`, ready when entered, ended by SIGTERM when left.

    `config` is TOML text; ports and the rest of the environment are set over it.
    """

    def __init__(self, config="", environment=None, arguments=("run",)):
        self.folder = tempfile.TemporaryDirectory(prefix="virtufin-e2e-")
        self.path = pathlib.Path(self.folder.name)
        self.config = config
        self.environment = environment or {}
        self.arguments = list(arguments)
        self.http_port, self.grpc_port = free_port(), free_port()
        self.process = None

    def __enter__(self):
        return self.start()

    def start(self):
        arguments = [str(BINARY), *self.arguments]
        if self.config:
            file = self.path / "virtufin.toml"
            file.write_text(self.config)
            arguments += ["--config", str(file)]
        environment = dict(os.environ)
        environment.update({
            "VIRTUFIN_GATEWAY__HTTP_PORT": str(self.http_port),
            "VIRTUFIN_GATEWAY__GRPC_PORT": str(self.grpc_port),
            "VIRTUFIN_WSM__HTTP_PORT": str(free_port()),
            "VIRTUFIN_WSM__GRPC_PORT": str(free_port()),
            "VIRTUFIN_WORKMANAGER__HTTP_PORT": str(free_port()),
            "VIRTUFIN_WORKMANAGER__GRPC_PORT": str(free_port()),
        })
        environment.update(self.environment)
        with open(self.path / "output.txt", "ab") as output:
            self.process = subprocess.Popen(arguments, env=environment, stdout=output,
                                            stderr=subprocess.STDOUT, cwd=self.path)
        wait_for(self._ready, f"ready\n{self.printed()}")
        return self

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}:\n{self.printed()}")
        try:
            return self.rest("GET", "/health").status == 200
        except OSError:
            return False

    def printed(self):
        return (self.path / "output.txt").read_text(errors="replace")

    def rest(self, verb, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=DEADLINE_S)
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        connection.request(verb, path, body, headers)
        response = connection.getresponse()
        answer = Answer(response.status, dict(response.getheaders()), response.read().decode())
        connection.close()
        return answer

    def ok(self, verb, path, body=None):
        """The JSON of an answer that must be 200."""
        answer = self.rest(verb, path, body)
        if answer.status != 200:
            raise AssertionError(f"{verb} {path} answered {answer.status}: {answer.body}")
        return answer.json

    def subscribe(self, *topics, **filters):
        query = urllib.parse.urlencode({"topics": ",".join(topics), **filters})
        return Stream(self.http_port, f"/v1/pubsub/stream?{query}")

    def create_worker(self, library, topics, **more):
        """A running worker from a shared library of the build; its id."""
        content = base64.b64encode((BUILD / "workers" / library).read_bytes()).decode()
        return self.ok("POST", "/v1/workers", {
            "mimeType": "application/x-native-dll", "codeSource": {"content": content},
            "topics": topics, "start": True, **more})["id"]

    def state(self, key, service="workmanager"):
        return self.ok("GET", f"/v1/state/{service}/{urllib.parse.quote(key)}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end after SIGTERM:\n{self.printed()}") from None

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            if kind:
                self.kill()
            else:
                status = self.stop()
                if status != 0:
                    raise AssertionError(f"ended with {status}:\n{self.printed()}")
        if kind:
            print(self.printed()[-4000:])
        self.folder.cleanup()

"""The platform on real brokers and a real store, through real sidecars."""

import contextlib
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import dapr_rig
import harness
from harness import BINARY, DEADLINE_S, RECORDINGS, ROOT, wait_for


class Demo(unittest.TestCase):
    def start(self, *arguments):
        self.folder = tempfile.TemporaryDirectory(prefix="virtufin-demo-")
        self.addCleanup(self.folder.cleanup)
        self.summary = pathlib.Path(self.folder.name) / "summary.json"
        source = ["--recordings", str(RECORDINGS)] if RECORDINGS.exists() else ["--synthetic"]
        # A folder of its own for temporary files shows whether anything is left behind.
        script = subprocess.Popen(
            [str(ROOT / "tools" / "run_dapr.py"), "--binary", str(BINARY), "--summary", str(self.summary),
             "--speed", "5", *source, *arguments],
            env={**os.environ, "TMPDIR": self.folder.name}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.addCleanup(script.stdout.close)
        self.addCleanup(self.kill, script)
        return script

    @staticmethod
    def kill(script):
        if script.poll() is None:
            os.killpg(script.pid, signal.SIGKILL)
            script.wait()

    def finish(self, script):
        printed = script.communicate(timeout=3 * DEADLINE_S)[0]
        if script.returncode == 3:
            self.skipTest(printed.strip().splitlines()[-1])
        self.assertEqual(script.returncode, 0, printed)
        self.assertIn("all counts add up", printed)
        counts = json.loads(self.summary.read_text())
        self.assertGreater(counts["frames_in"], 0)
        self.assertEqual(counts["frames_in"], counts["frames_sent"])
        self.assertGreater(counts["processed"], 0)
        self.assertEqual(counts["in_flight"], 0)
        self.assertEqual(counts["dead_lettered"], 0)
        self.assertEqual(counts["orders"], counts["orders_recorded"])
        self.nothing_is_left()
        return printed

    def nothing_is_left(self):
        self.assertEqual(dapr_rig.processes_of(self.folder.name), {})
        self.assertEqual([path.name for path in pathlib.Path(self.folder.name).iterdir()
                          if path != self.summary], [])

    def test_through_redis(self):
        printed = self.finish(self.start("--components", "redis", "--seconds", "3"))
        self.assertRegex(printed, r"(?m)^bus +Dapr sidecar at 127\.0\.0\.1:\d+$")

    def test_through_jetstream(self):
        self.finish(self.start("--components", "jetstream", "--seconds", "3"))

    def test_in_three_processes(self):
        self.finish(self.start("--components", "redis", "--split", "--seconds", "3"))

    def test_ctrl_c_ends_it_in_order(self):
        script = self.start("--components", "redis")
        for line in script.stdout:
            if re.match(r"^ +1 +\d+", line):  # the table's first row
                break
        os.killpg(script.pid, signal.SIGINT)
        self.finish(script)


class Exchange(unittest.TestCase):
    """An app with Dapr's own SDK, behind a sidecar of its own, and the platform behind another."""

    @contextlib.contextmanager
    def app(self, setup):
        python = dapr_rig.python_with_sdk()
        port = setup.start_sidecar("sdk-app")
        environment = {**os.environ, "DAPR_GRPC_PORT": str(port),
                       "DAPR_HTTP_PORT": str(setup.http_ports[port])}
        environment.pop("DAPR_GRPC_ENDPOINT", None)
        app = subprocess.Popen([python, str(pathlib.Path(__file__).parent / "dapr_sdk_app.py")],
                               env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, bufsize=1)
        self.answers, self.events = queue.Queue(), queue.Queue()

        def read():
            for line in app.stdout:
                message = json.loads(line)
                (self.events if "event" in message else self.answers).put(message)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()

        try:
            yield app
        finally:
            app.kill()
            app.wait()
            reader.join(DEADLINE_S)
            app.stdin.close()
            app.stdout.close()

    def order(self, app, what, **members):
        app.stdin.write(json.dumps({"do": what, **members}) + "\n")
        return self.answers.get(timeout=DEADLINE_S)

    def exchange(self, components):
        dapr_rig.python_with_sdk()  # skips before anything starts
        with dapr_rig.servers(components) as setup, dapr_rig.platform(setup) as platform, \
                self.app(setup) as app:
            # From the app to us: events as they are, until one is here (a subscription takes a moment).
            stream = platform.subscribe("sc.SDK.to_us")
            self.addCleanup(stream.close)
            received = self.until_received(
                lambda: self.order(app, "publish", pubsub_name="pubsub-sc", topic_name="sc.SDK.to_us",
                                   data='{"price":"1.50"}', data_content_type="application/json"),
                stream.events)
            event = received["cloudevent"]
            self.assertEqual(received["topic"], "sc.SDK.to_us")
            self.assertEqual(event["data"], {"price": "1.50"})
            self.assertEqual(event["specversion"], "1.0")

            # From us to the app.
            self.order(app, "subscribe", pubsub_name="pubsub-sc", topic="sc.SDK.to_them")
            number = iter(range(10_000))

            def publish():
                platform.ok("POST", "/v1/pubsub/sc.SDK.to_them", {"cloudevent": {
                    "specversion": "1.0", "id": f"ours-{next(number)}", "source": "urn:test",
                    "type": "com.test.said", "datacontenttype": "application/json",
                    "data": {"word": "hello"}}})

            said = self.until_received(publish, self.events)["event"]
            self.assertRegex(said["id"], r"^ours-\d+$")
            self.assertEqual((said["source"], said["type"], said["topic"]),
                             ("urn:test", "com.test.said", "sc.SDK.to_them"))
            data = said["data"]
            self.assertEqual(json.loads(data) if isinstance(data, str) else data, {"word": "hello"})

            # State, both ways, under the one key.
            self.order(app, "save", store_name="statestore", key="sdk.theirs", value="from the app")
            self.assertEqual(platform.state("sdk.theirs", "api")["value"], "from the app")
            platform.ok("POST", "/v1/state/save-state",
                        {"service": "api", "key": "sdk.ours", "value": "from the platform"})
            self.assertEqual(self.order(app, "get", store_name="statestore", key="sdk.ours")["value"],
                             "from the platform")

    def until_received(self, publish, events):
        end = time.monotonic() + DEADLINE_S
        while True:
            publish()
            try:
                return events.get(timeout=0.5)
            except queue.Empty:
                if time.monotonic() > end:
                    raise AssertionError(f"no event within {DEADLINE_S} s") from None

    def test_over_redis(self):
        self.exchange("redis")

    def test_over_jetstream(self):
        self.exchange("jetstream")


class Life(unittest.TestCase):
    def test_a_sidecar_that_comes_late_is_waited_for_and_told(self):
        with dapr_rig.servers("redis") as setup:
            (port,) = dapr_rig.run_dapr.free_ports(1)
            platform = harness.Platform('[bus]\nkind = "dapr"\n',
                                        environment=dapr_rig.sidecar_environment(port))
            platform._ready = lambda: self.health_of(platform) is not None  # answers, if only to say no
            with platform:
                health = self.health_of(platform)
                self.assertEqual(health.status, 503)
                self.assertIn(f"127.0.0.1:{port}", health.json["entries"]["sidecar"]["description"])
                setup.start_sidecar("virtufin", grpc=port)
                wait_for(lambda: self.health_of(platform).status == 200, "ready")
                platform.ok("POST", "/v1/state/save-state", {"service": "api", "key": "late", "value": "1"})
                self.assertEqual(platform.state("late", "api")["value"], "1")

    def test_a_stop_while_waiting_ends_it(self):
        (port,) = dapr_rig.run_dapr.free_ports(1)
        platform = harness.Platform('[bus]\nkind = "dapr"\n',
                                    environment=dapr_rig.sidecar_environment(port))
        platform._ready = lambda: self.health_of(platform) is not None
        with platform:
            began = time.monotonic()
            self.assertEqual(platform.stop(), 0)
            self.assertLess(time.monotonic() - began, 15)

    def test_a_sidecar_that_never_comes_ends_it_with_what_to_do(self):
        (port,) = dapr_rig.run_dapr.free_ports(1)
        ports = {f"VIRTUFIN_{module}__{kind}_PORT": "0"
                 for module in ("GATEWAY", "WSM", "WORKMANAGER") for kind in ("HTTP", "GRPC")}
        done = subprocess.run([str(BINARY), "run"], capture_output=True, text=True, timeout=DEADLINE_S,
                              env={**os.environ, **ports, **dapr_rig.sidecar_environment(port),
                                   "VIRTUFIN_BUS__KIND": "dapr", "VIRTUFIN_BUS__DAPR__START_WAIT_MS": "300"})
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"127.0.0.1:{port} does not answer", done.stderr)
        self.assertIn("is daprd running", done.stderr)

    @staticmethod
    def health_of(platform):
        try:
            return platform.rest("GET", "/health")
        except OSError:
            return None


if __name__ == "__main__":
    unittest.main()

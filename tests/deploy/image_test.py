"""The image as a user runs it: what it says of itself, its default command, the demo, a worker, its
end, and that its state outlives it. `make image-test`."""

import base64
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

import image
from image import UID

sys.path.insert(0, str(image.ROOT / "tests" / "e2e"))
from harness import DEADLINE_S, Platform, free_port, wait_for  # noqa: E402

MAX_IMAGE_BYTES = 150_000_000
STATE = "/var/lib/virtufin"


def ports():
    """All ports free ones: containers in a chroot share the network of this machine."""
    modules = ("GATEWAY", "WSM", "WORKMANAGER")
    return {f"VIRTUFIN_{module}__{kind}_PORT": str(free_port())
            for module in modules for kind in ("HTTP", "GRPC")}


class Running(Platform):
    """The platform as `command` in a container, ready when entered, ended by SIGTERM when left."""

    def __init__(self, container, command, volume):
        super().__init__()
        self.container, self.command, self.volume = container, command, volume
        self.environment = ports()
        self.http_port = int(self.environment["VIRTUFIN_GATEWAY__HTTP_PORT"])
        self.pid = None

    def start(self):
        command = self.container.command(*self.command, environment=self.environment,
                                         volumes={self.volume: STATE})
        with open(self.path / "output.txt", "ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        wait_for(self._ready, f"ready\n{self.printed()}")
        self.pid = image.descendant(self.process.pid, "virtufin")
        return self

    def health_check(self):
        """The image's own, run in the container; its exit status."""
        test = image.settings()["Healthcheck"]["Test"]
        assert test[0] == "CMD", test
        command = self.container.command(*test[1:], environment=self.environment)
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=DEADLINE_S).returncode

    def stop(self):
        """SIGTERM to the platform itself, as a container engine sends it; the exit status."""
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(timeout=DEADLINE_S)

    def kill(self):
        pid = image.descendant(self.process.pid, "virtufin")
        if pid:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=DEADLINE_S)


def listens_on_all_interfaces(port):
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = "0A"
    return any(line.split()[1] == f"00000000:{port:04X}" and line.split()[3] == listening
               for line in lines)


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.commit = image.build()
        cls.settings = image.settings()
        cls.container = cls.enterClassContext(image.Container())
        cls.default = cls.settings["Entrypoint"] + cls.settings["Cmd"]

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="virtufin-image-")
        self.addCleanup(folder.cleanup)
        self.volume = pathlib.Path(folder.name)
        os.chown(self.volume, UID, UID)

    def run_once(self, *command):
        return subprocess.run(
            self.container.command(*command, environment=ports(), volumes={self.volume: STATE}),
            capture_output=True, text=True, timeout=DEADLINE_S)

    def test_what_the_image_says_of_itself(self):
        self.assertEqual(self.settings["User"], f"{UID}:{UID}")
        self.assertEqual(sorted(self.settings["ExposedPorts"]), ["5001/tcp", "5002/tcp"])
        self.assertEqual(list(self.settings["Volumes"]), [STATE])
        self.assertEqual(self.settings["Healthcheck"]["Test"][:3], ["CMD", "virtufin", "health"])
        self.assertIn(self.commit, self.run_once("virtufin", "version").stdout)

    def test_the_size(self):
        size = self.container.size()
        print(f"image: {size / 1e6:.1f} MB", flush=True)
        self.assertLess(size, MAX_IMAGE_BYTES)

    def test_the_defaults_of_the_container(self):
        command = self.container.command("virtufin", "config", "--effective", *self.default[2:])
        effective = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        gateway = effective[effective.index("[gateway]"):]
        for line in ('host = "0.0.0.0"', "http_port = 5001", "grpc_port = 5002"):
            self.assertIn(line, gateway[:gateway.index("[wsm]")])

    def test_it_starts_by_default_without_root_and_ends_in_order(self):
        with Running(self.container, self.default, self.volume) as platform:
            self.assertEqual(platform.health_check(), 0)
            self.assertTrue(listens_on_all_interfaces(platform.http_port))
            status = pathlib.Path(f"/proc/{platform.pid}/status").read_text()
            self.assertIn(f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}\n", status)
            self.assertIn(f"Gid:\t{UID}\t{UID}\t{UID}\t{UID}\n", status)
            self.assertEqual(platform.stop(), 0)
            self.assertIn("stopped in", platform.printed())
            self.assertEqual(platform.health_check(), 1)

    def test_workers_and_state_outlive_the_container(self):
        library = self.container.path / "opt/virtufin/workers/libimbalance.so"
        with Running(self.container, self.default, self.volume) as platform:
            worker = platform.ok("POST", "/v1/workers", {
                "mimeType": "application/x-native-dll", "start": True,
                "topics": ["act.exchange.binance.orderbook.update"],
                "codeSource": {"content": base64.b64encode(library.read_bytes()).decode()}})["id"]
            wait_for(lambda: self.state_of(platform, worker) == "online", "the worker online")
            platform.ok("POST", "/v1/state/save-state",
                        {"service": "examples", "key": "image.test", "value": "kept"})
        with image.Container() as another, Running(another, self.default, self.volume) as platform:
            self.assertEqual(platform.state("image.test", "examples")["value"], "kept")
            wait_for(lambda: self.state_of(platform, worker) == "online", "the worker back")

    def state_of(self, platform, worker):
        workers = platform.ok("GET", "/v1/workers")["workers"]
        return next((found["state"] for found in workers if found["id"] == worker), None)

    DEMO = ("virtufin", "demo", "--synthetic", "--seconds", "3", "--summary", f"{STATE}/summary.json")

    def test_the_demo_adds_up(self):
        self.check_demo(self.run_once(*self.DEMO))

    def test_it_needs_no_writable_root_and_no_capabilities(self):
        command = self.container.hardened_command(*self.DEMO, volume=self.volume, inside=STATE)
        self.check_demo(subprocess.run(command, env={**os.environ, **ports()}, capture_output=True, text=True,
                                       timeout=DEADLINE_S))

    def check_demo(self, done):
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        summary = json.loads((self.volume / "summary.json").read_text())
        self.assertGreater(summary["orders"], 0)
        self.assertEqual(summary["orders"], summary["orders_recorded"])
        self.assertEqual(summary["frame_events"], summary["market_frames"])


if __name__ == "__main__":
    unittest.main(verbosity=2)

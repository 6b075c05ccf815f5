"""The command line: what it prints, what it refuses, how it ends."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import unittest

from harness import BINARY, DEADLINE_S, Platform, free_port


def virtufin(*arguments, environment=None):
    return subprocess.run([str(BINARY), *arguments], env={**os.environ, **(environment or {})},
                          capture_output=True, text=True, timeout=DEADLINE_S)


def without_origins(text):
    return re.sub(r"^(?!#)(.*?)  # \S+$", r"\1", text, flags=re.MULTILINE)


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="virtufin-cli-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, text):
        path = self.folder / "test.toml"
        path.write_text(text)
        return str(path)


class CommandLine(Files):
    def test_version(self):
        for argument in ("version", "--version"):
            done = virtufin(argument)
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stdout, r"^virtufin \d+\.\d+\.\d+ \(\S+, \w+\)\n$")

    def test_a_wrong_command_line_is_2(self):
        for arguments in ((), ("walk",), ("run", "--nonsense"), ("config",)):
            with self.subTest(arguments):
                done = virtufin(*arguments)
                self.assertEqual(done.returncode, 2)
                self.assertNotEqual(done.stderr, "")

    def test_help_is_0(self):
        done = virtufin("--help")
        self.assertEqual(done.returncode, 0)
        for word in ("run", "check", "config", "version"):
            self.assertIn(word, done.stdout)

    def test_check_accepts(self):
        done = virtufin("check", "--config", self.file("[gateway]\nhttp_port = 0\n"))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(done.stdout.endswith("test.toml: ok\n"))
        self.assertIn("unsafe: state is gone when the process ends", done.stdout)

    def test_check_tells_all_that_is_wrong(self):
        path = self.file('[gateway]\nhtp_port = 1\ngrpc_port = "x"\n[modles]\n')
        done = virtufin("check", "--config", path, environment={"VIRTUFIN_WSM__HTTP_PROT": "1"})
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, "")
        self.assertIn(f"{path}:2: gateway.htp_port: unknown key; did you mean gateway.http_port?", done.stderr)
        self.assertIn(f"{path}:3: gateway.grpc_port: must be an integer", done.stderr)
        self.assertIn(f"{path}:4: modles: unknown section; did you mean modules?", done.stderr)
        self.assertIn("VIRTUFIN_WSM__HTTP_PROT: wsm.http_prot: unknown key; did you mean wsm.http_port, "
                      "VIRTUFIN_WSM__HTTP_PORT?", done.stderr)

    def test_a_file_that_is_not_there_or_does_not_parse(self):
        for command in (("check",), ("run",), ("config", "--effective")):
            with self.subTest(command):
                done = virtufin(*command, "--config", str(self.folder / "none.toml"))
                self.assertEqual(done.returncode, 1)
                self.assertIn("none.toml: No such file or directory", done.stderr)
                done = virtufin(*command, "--config", self.file("[gateway\n"))
                self.assertEqual(done.returncode, 1)
                self.assertIn("test.toml:1:", done.stderr)

    def test_effective_reads_the_same(self):
        path = self.file('[gateway]\nhttp_port = 81\n[log.levels]\nwsm = "debug"\n')
        first = virtufin("config", "--effective", "--config", path,
                         environment={"VIRTUFIN_PROCESS__LOOPS": "3"})
        self.assertEqual((first.returncode, first.stderr), (0, ""))
        self.assertIn(f"http_port = 81  # {path}:2\n", first.stdout)
        self.assertIn("loops = 3  # VIRTUFIN_PROCESS__LOOPS\n", first.stdout)
        self.assertIn("grpc_port = 5002  # default\n", first.stdout)
        again = virtufin("config", "--effective", "--config", self.file(first.stdout))
        self.assertEqual((again.returncode, again.stderr), (0, ""))
        self.assertEqual(without_origins(again.stdout), without_origins(first.stdout))


class Life(Files):
    def test_run_prints_where_things_are_and_ends_on_either_signal(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number), Platform() as platform:
                printed = platform.printed()
                self.assertRegex(printed, rf"(?m)^REST +http://127\.0\.0\.1:{platform.http_port}$")
                self.assertRegex(printed, rf"(?m)^gRPC +127\.0\.0\.1:{platform.grpc_port}$")
                self.assertRegex(printed, r"(?m)^unsafe +state is gone when the process ends")
                version = platform.ok("GET", "/version")
                self.assertEqual(set(version), {"version", "commit", "build", "modules"})
                self.assertEqual(version["modules"], ["gateway", "workmanager", "wsm"])
                platform.process.send_signal(number)
                self.assertEqual(platform.process.wait(timeout=DEADLINE_S), 0)

    def test_health_asks_the_process_of_the_same_configuration(self):
        with Platform() as platform:
            ports = {"VIRTUFIN_GATEWAY__HTTP_PORT": str(platform.http_port)}
            well = virtufin("health", environment=ports)
            self.assertEqual(well.returncode, 0, well.stderr)
            self.assertIn('"status":"Healthy"', well.stdout)
            platform.stop()
            gone = virtufin("health", environment=ports)
            self.assertEqual(gone.returncode, 1)
            self.assertIn(f"127.0.0.1:{platform.http_port} does not answer", gone.stderr)

    def test_a_port_in_use_ends_it_before_anything_starts(self):
        for key in ("gateway.http_port", "gateway.grpc_port", "wsm.grpc_port"):
            with self.subTest(key), socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                port = taken.getsockname()[1]
                section, name = key.split(".")
                ports = {f"VIRTUFIN_{module}__{kind}_PORT": str(free_port())
                         for module in ("GATEWAY", "WSM", "WORKMANAGER") for kind in ("HTTP", "GRPC")}
                ports[f"VIRTUFIN_{section.upper()}__{name.upper()}"] = str(port)
                done = virtufin("run", environment=ports)
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"virtufin: {key}: ", done.stderr)
                self.assertIn(f"127.0.0.1:{port}", done.stderr)
                self.assertNotIn("REST", done.stdout)

    def test_the_demo_of_synthetic_markets_decodes_every_frame(self):
        summary = self.folder / "summary.json"
        ports = {f"VIRTUFIN_{module}__{kind}_PORT": "0"
                 for module in ("WSM", "WORKMANAGER") for kind in ("HTTP", "GRPC")}
        done = virtufin("demo", "--synthetic", "--seconds", "1", "--http-port", "0", "--grpc-port", "0",
                        "--summary", str(summary), environment=ports)
        self.assertEqual(done.returncode, 0, done.stderr)
        counts = json.loads(summary.read_text())
        self.assertGreater(counts["market_frames"], 0)
        self.assertEqual(counts["undecodable"], 0)
        self.assertEqual(counts["frames_in"], counts["frames_sent"])

    def test_state_that_cannot_be_opened_ends_it(self):
        done = virtufin("run", environment={"VIRTUFIN_STATE__DURABILITY": "batched",
                                            "VIRTUFIN_STATE__PATH": str(self.folder / "no" / "state.db")})
        self.assertEqual(done.returncode, 1)
        self.assertIn("virtufin: state: ", done.stderr)
        self.assertIn("state.db", done.stderr)


if __name__ == "__main__":
    unittest.main()

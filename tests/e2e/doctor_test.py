"""`virtufin doctor` on set-ups that are right and on those that are not."""

import os
import pathlib
import re
import socket
import subprocess
import tempfile
import unittest

import dapr_rig
from harness import BINARY, DEADLINE_S, Platform, free_port

PORTS = {f"VIRTUFIN_{module}__{kind}_PORT": "0"
         for module in ("GATEWAY", "WSM", "WORKMANAGER") for kind in ("HTTP", "GRPC")}


def doctor(*arguments, **environment):
    return subprocess.run([str(BINARY), "doctor", *arguments], capture_output=True, text=True,
                          timeout=DEADLINE_S, env={**os.environ, **PORTS, **environment})


def bad(done):
    return re.findall(r"(?m)^BAD +(.*?)  ", done.stdout)


class InMemory(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="virtufin-doctor-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, text):
        path = self.folder / "test.toml"
        path.write_text(text)
        return str(path)

    def test_all_is_well(self):
        done = doctor()
        self.assertEqual((done.returncode, bad(done), done.stderr), (0, [], ""), done.stdout)
        self.assertRegex(done.stdout, r"(?m)^ok +bus +in memory$")
        self.assertRegex(done.stdout, r"(?m)^ok +engine native ")

    def test_a_wrong_config(self):
        done = doctor("--config", self.file("[gateway]\nhtp_port = 1\n"))
        self.assertEqual((done.returncode, bad(done)), (1, ["config"]))
        self.assertIn("did you mean gateway.http_port?", done.stdout)

    def test_a_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            done = doctor(VIRTUFIN_WSM__GRPC_PORT=port)
        self.assertEqual((done.returncode, bad(done)), (1, ["wsm.grpc_port"]))
        self.assertIn("give another wsm.grpc_port", done.stdout)

    def test_a_platform_that_runs_has_its_ports(self):
        with Platform() as platform:
            done = doctor(VIRTUFIN_GATEWAY__HTTP_PORT=str(platform.http_port),
                          VIRTUFIN_GATEWAY__GRPC_PORT=str(platform.grpc_port))
        self.assertEqual((done.returncode, bad(done)), (0, []), done.stdout)
        self.assertRegex(done.stdout, r"(?m)^ok +process +runs and is ready at")

    def test_state_that_cannot_be_kept(self):
        done = doctor(VIRTUFIN_STATE__DURABILITY="batched",
                      VIRTUFIN_STATE__PATH=str(self.folder / "none" / "state.db"))
        self.assertEqual((done.returncode, bad(done)), (1, ["state"]))
        self.assertIn("give another state.path", done.stdout)

    def test_workers_that_could_not_be_loaded(self):
        done = doctor(VIRTUFIN_WORKMANAGER__CODE_DIR=str(self.folder / "none"))
        self.assertEqual((done.returncode, bad(done)), (1, ["engine native"]))

    def test_services_of_other_processes(self):
        port = free_port()
        done = doctor("--config", self.file(
            f'[[gateway.services]]\nname = "workmanager"\nhosts = ["127.0.0.1:{port}"]\n'))
        self.assertEqual(done.returncode, 0)  # one that is away comes back by itself
        self.assertRegex(done.stdout, rf"(?m)^warning +service workmanager +nobody listens at 127\.0\.0\.1:{port}$")
        done = doctor("--config", self.file(f'[gateway]\nservices_file = "{self.folder}/none.json"\n'))
        self.assertEqual((done.returncode, bad(done)), (1, ["services"]))


class BehindASidecar(unittest.TestCase):
    def test_no_sidecar(self):
        port = free_port()
        done = doctor(VIRTUFIN_BUS__KIND="dapr", **dapr_rig.sidecar_environment(port))
        self.assertEqual((done.returncode, bad(done)), (1, ["sidecar"]))
        self.assertIn(f"127.0.0.1:{port} does not answer", done.stdout)
        self.assertIn("-> start one: daprd", done.stdout)

    def test_redis(self):
        with dapr_rig.servers("redis") as setup:
            environment = {"VIRTUFIN_BUS__KIND": "dapr",
                           **dapr_rig.sidecar_environment(setup.start_sidecar("virtufin"))}
            done = doctor("--publish", **environment)
            self.assertEqual((done.returncode, bad(done)), (0, []), done.stdout)
            self.assertRegex(done.stdout, r"(?m)^ok +component pubsub-sc +pubsub\.redis, for topics of sc; its broker takes events$")
            self.assertRegex(done.stdout, r"(?m)^ok +component statestore +state\.redis, can be read$")

    def test_a_component_that_is_missing(self):
        with dapr_rig.servers("redis") as setup:
            file = setup.folder / "components" / "pubsub.yaml"
            documents = file.read_text().split("\n---\n")
            file.write_text("\n---\n".join(text for text in documents if "name: pubsub-act\n" not in text))
            (setup.folder / "components" / "statestore.yaml").unlink()
            done = doctor(VIRTUFIN_BUS__KIND="dapr",
                          **dapr_rig.sidecar_environment(setup.start_sidecar("virtufin")))
            self.assertEqual((done.returncode, bad(done)), (1, ["component pubsub-act", "component statestore"]))
            self.assertIn("missing, for topics of act (the sidecar has: pubsub, pubsub-command,", done.stdout)
            self.assertIn("-> add its file to the sidecar's --resources-path", done.stdout)

    def test_streams(self):
        with dapr_rig.servers("jetstream") as setup:
            environment = {"VIRTUFIN_BUS__KIND": "dapr",
                           **dapr_rig.sidecar_environment(setup.start_sidecar("virtufin"))}
            done = doctor(**environment)
            self.assertEqual((done.returncode, bad(done)), (0, []), done.stdout)
            self.assertRegex(done.stdout, r"(?m)^warning +streams +not looked for")
            done = doctor("--publish", **environment)
            self.assertEqual((done.returncode, bad(done)), (0, []), done.stdout)
            nats = f"127.0.0.1:{setup.nats_port}"
            done = doctor("--nats", nats, **environment)
            self.assertEqual((done.returncode, bad(done)), (0, []), done.stdout)
            self.assertNotRegex(done.stdout, r"(?m)^warning +stream")
            self.assertRegex(done.stdout, r"(?m)^ok +stream for sc\.> +sc, bounded$")

            setup.stream("UPDATE", "act", {"name": "act", "subjects": ["act.>"], "duplicate_window": 10**9,
                                           "max_age": 10**12})
            setup.stream("DELETE", "dead")
            setup.stream("CREATE", "dead", {"name": "dead", "subjects": ["dead.>"],
                                            "duplicate_window": 10**8})
            setup.stream("DELETE", "hyp")
            done = doctor("--nats", nats, **environment)
            self.assertEqual((done.returncode, bad(done)), (1, ["stream for hyp.>"]), done.stdout)
            self.assertRegex(done.stdout, r"(?m)^warning +stream for act\.> +act drops an event whose id it saw "
                                          r"within 1000 ms")
            self.assertRegex(done.stdout, r"(?m)^warning +stream for dead\.> +dead grows without end")

            done = doctor("--nats", f"127.0.0.1:{free_port()}", **environment)
            self.assertEqual((done.returncode, bad(done)), (1, ["streams"]), done.stdout)
            done = doctor("--publish", **environment)
            self.assertEqual((done.returncode, bad(done)), (1, ["component pubsub-hyp"]), done.stdout)
            self.assertIn("has it a stream for hyp.>?", done.stdout)


if __name__ == "__main__":
    unittest.main()

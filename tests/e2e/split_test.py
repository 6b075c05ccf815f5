"""Gateway, websocketmanager and workmanager as three processes of the same binary."""

import contextlib
import json
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

from harness import Platform, free_port, wait_for

MODULES = ("gateway", "wsm", "workmanager")


def only(*enabled):
    lines = [f"{module} = {'true' if module in enabled else 'false'}" for module in MODULES]
    return "[modules]\n" + "\n".join(lines) + "\n"


class Part(Platform):
    """One module in a process of its own, on ports that stay the same when it is started again."""

    def __init__(self, module, config="", ports=None):
        super().__init__(config=only(module) + config)
        self.module = module
        self.http_port, self.grpc_port = ports or (free_port(), free_port())
        self.environment = {f"VIRTUFIN_{module.upper()}__HTTP_PORT": str(self.http_port),
                            f"VIRTUFIN_{module.upper()}__GRPC_PORT": str(self.grpc_port)}


def services(**ports):
    return "".join(f'[[gateway.services]]\nname = "{name}"\nhosts = ["127.0.0.1:{port}"]\n'
                   for name, port in ports.items())


def stopped(pid):
    """Whether every thread is, which a signal does not wait for."""
    states = [(task / "stat").read_text().rpartition(")")[2].split()[0]
              for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
    return set(states) == {"T"}


class SplitTest(unittest.TestCase):
    def start(self, part):
        return self.stack.enter_context(part)

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def all_three(self):
        workmanager = self.start(Part("workmanager"))
        wsm = self.start(Part("wsm"))
        gateway = self.start(Part("gateway", services(workmanager=workmanager.grpc_port,
                                                      websocketmanager=wsm.grpc_port)))
        return gateway, wsm, workmanager

    def test_the_gateway_answers_for_all(self):
        gateway, wsm, workmanager = self.all_three()
        self.assertEqual(gateway.ok("GET", "/version")["modules"], ["gateway"])
        self.assertEqual(wsm.ok("GET", "/version")["modules"], ["wsm"])
        # A worker that is made through the gateway stands in the workmanager's process.
        worker = gateway.create_worker("libimbalance.so", ["act.*"])
        for part in (gateway, workmanager):
            listed = part.ok("GET", "/v1/workers")["workers"]
            self.assertEqual([one["id"] for one in listed], [worker])
        gateway.ok("POST", f"/v1/workers/{worker}/stop", {})
        self.assertEqual(gateway.ok("GET", "/v1/connections")["connections"], [])
        # Errors come back as the process there says them.
        missing = gateway.rest("POST", "/v1/workers/none/stop", {})
        self.assertEqual(missing.status, 404)
        self.assertEqual(missing.json, workmanager.rest("POST", "/v1/workers/none/stop", {}).json)
        # A module's own process does not answer for the others.
        self.assertEqual(wsm.rest("GET", "/v1/workers").status, 404)
        told = {one["name"]: one["grpc"]["port"]
                for one in gateway.ok("GET", "/v1/config/list-services")["services"]}
        self.assertEqual(told["workmanager"], workmanager.grpc_port)
        self.assertEqual(told["websocketmanager"], wsm.grpc_port)
        self.assertEqual(told["api"], gateway.grpc_port)

    def test_a_process_that_goes_is_named_and_comes_back(self):
        gateway, wsm, workmanager = self.all_three()
        wait_for(lambda: gateway.rest("GET", "/v1/workers").status == 200, "an answer")
        workmanager.kill()
        away = gateway.rest("GET", "/v1/workers")
        self.assertEqual(away.status, 503, away.body)
        self.assertIn(f"backend workmanager at 127.0.0.1:{workmanager.grpc_port}",
                      away.json["message"])
        # The rest goes on, and the gateway stays ready.
        self.assertEqual(gateway.rest("GET", "/v1/connections").status, 200)
        self.assertEqual(gateway.rest("GET", "/health").status, 200)
        workmanager.start()
        wait_for(lambda: gateway.rest("GET", "/v1/workers").status == 200, "its return")

    def test_processes_may_call_each_other(self):
        gateway_ports = free_port(), free_port()
        workmanager = self.start(Part("workmanager", services(api=gateway_ports[1])))
        # Known before it is there, and named.
        away = workmanager.rest("GET", "/v1/state/api/k")
        self.assertEqual(away.status, 503, away.body)
        self.assertIn(f"backend api at 127.0.0.1:{gateway_ports[1]}", away.json["message"])
        gateway = self.start(Part("gateway", services(workmanager=workmanager.grpc_port),
                                  ports=gateway_ports))
        gateway.ok("POST", "/v1/state/save-state", {"service": "api", "key": "k", "value": "v"})
        wait_for(lambda: workmanager.rest("GET", "/v1/state/api/k").status == 200, "an answer")
        self.assertEqual(workmanager.state("k", "api")["value"], "v")
        self.assertEqual(gateway.ok("GET", "/v1/workers")["workers"], [])

    def test_frozen_is_told_within_the_callers_time(self):
        workmanager = self.start(Part("workmanager"))
        gateway = self.start(Part("gateway", services(workmanager=workmanager.grpc_port) +
                                  "[gateway.backends]\ntimeout_ms = 300\n"))
        wait_for(lambda: gateway.rest("GET", "/v1/workers").status == 200, "an answer")
        workmanager.process.send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: stopped(workmanager.process.pid), "stopped")
            answer = gateway.rest("GET", "/v1/workers")
        finally:
            workmanager.process.send_signal(signal.SIGCONT)
        self.assertEqual(answer.status, 504, answer.body)
        self.assertIn("backend workmanager at", answer.json["message"])
        wait_for(lambda: gateway.rest("GET", "/v1/workers").status == 200, "its return")

    def test_services_json_is_followed(self):
        workmanager = self.start(Part("workmanager"))
        wsm = self.start(Part("wsm"))
        folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="virtufin-split-"))
        file = pathlib.Path(folder) / "services.json"

        def write(**ports):
            beside = file.with_suffix(".new")
            beside.write_text(json.dumps({"services": [
                {"name": name, "protocol": "grpc", "grpc": {"host": "127.0.0.1", "port": port}}
                for name, port in ports.items()]}))
            beside.rename(file)

        write(workmanager=workmanager.grpc_port)
        gateway = self.start(Part("gateway", f'[gateway]\nservices_file = "{file}"\n'
                                  "services_poll_ms = 50\n"))
        wait_for(lambda: gateway.rest("GET", "/v1/workers").status == 200, "an answer")
        self.assertEqual(gateway.rest("GET", "/v1/connections").status, 404)
        write(workmanager=workmanager.grpc_port, websocketmanager=wsm.grpc_port)
        wait_for(lambda: gateway.rest("GET", "/v1/connections").status == 200, "the new service")
        write(websocketmanager=wsm.grpc_port)
        wait_for(lambda: gateway.rest("GET", "/v1/workers").status == 404, "the old one's end")

    def test_reflection_of_the_gateway_covers_the_others(self):
        grpcurl = shutil.which("grpcurl")
        if not grpcurl:
            self.skipTest("grpcurl is not on PATH: go install github.com/fullstorydev/grpcurl/cmd/grpcurl")
        gateway, _, _ = self.all_three()
        wait_for(lambda: gateway.rest("GET", "/v1/workers").status == 200, "an answer")

        def ask(*arguments):
            return subprocess.run([grpcurl, "-plaintext", *arguments[:-1], f"127.0.0.1:{gateway.grpc_port}",
                                   *arguments[-1]], capture_output=True, text=True, check=True).stdout

        listed = ask(["list"]).split()
        for name in ("virtufin.State", "virtufin.WorkManager", "virtufin.WebSocketManager"):
            self.assertIn(name, listed)
        self.assertEqual(json.loads(ask("-emit-defaults", ["virtufin.WorkManager/ListWorkers"])),
                         {"workers": []})


if __name__ == "__main__":
    unittest.main()

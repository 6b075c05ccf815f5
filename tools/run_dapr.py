#!/usr/bin/env python3
"""Runs the demo on a real broker and a real store, through a Dapr sidecar: brings up Redis (and NATS),
makes the streams, starts the sidecar with the components of config/dapr, runs the platform, and takes
everything down again, also on Ctrl-C. All on free ports of loopback, all files in a temporary folder.

    run_dapr.py [--components redis|jetstream] [--split] [--binary FILE] [ARGUMENTS OF virtufin demo …]

With --split gateway, wsm and workmanager are three processes with a sidecar each.
Exit status: that of the demo; 3, with what to install, if something is not there.
"""

import argparse
import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
PATIENCE_S = 60
MISSING = 3
# Ports that the component files name, and that stand for those of this run.
REDIS_PORT, NATS_PORT = 6379, 4222


class Missing(Exception):
    pass


class Stopped(Exception):
    pass


def find(program, package):
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not path:
        raise Missing(f"{program} is not there: install the Debian package {package}")
    return path


def find_daprd():
    done = subprocess.run(["sh", str(ROOT / "tools" / "daprd.sh")], stdout=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode != 0:
        raise Missing("no daprd: install the Dapr runtime 1.18, or Go 1.26 to build one")
    return done.stdout.strip()


def free_ports(count):
    """Different ones, because all are held until all are known."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
        return ports


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Server:
    """A program in a session of its own: Ctrl-C is for this script and for the demo, not for it."""

    def __init__(self, name, command, folder, environment=None):
        self.name = name
        self.log = folder / f"{name}.log"
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True, cwd=folder,
                env={**os.environ, **(environment or {})}, preexec_fn=die_with_parent)

    def wait_for(self, condition, what):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                text = self.log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"{self.name}: {what}: not within {PATIENCE_S} s\n{text}")
            time.sleep(0.02)

    def accepts(self, port):
        def connects():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        self.wait_for(connects, f"no connection on port {port}")

    def answers(self, url):
        def ok():
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    return answer.status // 100 == 2
            except OSError:
                return False
        self.wait_for(ok, f"no answer of {url}")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Setup:
    """Broker, store, and a sidecar for each app; taken down from the last to the first."""

    def __init__(self, components, folder):
        self.components = components
        self.folder = folder
        self.stack = contextlib.ExitStack()
        self.daprd = find_daprd()
        self.redis = find("redis-server", "redis-server")
        self.nats = find("nats-server", "nats-server") if components == "jetstream" else None
        self.redis_port, self.nats_port = free_ports(2)
        self.http_ports = {}  # of sidecars, by their gRPC port

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stack.close()

    def start(self, name, command, environment=None):
        server = Server(name, command, self.folder, environment)
        self.stack.callback(server.stop)
        return server

    def start_stores(self):
        (self.folder / "redis").mkdir()
        self.start("redis-server", [self.redis, "--port", self.redis_port, "--bind", "127.0.0.1",
                                    "--save", "", "--appendonly", "no", "--dir",
                                    self.folder / "redis"]).accepts(self.redis_port)
        if self.nats:
            self.start("nats-server", [self.nats, "-js", "-a", "127.0.0.1", "-p", self.nats_port,
                                       "-sd", self.folder / "nats"]).accepts(self.nats_port)
            subprocess.run([sys.executable, str(ROOT / "config" / "dapr" / "streams.py"),
                            f"127.0.0.1:{self.nats_port}"], check=True, stdout=subprocess.DEVNULL)
        resources = self.folder / "components"
        resources.mkdir()
        for file in (ROOT / "config" / "dapr" / self.components).glob("*.yaml"):
            text = file.read_text()
            text = text.replace(f"127.0.0.1:{REDIS_PORT}", f"127.0.0.1:{self.redis_port}")
            text = text.replace(f"127.0.0.1:{NATS_PORT}", f"127.0.0.1:{self.nats_port}")
            (resources / file.name).write_text(text)

    def stream(self, what, name, config=None):
        """CREATE, UPDATE or DELETE, past the sidecar."""
        sys.path.insert(0, str(ROOT / "config" / "dapr"))
        import streams  # config/dapr/streams.py
        nats = streams.Nats("127.0.0.1", self.nats_port)
        with nats.socket, nats.lines:
            answer = nats.request(f"$JS.API.STREAM.{what}.{name}", config or {})
        if "error" in answer:
            raise RuntimeError(f"stream {name}: {answer['error']}")

    def start_sidecar(self, app_id, grpc=None):
        """Its gRPC port: that one, or a free one."""
        free, http, internal = free_ports(3)
        grpc = grpc or free
        self.http_ports[grpc] = http
        sidecar = self.start(f"daprd-{app_id}", [
            self.daprd, "--app-id", app_id, "--resources-path", self.folder / "components",
            "--dapr-grpc-port", grpc, "--dapr-http-port", http, "--dapr-internal-grpc-port", internal,
            "--dapr-listen-addresses", "127.0.0.1", "--dapr-internal-grpc-listen-address", "127.0.0.1",
            "--enable-metrics=false", "--log-level", "warn", "--dapr-graceful-shutdown-seconds", "1"])
        sidecar.answers(f"http://127.0.0.1:{http}/v1.0/healthz/outbound")
        return grpc


def platform_environment(sidecar_port, ports):
    environment = {"DAPR_GRPC_PORT": str(sidecar_port), "DAPR_GRPC_ENDPOINT": ""}
    for module, (http, grpc) in ports.items():
        environment[f"VIRTUFIN_{module.upper()}__HTTP_PORT"] = str(http)
        environment[f"VIRTUFIN_{module.upper()}__GRPC_PORT"] = str(grpc)
    return environment


def run_demo(binary, config, environment, arguments):
    demo = subprocess.Popen([binary, "demo", "--config", str(config), *arguments],
                            env={**os.environ, **environment}, cwd=ROOT, preexec_fn=die_with_parent)
    # Ctrl-C reaches the demo by itself; a SIGTERM is handed on. Either way it ends in order first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: demo.terminate())
    return demo.wait()


def module_ports():
    numbers = iter(free_ports(6))
    return {module: (next(numbers), next(numbers)) for module in ("gateway", "wsm", "workmanager")}


def run_in_one(setup, binary, arguments):
    sidecar = setup.start_sidecar("virtufin")
    environment = platform_environment(sidecar, module_ports())
    return run_demo(binary, ROOT / "config" / "dapr.toml", environment, arguments)


def run_split(setup, binary, arguments):
    """The demo's own process is the gateway (and the simulated exchange); the others are as they
    would be in deployment."""
    ports = module_ports()

    def config(module):
        text = (ROOT / "config" / "dapr" / "split" / f"{module}.toml").read_text()
        for other, default in (("gateway", 5002), ("wsm", 15002), ("workmanager", 25002)):
            text = text.replace(f"127.0.0.1:{default}", f"127.0.0.1:{ports[other][1]}")
        file = setup.folder / f"{module}.toml"
        file.write_text(text)
        return file

    for module, app_id in (("workmanager", "workmanager"), ("wsm", "websocketmanager")):
        sidecar = setup.start_sidecar(app_id)
        environment = platform_environment(sidecar, {module: ports[module]})
        process = setup.start(module, [binary, "run", "--config", config(module)], environment)
        process.answers(f"http://127.0.0.1:{ports[module][0]}/health")
    sidecar = setup.start_sidecar("apigateway")
    environment = platform_environment(sidecar, {"gateway": ports["gateway"]})
    return run_demo(binary, config("gateway"), environment, arguments)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--components", choices=("redis", "jetstream"), default="redis")
    parser.add_argument("--split", action="store_true")
    parser.add_argument("--binary", default=str(ROOT / "build" / "release" / "virtufin"))
    options, arguments = parser.parse_known_args()

    def stop(*_):
        raise Stopped

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    with tempfile.TemporaryDirectory(prefix="virtufin-dapr-") as folder:
        try:
            with Setup(options.components, pathlib.Path(folder)) as setup:
                setup.start_stores()
                run = run_split if options.split else run_in_one
                return run(setup, str(pathlib.Path(options.binary).resolve()), arguments)
        except Missing as missing:
            print(f"run-dapr: {missing}", file=sys.stderr)
            return MISSING
        except Stopped:
            return 130
        except RuntimeError as error:
            print(f"run-dapr: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())

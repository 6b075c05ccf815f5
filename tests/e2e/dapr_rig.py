"""What the tests of the platform behind a sidecar share: broker, store and sidecar as `make run-dapr`
brings them up, and the platform beside them."""

import contextlib
import fcntl
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import harness

sys.path.insert(0, str(harness.ROOT / "tools"))
import run_dapr  # noqa: E402  (tools/run_dapr.py)

SDK = "dapr>=1.16,<2"


@contextlib.contextmanager
def servers(components, start=True):
    """A run_dapr.Setup with broker and store up; skips the test, visibly, where they are not there."""
    with tempfile.TemporaryDirectory(prefix="virtufin-e2e-dapr-") as folder:
        try:
            setup = run_dapr.Setup(components, pathlib.Path(folder))
        except run_dapr.Missing as missing:
            raise unittest.SkipTest(str(missing)) from None
        with setup:
            if start:
                setup.start_stores()
            yield setup


def sidecar_environment(port):
    return {"DAPR_GRPC_PORT": str(port), "DAPR_GRPC_ENDPOINT": ""}


def platform(setup, config="", app_id="virtufin"):
    """`virtufin run` beside a sidecar of its own."""
    return harness.Platform('[bus]\nkind = "dapr"\n' + config,
                            environment=sidecar_environment(setup.start_sidecar(app_id)))


def processes_of(text):
    """Those whose command line has `text`, with it."""
    found = {}
    for folder in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if text in command and int(folder.name) != os.getpid():
                found[int(folder.name)] = command
    return found


def python_with_sdk():
    """A Python with Dapr's own SDK, in a venv of the build folder, made once."""
    folder = harness.BUILD / "python-dapr"
    python = folder / "bin" / "python"
    harness.BUILD.mkdir(parents=True, exist_ok=True)
    with open(harness.BUILD / "python-dapr.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            for command in ([sys.executable, "-m", "venv", "--clear", str(folder)],
                            [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", SDK]):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    raise unittest.SkipTest(f"no Dapr SDK for Python ({' '.join(command)}): "
                                            f"{(done.stderr or done.stdout).strip()[-500:]}")
            (folder / "complete").touch()
    return str(python)

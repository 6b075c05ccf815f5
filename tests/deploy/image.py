"""The container image where there is no container engine and no registry: debootstrap makes the base
that the Dockerfile names, buildah builds on it and runs the result, each step in a chroot.

Packages come from where this machine gets its own. Base, layers and containers lie in a store of
their own, $XDG_CACHE_HOME/virtufin/image; take that away to begin anew.
"""

import contextlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "virtufin" / "image"
BASE = "localhost/debian:12-slim"
IMAGE = "localhost/virtufin:test"
UID = 10001
CCACHE = "/var/cache/host-ccache"  # where the build sees this machine's


def need_tools():
    """Skips, visibly, where the image cannot be built."""
    missing = [tool for tool in ("debootstrap", "buildah", "ccache") if not shutil.which(tool)]
    if missing:
        raise unittest.SkipTest(f"no image: apt-get install {' '.join(missing)}")
    if os.geteuid() != 0:
        raise unittest.SkipTest("no image: debootstrap and buildah's chroot isolation need root")


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def buildah(*arguments):
    """The command line of buildah on our store."""
    return ["buildah", "--root", str(CACHE / "storage"), "--runroot", str(CACHE / "run"),
            *map(str, arguments)]


def package_sources():
    """(uri, suite, component) of Debian 12, main, as this machine's apt reads them."""
    lines = output("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
                   "Created-By: Packages").splitlines()
    found = [tuple(line.split()) for line in lines]
    return [source for source in dict.fromkeys(found)
            if source[1].startswith("bookworm") and source[2] == "main"]


def make_base():
    """debian:12-slim as its makers build it: the minimal variant without documentation."""
    sources = package_sources()
    if not any(suite == "bookworm" for _, suite, _ in sources):
        raise unittest.SkipTest("no image: apt has no sources of Debian 12 (bookworm)")
    mirror = next(uri for uri, suite, _ in sources if suite == "bookworm")
    with tempfile.TemporaryDirectory(prefix="base-", dir=CACHE) as folder:
        rootfs = pathlib.Path(folder) / "rootfs"
        subprocess.run(["nice", "debootstrap", "--variant=minbase", "--include=ca-certificates",
                        "bookworm", rootfs, mirror], check=True, stdout=subprocess.DEVNULL)
        excluded = ["doc", "groff", "info", "linda", "lintian", "man"]
        rules = "".join(f"path-exclude /usr/share/{name}/*\n" for name in excluded)
        rules += "path-include /usr/share/doc/*/copyright\npath-exclude /usr/share/locale/*\n"
        (rootfs / "etc/dpkg/dpkg.cfg.d/docker").write_text(rules)
        for name in excluded[1:] + ["locale"]:
            shutil.rmtree(rootfs / "usr/share" / name, ignore_errors=True)
        for path in (rootfs / "usr/share/doc").rglob("*"):
            if path.is_symlink() or (path.is_file() and path.name != "copyright"):
                path.unlink()
        for name in ("var/cache/apt", "var/lib/apt/lists", "var/log"):
            for path in (rootfs / name).rglob("*"):
                if path.is_file():
                    path.unlink()
        (rootfs / "etc/apt/sources.list").write_text(
            "".join(f"deb {uri} {suite} {component}\n" for uri, suite, component in sources))
        (rootfs / "etc/apt/apt.conf.d/99acquire").write_text(
            'APT::Keep-Downloaded-Packages "false";\n' +
            "".join(line + "\n" for line in output("apt-config", "dump", "Acquire").splitlines()
                    if not line.endswith('"";')))
        container = output(*buildah("from", "scratch"))
        try:
            subprocess.run(buildah("add", "--quiet", container, rootfs, "/"), check=True,
                           stdout=subprocess.DEVNULL)
            subprocess.run(buildah("config", "--cmd", "bash", container), check=True)
            subprocess.run(buildah("commit", "--quiet", container, BASE), check=True,
                           stdout=subprocess.DEVNULL)
        finally:
            subprocess.run(buildah("rm", container), check=True, stdout=subprocess.DEVNULL)


def forget_old_builds():
    """Each build leaves the image that it replaces and its build stage without a name; the last of
    each are what the next build begins from."""
    unnamed = json.loads(output(*buildah("images", "--json", "--filter", "dangling=true")))
    unnamed.sort(key=lambda image: image["createdatraw"], reverse=True)
    for image in unnamed[2:]:
        subprocess.run(buildah("rmi", image["id"]), check=True, stdout=subprocess.DEVNULL)


def exists(image):
    return subprocess.run(buildah("inspect", "--type", "image", image), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


def build():
    """Builds the image of this source tree; what was built before is not built again."""
    need_tools()
    CACHE.mkdir(parents=True, exist_ok=True)
    if not exists(BASE):
        print(f"building {BASE} once", flush=True)
        make_base()
    ccache = output("ccache", "--get-config", "cache_dir")
    pathlib.Path(ccache).mkdir(parents=True, exist_ok=True)
    described = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    commit = described.stdout.strip() if described.returncode == 0 else "unknown"
    subprocess.run(
        ["nice", *buildah("bud", "--isolation", "chroot", "--format", "docker", "--layers",
                          "--pull-never", "--build-arg", f"BASE={BASE}",
                          "--build-arg", f"COMMIT={commit}", "--build-arg", f"CCACHE_DIR={CCACHE}",
                          "-v", f"{ccache}:{CCACHE}", "--tag", IMAGE, ROOT)],
        check=True)
    forget_old_builds()
    return commit


def settings():
    """What the image says of itself: User, Cmd, Healthcheck, …"""
    return json.loads(output(*buildah("inspect", "--type", "image", IMAGE)))["Docker"]["config"]


class Container:
    """A container of the image, as long as it is entered."""

    def __enter__(self):
        self.name = output(*buildah("from", "--pull-never", IMAGE))
        self.path = pathlib.Path(output(*buildah("mount", self.name)))
        return self

    def __exit__(self, *_):
        subprocess.run(buildah("umount", self.name), check=True, stdout=subprocess.DEVNULL)
        subprocess.run(buildah("rm", self.name), check=True, stdout=subprocess.DEVNULL)

    def command(self, *arguments, environment=None, volumes=None):
        options = ["--isolation", "chroot"]
        for name, value in (environment or {}).items():
            options += ["--env", f"{name}={value}"]
        for outside, inside in (volumes or {}).items():
            options += ["--volume", f"{outside}:{inside}"]
        return buildah("run", *options, self.name, "--", *arguments)

    def hardened_command(self, *arguments, volume, inside):
        """As the chart runs it: no capabilities, nothing writable but /tmp and the volume."""
        script = f"""set -eu
            mount --bind "$0" "$0"
            mount -o remount,bind,ro "$0"
            mount --bind {shlex.quote(str(volume))} "$0{inside}"
            mount -t tmpfs tmpfs "$0/tmp"
            mount -t proc proc "$0/proc"
            mount --rbind /dev "$0/dev"
            exec chroot "$0" setpriv --reuid {UID} --regid {UID} --clear-groups --bounding-set=-all \\
              --no-new-privs "$@"
        """
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(self.path),
                *arguments]

    def size(self):
        """Bytes of all files, each inode once."""
        seen, total = set(), 0
        for folder, _, files in os.walk(self.path):
            for name in files:
                status = os.lstat(os.path.join(folder, name))
                if status.st_ino not in seen:
                    seen.add(status.st_ino)
                    total += status.st_size
        return total


def descendant(pid, name):
    """The process of that name among the descendants of `pid`, None if there is none yet."""
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in pathlib.Path(f"/proc/{parent}/task").iterdir():
                children = [int(child) for child in (task / "children").read_text().split()]
                for child in children:
                    if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == name:
                        return child
                waiting += children
    return None

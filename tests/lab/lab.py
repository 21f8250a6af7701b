# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real hosts: containers with systemd as PID 1, Debian 12 and 13. Everything here waits for a bounded time only.

`python lab.py up [NUMBER] | down | images`. The images are made from the packages of this machine's own mirror, and made anew when the
recipe changes. Hosts bear the label `selfheal.lab`. Where no Docker Engine runs one is started; `down` stops it when nothing runs on it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from typing import Dict, List, Optional

HERE = pathlib.Path(__file__).resolve().parent
LABEL = "selfheal.lab"
KEPT = "kept"
"""A host that stays until it is removed by `down`; the others end with the run that started them."""
SUITES = {"debian12": "bookworm", "debian13": "trixie"}
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-apt,openssh-server,iproute2,iptables,nftables,procps,ca-certificates,curl,sudo,cron"
WITH_DOCKER = "docker.io,kmod"
EXTRA = {"debian12": "", "debian13": "docker-cli"}
PID_FILE = pathlib.Path(os.environ.get("SELFHEAL_LAB_RUN", "/run")) / "selfheal-lab-dockerd.pid"
ENGINE_LOG = "/var/log/selfheal-lab-dockerd.log"
FEW = 5
"""So many hosts of each Debian fit without a change to this machine."""
INOTIFY_BEFORE = PID_FILE.with_name("selfheal-lab-inotify")
INOTIFY = pathlib.Path("/proc/sys/fs/inotify/max_user_instances")


class Unavailable(Exception):
    """The lab cannot be had on this machine; says exactly why."""


def run(*argv: str, within: float = 60.0, check: bool = True, text: Optional[str] = None) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end. Raises Unavailable when it cannot be had, fails or does not end in time."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=within, input=text if text is not None else "", check=False)
    except FileNotFoundError as error:
        raise Unavailable("there is no program %s" % argv[0]) from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable("%s did not end within %g s" % (" ".join(argv[:3]), within)) from error
    if check and done.returncode != 0:
        raise Unavailable("%s: exit status %d: %s" % (" ".join(argv[:3]), done.returncode, (done.stderr or done.stdout).strip()[-600:]))
    return done


# -- the engine --------------------------------------------------------------------------------------------------------------


_engines: "Dict[int, subprocess.Popen[bytes]]" = {}
"""Started by this run, and so reaped by it."""


def engine_answers() -> bool:
    try:
        return run("docker", "version", "--format", "{{.Server.Version}}", within=10, check=False).returncode == 0
    except Unavailable:
        return False


def start_engine() -> bool:
    """Have a Docker Engine; True when it had to be started. Raises Unavailable."""
    if engine_answers():
        return False
    if os.geteuid() != 0:
        raise Unavailable("no Docker Engine answers here, and only root may start one")
    if shutil.which("dockerd") is None:
        _install("docker.io")
    if shutil.which("dockerd") is None:
        raise Unavailable("there is no dockerd, and apt-get could not install docker.io")
    log = open(ENGINE_LOG, "ab")
    engine = subprocess.Popen(["dockerd"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    log.close()
    _engines[engine.pid] = engine
    PID_FILE.write_text("%d %s" % (engine.pid, _start_time(engine.pid)))
    end = time.monotonic() + 45
    while time.monotonic() < end:
        if engine_answers():
            return True
        if engine.poll() is not None:
            break
        time.sleep(0.2)
    stop_engine(force=True)
    raise Unavailable("dockerd does not come up: %s" % _tail(ENGINE_LOG))


def stop_engine(force: bool = False) -> None:
    """Stop the engine if it was started here and nothing runs on it any more."""
    try:
        pid_text, started = PID_FILE.read_text().split()
    except FileNotFoundError:
        return
    pid = int(pid_text)
    if not force and run("docker", "ps", "-q", within=20, check=False).stdout.strip():
        return
    PID_FILE.unlink()
    if _start_time(pid) != started:
        return
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 20
    while _start_time(pid) == started and time.monotonic() < end:
        if pid in _engines:
            _engines[pid].poll()
        time.sleep(0.1)


def _start_time(pid: int) -> str:
    try:
        fields = pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _tail(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(errors="replace").strip()[-400:]
    except OSError as error:
        return str(error)


def _install(*packages: str) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Unavailable("%s is missing; installing it takes root and apt-get" % " and ".join(packages))
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    commands = (["apt-get", "-q", "update"], ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages])
    for argv in commands:
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=180, env=environment, stdin=subprocess.DEVNULL, check=False)
        except subprocess.TimeoutExpired as error:
            raise Unavailable("%s did not end within 180 s" % " ".join(argv)) from error
        if done.returncode != 0:
            raise Unavailable("%s: %s" % (" ".join(argv), done.stderr.strip()[-400:]))


# -- images ------------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def image(distribution: str, docker: bool = False) -> str:
    """The name of the image of a host, which is made where it is missing. `docker`: with an engine of its own inside."""
    packages = ",".join(each for each in (PACKAGES, *((WITH_DOCKER, EXTRA[distribution]) if docker else ())) if each)
    recipe = [distribution, packages, *(path.read_text() for path in sorted((HERE / "image").iterdir()))]
    tag = "selfheal-lab/%s:%s" % (distribution, hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:12])
    if run("docker", "image", "inspect", tag, check=False, within=20).returncode != 0:
        _make(distribution, packages, tag)
    return tag


def _make(distribution: str, packages: str, tag: str) -> None:
    if shutil.which("mmdebstrap") is None:
        _install("mmdebstrap")
    folder = tempfile.mkdtemp(prefix="selfheal-lab-")
    try:
        tar = os.path.join(folder, "root.tar")
        excluded = ["--dpkgopt=path-exclude=/usr/share/%s/*" % each for each in ("man", "doc", "locale")]
        run(
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--include=" + packages,
            '--aptopt=APT::Install-Recommends "false"',
            '--aptopt=Acquire::Languages "none"',
            *_machine_options(),
            *excluded,
            "--customize-hook=%s" % (HERE / "image" / "prepare"),
            SUITES[distribution],
            tar,
            _mirror(),
            within=400,
        )
        run("docker", "import", "-c", 'CMD ["/sbin/lab-boot"]', "-c", "ENV container=docker", tar, tag, within=120)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _mirror() -> str:
    """The mirror this machine itself uses."""
    found = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(COMPONENT) $(CODENAME)", "Created-By: Packages")
    for line in found.stdout.splitlines():
        address, component, codename = (line.split() + ["", "", ""])[:3]
        if component == "main" and "-" not in codename:
            return address
    raise Unavailable("apt-get indextargets names no mirror of Debian's main component: %s" % found.stdout[:200])


def _machine_options() -> List[str]:
    """How this machine's apt reaches its mirror (proxy, dates), as the image's making needs the same."""
    dump = run("apt-config", "dump").stdout.splitlines()
    wanted = ("Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::http::Proxy", "Acquire::https::Proxy")
    return ["--aptopt=" + line.rstrip(";") for line in dump if line.split(" ")[0] in wanted and not line.endswith('"";')]


# -- hosts -------------------------------------------------------------------------------------------------------------------


class Host:
    """One running host."""

    def __init__(self, name: str, distribution: str) -> None:
        self.name = name
        self.distribution = distribution

    def run(
        self, *argv: str, within: float = 30.0, expect: Optional[int] = 0, text: Optional[str] = None, user: Optional[str] = None
    ) -> "subprocess.CompletedProcess[str]":
        """A command inside, run to its end; `expect` None takes any exit status."""
        options = ["-i"] + (["-u", user] if user else [])
        done = run("docker", "exec", *options, self.name, *argv, within=within, check=False, text=text)
        if expect is not None:
            assert expect == done.returncode, (argv, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done

    def sh(self, script: str, within: float = 30.0, expect: Optional[int] = 0) -> str:
        return self.run("sh", "-c", script, within=within, expect=expect).stdout

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Replace a file inside."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"', "sh", path, mode, text=text)

    def copy(self, source: str, path: str) -> None:
        self.run("mkdir", "-p", os.path.dirname(path))
        run("docker", "cp", source, "%s:%s" % (self.name, path))

    def show(self, unit: str, *properties: str) -> Dict[str, str]:
        text = self.run("systemctl", "show", "--property=" + ",".join(properties), "--", unit).stdout
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def remove(self) -> None:
        run("docker", "rm", "-f", "-v", self.name, check=False, within=60)


def start_host(distribution: str, name: Optional[str] = None, docker: bool = False) -> Host:
    """A fresh host, up and running. Raises Unavailable with what systemd said if it does not come up."""
    tag = image(distribution, docker)
    host = Host(name or "selfheal-lab-%s-%s" % (distribution, uuid.uuid4().hex[:8]), distribution)
    extra = ["-v", "/var/lib/docker"] if docker else []
    run(
        "docker",
        "run",
        "-d",
        "--name",
        host.name,
        "--hostname",
        host.name,
        "--label",
        "%s=%s" % (LABEL, KEPT if name else _owner()),
        "--cap-add",
        "SYS_ADMIN",
        "--cap-add",
        "NET_ADMIN",
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "apparmor=unconfined",
        "--cgroupns=private",
        "--stop-signal",
        "SIGRTMIN+3",
        "--tmpfs",
        "/run",
        "--tmpfs",
        "/run/lock",
        "--tmpfs",
        "/tmp:exec",
        *extra,
        tag,
    )
    try:
        _booted(host)
    except Unavailable:
        host.remove()
        raise
    return host


def _booted(host: Host, within: float = 30.0) -> None:
    end = time.monotonic() + within
    said = ""
    while time.monotonic() < end:
        done = run("docker", "exec", host.name, "timeout", "10", "systemctl", "is-system-running", "--wait", check=False, within=20)
        said = (done.stdout + done.stderr).strip()
        if said.startswith("running"):
            return
        if said.startswith("degraded"):
            failed = run("docker", "exec", host.name, "systemctl", "list-units", "--failed", "--plain", "--no-legend", check=False).stdout
            raise Unavailable("%s came up degraded: %s" % (host.distribution, failed.strip()))
        time.sleep(0.05)
    raise Unavailable("%s did not come up within %g s: %s" % (host.distribution, within, said))


def allow_many() -> None:
    """Every host takes seven inotify instances of the machine's 128: allow more, until `as_before`. Raises Unavailable."""
    try:
        old = INOTIFY.read_text().strip()
        if int(old) < 1024:
            INOTIFY_BEFORE.write_text(old)
            INOTIFY.write_text("1024")
    except OSError as error:
        raise Unavailable("so many hosts need more inotify instances: writing %s: %s" % (INOTIFY, error)) from error


def as_before() -> None:
    """Undo `allow_many`."""
    if INOTIFY_BEFORE.exists():
        INOTIFY.write_text(INOTIFY_BEFORE.read_text())
        INOTIFY_BEFORE.unlink()


def _owner() -> str:
    return "%d-%s" % (os.getpid(), _start_time(os.getpid()))


def sweep() -> None:
    """Remove the hosts of runs that were killed before they could."""
    listed = run("docker", "ps", "-a", "--filter", "label=" + LABEL, "--format", '{{.Names}} {{.Label "%s"}}' % LABEL, within=20).stdout
    for line in listed.splitlines():
        name, _space, owner = line.partition(" ")
        pid, _dash, started = owner.partition("-")
        if pid.isdigit() and _start_time(int(pid)) != started:
            run("docker", "rm", "-f", "-v", name, within=60, check=False)


def remove_all(prefix: str = "") -> int:
    """Remove the lab's hosts whose names begin with `prefix`."""
    listed = run("docker", "ps", "-a", "--filter", "label=" + LABEL, "--format", "{{.Names}}", within=20).stdout.split()
    chosen = [name for name in listed if name.startswith(prefix)]
    if chosen:
        run("docker", "rm", "-f", "-v", *chosen, within=120, check=False)
    return len(chosen)


def main(argv: List[str]) -> int:
    verb = argv[0] if argv else ""
    if verb not in ("up", "down", "images"):
        sys.stderr.write("usage: lab.py up [NUMBER] | down | images\n")
        return 2
    try:
        return {"up": _up, "down": _down, "images": _images}[verb](argv[1:])
    except Unavailable as reason:
        sys.stderr.write("lab: not available here: %s\n" % reason)
        return 1


def _up(rest: List[str]) -> int:
    start_engine()
    count = int(rest[0]) if rest else 1
    if count > FEW:
        allow_many()
    for number in range(1, count + 1):
        for distribution in SUITES:
            name = "selfheal-%s-%d" % (distribution, number)
            if run("docker", "inspect", name, check=False).returncode != 0:
                start_host(distribution, name)
            sys.stdout.write("docker exec -it %s bash\n" % name)
    return 0


def _down(rest: List[str]) -> int:
    if engine_answers():
        count = remove_all()
        sys.stdout.write("%d host%s removed\n" % (count, "" if count == 1 else "s"))
        stop_engine()
    as_before()
    return 0


def _images(rest: List[str]) -> int:
    start_engine()
    for distribution in SUITES:
        sys.stdout.write("%s\n" % image(distribution))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

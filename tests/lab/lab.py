# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real hosts: containers with systemd as PID 1, Debian 12 and 13. Everything here waits for a bounded time only.

`python lab.py up [NUMBER] | down | images | ready | engine | rest`. Images are made from the packages of this machine's own mirror, and
made anew when the recipe changes. Hosts bear the label `selfheal.lab`. Where no Docker Engine runs one is started; `down` stops it when
nothing runs on it. `ready` has all that tests need, `engine` only Docker Engine and a static busybox; both say "started" if that took an
engine, and end with 77 where it cannot be had; `rest started` undoes it.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from typing import Callable, Dict, List, Optional, Tuple

from engine import (
    CLEAN,
    ENTER,
    PID_FILE,
    Impossible,
    Unavailable,
    apt_options,
    engine_answers,
    first_process,
    install,
    run,
    start_engine,
    start_time,
    stop_engine,
)

HERE = pathlib.Path(__file__).resolve().parent
LABEL = "selfheal.lab"
KEPT = "kept"
"""A host that stays until it is removed by `down`; the others end with the run that started them."""
SUITES = {"debian12": "bookworm", "debian13": "trixie"}
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-apt,openssh-server,iproute2,iptables,nftables,procps,ca-certificates,curl,sudo,cron"
WITH_DOCKER = "docker.io,kmod"
EXTRA = {"debian12": "", "debian13": "docker-cli"}
SKIPPED = 77
FEW = 5
"""So many hosts of each Debian fit without a change to this machine."""
DERIVED = """FROM %(base)s
RUN ls /etc/systemd/system/*.wants > /tmp/before; apt-get -q update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends %(packages)s && \
    apt-get clean && rm -rf /var/lib/apt/lists/* && : > /etc/machine-id && \
    for unit in $(ls /etc/systemd/system/*.wants | grep -vxFf /tmp/before); do systemctl --quiet disable "$unit"; done
"""
AS_HOST = """--cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined
    --cgroupns=private --stop-signal SIGRTMIN+3 --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec"""
LOCK = PID_FILE.with_name("selfheal-lab-images.lock")
INOTIFY_BEFORE = PID_FILE.with_name("selfheal-lab-inotify")
INOTIFY = pathlib.Path("/proc/sys/fs/inotify/max_user_instances")


# -- images ------------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def image(distribution: str, docker: bool = False, packages: Tuple[str, ...] = ()) -> str:
    """The name of the image of a host, which is made where it is missing. See `start_host`."""
    return _derived(_plain(distribution, docker), packages) if packages else _plain(distribution, docker)


def _plain(distribution: str, docker: bool) -> str:
    packages = ",".join(each for each in (PACKAGES, *((WITH_DOCKER, EXTRA[distribution]) if docker else ())) if each)
    recipe = [distribution, packages, *(path.read_text() for path in sorted((HERE / "image").iterdir()))]
    tag = "selfheal-lab/%s%s:%s" % (distribution, "-docker" if docker else "", hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:12])
    if not _there(tag):
        with open(LOCK, "w", encoding="ascii") as lock:
            _take(lock.fileno())
            if not _there(tag):  # another run has made it meanwhile
                _make(distribution, packages, tag)
                _forget_others(distribution, tag)
    return tag


def _derived(base: str, packages: Tuple[str, ...]) -> str:
    """An image with more packages, none of whose services runs unless it is started."""
    recipe = DERIVED % {"base": base, "packages": " ".join(sorted(packages))}
    tag = "%s-%s" % (base, hashlib.sha256(recipe.encode()).hexdigest()[:8])
    if not _there(tag):
        with open(LOCK, "w", encoding="ascii") as lock:
            _take(lock.fileno())
            if not _there(tag):
                run("docker", "build", "--quiet", "--tag", tag, "-", within=300, text=recipe)
    return tag


def _there(tag: str) -> bool:
    return run("docker", "image", "inspect", tag, check=False, within=20).returncode == 0


def _take(lock: int) -> None:
    """Images are made by one run at a time. Raises Unavailable."""
    end = time.monotonic() + 600
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise Unavailable("another run has been making images for ten minutes; it holds %s" % LOCK) from error
            time.sleep(0.5)


def _forget_others(distribution: str, tag: str) -> None:
    """Remove images of recipes of the past, as long as no host runs on them."""
    listed = run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "selfheal-lab/" + distribution, within=20).stdout.split()
    plain = [each for each in listed if not each.startswith(tag) and not each.endswith("<none>")]
    if plain:
        run("docker", "rmi", *plain, check=False, within=60)


def _make(distribution: str, packages: str, tag: str) -> None:
    if shutil.which("mmdebstrap") is None:
        install("mmdebstrap")
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
            *apt_options(),
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


# -- hosts -------------------------------------------------------------------------------------------------------------------


class Host:
    """One running host."""

    def __init__(self, name: str, distribution: str) -> None:
        self.name = name
        self.distribution = distribution
        self._init: Optional[Tuple[int, str]] = None

    def run(
        self, *argv: str, within: float = 30.0, expect: Optional[int] = 0, text: Optional[str] = None, user: Optional[str] = None
    ) -> "subprocess.CompletedProcess[str]":
        """A command inside, run to its end; `expect` None takes any exit status."""
        options = ["-i"] + (["-u", user] if user else [])
        done = run("docker", "exec", *options, self.name, *argv, within=within, check=False, text=text)
        if expect is not None:
            assert expect == done.returncode, (argv, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done

    def ask(self, *argv: str, within: float = 30.0, expect: Optional[int] = 0) -> str:
        """What a short command inside prints, which changes nothing there and starts nothing that stays.

        Costs a twentieth of `run`, where it can be had: the command enters the host's namespaces by itself, and none of its control groups.
        """
        if self._init is None or start_time(self._init[0]) != self._init[1]:
            self._init = first_process(self.name)
        if self._init is None:
            return self.run(*argv, within=within, expect=expect).stdout
        done = run(*ENTER, str(self._init[0]), *CLEAN, *argv, within=within, check=False)
        if expect is not None:
            assert expect == done.returncode, (argv, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    def sh(self, script: str, within: float = 30.0, expect: Optional[int] = 0) -> str:
        return self.run("sh", "-c", script, within=within, expect=expect).stdout

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Replace a file inside."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"', "sh", path, mode, text=text)

    def copy(self, source: str, path: str) -> None:
        self.run("mkdir", "-p", os.path.dirname(path))
        run("docker", "cp", source, "%s:%s" % (self.name, path))

    def show(self, unit: str, *properties: str) -> Dict[str, str]:
        text = self.ask("systemctl", "show", "--property=" + ",".join(properties), "--", unit)
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def address(self) -> str:
        """Where this machine reaches it."""
        return run("docker", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", self.name).stdout.strip()

    def reboot(self) -> None:
        """`systemctl reboot`, waited for until it is up again: /run is gone, everything was stopped and started."""
        run("docker", "update", "--restart", "unless-stopped", self.name)
        ask = ("docker", "exec", self.name, "systemctl", "show", "--property=UserspaceTimestampMonotonic")
        before = run(*ask).stdout
        self.run("systemctl", "reboot", expect=None)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            now = run(*ask, check=False).stdout
            if "=" in now and now != before:
                return _booted(self, end - time.monotonic())
            time.sleep(0.2)
        raise Unavailable("%s did not come up again within 120 s" % self.name)

    def remove(self) -> None:
        run("docker", "rm", "-f", "-v", self.name, check=False, within=60)


def start_host(
    distribution: str, name: Optional[str] = None, docker: bool = False, packages: Tuple[str, ...] = (), volumes: Tuple[str, ...] = ()
) -> Host:
    """A fresh host, up and running. `docker`: with an engine of its own inside; `packages`: with more of the distribution's, which do
    not run; `volumes`: folders on a file system of their own, as an engine wants for its data.

    Raises Unavailable with what systemd said if it does not come up.
    """
    tag = image(distribution, docker, packages)
    host = Host(name or "selfheal-lab-%s-%s" % (distribution, uuid.uuid4().hex[:8]), distribution)
    extra = [word for folder in (*(("/var/lib/docker",) if docker else ()), *volumes) for word in ("-v", folder)]
    label = "%s=%s" % (LABEL, KEPT if name else _owner())
    run("docker", "run", "-d", "--name", host.name, "--hostname", host.name, "--label", label, *AS_HOST.split(), *extra, tag)
    try:
        _booted(host)
    except Unavailable:
        host.remove()
        raise
    return host


def _booted(host: Host, within: float = 90.0) -> None:
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
    return "%d-%s" % (os.getpid(), start_time(os.getpid()))


def sweep() -> None:
    """Remove the hosts of runs that were killed before they could."""
    listed = run("docker", "ps", "-a", "--filter", "label=" + LABEL, "--format", '{{.Names}} {{.Label "%s"}}' % LABEL, within=20).stdout
    for line in listed.splitlines():
        name, _space, owner = line.partition(" ")
        pid, _dash, started = owner.partition("-")
        if pid.isdigit() and start_time(int(pid)) != started:
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
    verbs = {"up": _up, "down": _down, "images": _images, "ready": _ready, "engine": _engine, "rest": _rest}
    if verb not in verbs:
        sys.stderr.write("usage: lab.py %s\n" % " | ".join(verbs))
        return 2
    try:
        return verbs[verb](argv[1:])
    except Impossible as reason:
        sys.stderr.write("skipped: the lab cannot be had here: %s\n" % reason)
        return SKIPPED
    except Unavailable as reason:
        sys.stderr.write("lab: %s\n" % reason)
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


def _prepared(prepare: Callable[[], None]) -> int:
    """Have an engine and whatever `prepare` gets; says whether the engine had to be started, and leaves none that nobody needs."""
    started = start_engine()
    try:
        prepare()
    except Unavailable:
        if started:
            stop_engine()
        raise
    sys.stdout.write("started\n" if started else "")
    return 0


def _ready(rest: List[str]) -> int:
    return _prepared(_all)


def _all() -> None:
    sweep()
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        install("openssh-client")
    for distribution in SUITES:
        image(distribution)
    try:
        allow_many()
    except Unavailable as reason:
        sys.stderr.write("lab: %s; fewer hosts run at once\n" % reason)


def _engine(rest: List[str]) -> int:
    return _prepared(lambda: None if shutil.which("busybox") else install("busybox-static"))


def _rest(rest: List[str]) -> int:
    sweep()
    if not run("docker", "ps", "-q", "--filter", "label=" + LABEL, within=20).stdout.strip():
        as_before()
    if rest:
        stop_engine()
    return 0


def _images(rest: List[str]) -> int:
    start_engine()
    for distribution in SUITES:
        sys.stdout.write("%s\n" % image(distribution))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker Engine for the lab: the one that runs, or one started here and stopped again. Every wait is bounded."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import time
from typing import Dict, List, Optional, Tuple

PID_FILE = pathlib.Path(os.environ.get("SELFHEAL_LAB_RUN", "/run")) / "selfheal-lab-dockerd.pid"
ENGINE_LOG = "/var/log/selfheal-lab-dockerd.log"


PATIENCE = 4.0
"""What is waited for may take so much longer on a busy machine; what must not take long is measured where it happens, and asserted."""


class Unavailable(Exception):
    """The lab could not be had; says exactly why."""


class Impossible(Unavailable):
    """Nor can it be: this account, or this kind of machine, cannot have one. Tests are skipped for this reason and for no other."""


def run(*argv: str, within: float = 60.0, check: bool = True, text: Optional[str] = None) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end. Raises Unavailable when it cannot be had, fails or does not end in time."""
    within *= PATIENCE
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=within, input=text if text is not None else "", check=False)
    except FileNotFoundError as error:
        raise Unavailable("there is no program %s" % argv[0]) from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable("%s did not end within %g s" % (" ".join(argv[:3]), within)) from error
    if check and done.returncode != 0:
        raise Unavailable("%s: exit status %d: %s" % (" ".join(argv[:3]), done.returncode, (done.stderr or done.stdout).strip()[-600:]))
    return done


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
        raise Impossible("no Docker Engine answers here, and only root may start one")
    if shutil.which("dockerd") is None:
        install("docker.io")
    if shutil.which("docker") is None:
        install("docker-cli")  # since Debian 13 a package of its own
    for program in ("dockerd", "docker"):
        if shutil.which(program) is None:
            raise Unavailable("there is no %s, and apt-get could not install it" % program)
    log = open(ENGINE_LOG, "ab")
    engine = subprocess.Popen(["dockerd"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    log.close()
    _engines[engine.pid] = engine
    PID_FILE.write_text("%d %s" % (engine.pid, start_time(engine.pid)))
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
    if start_time(pid) != started:
        return
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 20
    while start_time(pid) == started and time.monotonic() < end:
        if pid in _engines:
            _engines[pid].poll()
        time.sleep(0.1)


def apt_options() -> List[str]:
    """How this machine's apt reaches its mirror (proxy, dates), as the image's making needs the same."""
    dump = run("apt-config", "dump").stdout.splitlines()
    wanted = ("Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::http::Proxy", "Acquire::https::Proxy")
    return ["--aptopt=" + line.rstrip(";") for line in dump if line.split(" ")[0] in wanted and not line.endswith('"";')]


ENTER = ("nsenter", "--all", "--target")
CLEAN = ("--", "env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")


def first_process(container: str) -> Optional[Tuple[int, str]]:
    """The pid of its first process here, and when that started; None where it is no process of this machine, or not ours to enter."""
    if os.geteuid() != 0 or shutil.which(ENTER[0]) is None:
        return None
    found = run("docker", "inspect", "--format", "{{.State.Pid}} {{.Id}}", container, check=False).stdout.split()
    pid = int(found[0]) if found else 0
    try:
        ours = bool(pid) and found[1] in pathlib.Path("/proc/%d/cgroup" % pid).read_text()
    except (FileNotFoundError, ProcessLookupError):
        ours = False  # it has ended, or is another machine's
    return (pid, start_time(pid)) if ours else None


def start_time(pid: int) -> str:
    """Names a process together with its pid; empty when it is gone."""
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


def install(*packages: str) -> None:
    """Have packages of the distribution. Raises Unavailable."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Impossible("%s is missing; installing it takes root and apt-get" % " and ".join(packages))
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    commands = (["apt-get", "-q", "update"], ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages])
    for argv in commands:
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=180, env=environment, stdin=subprocess.DEVNULL, check=False)
        except subprocess.TimeoutExpired as error:
            raise Unavailable("%s did not end within 180 s" % " ".join(argv)) from error
        if done.returncode != 0:
            raise Unavailable("%s: %s" % (" ".join(argv), done.stderr.strip()[-400:]))

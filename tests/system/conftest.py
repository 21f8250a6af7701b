# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host in a temporary directory: the real zip application, the real watchdog, real processes. No root, no systemd needed."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTION = pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or ROOT)

# Answers /live and /ready: 500 while the file `bad` is there. Notes every start with its pid.
SERVICE = """
import http.server, os, sys
folder, port = sys.argv[1], int(sys.argv[2])
with open(os.path.join(folder, "starts"), "a") as starts:
    starts.write("%d\\n" % os.getpid())
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if os.path.exists(os.path.join(folder, "bad")) else 200)
        self.end_headers()
    def log_message(self, *words):
        return
http.server.HTTPServer.request_queue_size = 128
http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """What a shell runs in the background ignores Ctrl-C, and so would everything that is started here."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def until(true: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait for something that really happens elsewhere, at most so long; returns what was found."""
    end = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError("not within %g s: %s" % (seconds, what))
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def alive(pid: int) -> bool:
    """Does a process of that pid run (and is no zombie)?"""
    try:
        return pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Bed:
    """One pretended host. `user`: run everything as this uid."""

    until = staticmethod(until)
    alive = staticmethod(alive)

    def __init__(self, pyz: str, folder: pathlib.Path, user: Optional[int] = None, python: str = sys.executable) -> None:
        self.python = python
        self.pyz = pyz
        self.folder = folder
        self.etc = folder / "etc"
        self.etc.mkdir()
        self.user = user
        self.port = free_port()
        self.daemons: List[subprocess.Popen[str]] = []
        (folder / "service.py").write_text(SERVICE)
        self.configure()

    def configure(self, **more: Any) -> None:
        data = {
            "schema": 1,
            "host": "bed1",
            "listen": "127.0.0.1:%d" % self.port,
            "state_dir": str(self.folder / "state"),
            "run_dir": str(self.folder / "run"),
            **more,
        }
        (self.etc / "watchdog.json").write_text(json.dumps(data))

    def contracts(self, *services: Dict[str, Any]) -> None:
        (self.etc / "contracts.json").write_text(json.dumps({"services": list(services)}))

    def service(self, name: str = "web", **more: Any) -> Dict[str, Any]:
        """A contract with short times, for a service with a folder of its own."""
        home = self.home(name)
        port = free_port()
        argv = [self.python, "-I", str(self.folder / "service.py"), str(home), str(port)]
        probe = {"role": "liveness", "http": {"url": "http://127.0.0.1:%d/live" % port}, "period": 1, "timeout": 0.5}
        return {
            "name": name,
            "resource": {"process": {"argv": argv, "stop_timeout": 2}},
            "probes": [probe],
            "confirm_period": 0.1,
            "failing_for": 0.5,
            "recovered_after": 0.5,
            "ladder_reset_after": 3600,
            **more,
        }

    def home(self, name: str) -> pathlib.Path:
        home = self.folder / name
        if not home.exists():
            home.mkdir()
            if self.user is not None:
                os.chown(home, self.user, self.user)
        return home

    # -- what runs

    def command(self, *argv: str) -> List[str]:
        return [self.python, "-I", self.pyz, "--etc", str(self.etc), *argv]

    def run(self, *argv: str, expect: Optional[int] = 0, **more: Any) -> subprocess.CompletedProcess[str]:
        """A verb of the command line, run to its end."""
        done = subprocess.run(self.command(*argv), capture_output=True, text=True, timeout=60, check=False, user=self.user, **more)
        if expect is not None:
            assert expect == done.returncode, (argv, done.stdout, done.stderr)
        return done

    def json(self, *argv: str, expect: int = 0) -> Any:
        return json.loads(self.run(*argv, "--json", expect=expect).stdout)

    def watch(self, ready: bool = True, **environment: str) -> subprocess.Popen[str]:
        """Start the watchdog; by default wait until it is ready."""
        with open(self.folder / "log", "a") as log:
            daemon = subprocess.Popen(
                self.command("watch"),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                text=True,
                user=self.user,
                env={**os.environ, **environment},
            )
        self.daemons.append(daemon)
        if ready:
            until(lambda: self.get("/health/ready")[0] == 200 or daemon.poll() is not None, 15, "the watchdog is ready")
            assert daemon.poll() is None, self.log()
        return daemon

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def pid(self, name: str = "web") -> int:
        """The pid of the newest instance that started."""
        starts = (self.folder / name / "starts").read_text().split()
        return int(starts[-1])

    def starts(self, name: str = "web") -> int:
        path = self.folder / name / "starts"
        return len(path.read_text().split()) if path.exists() else 0

    def healthy(self, *names: str, within: float = 15.0) -> None:
        for name in names or ("web",):
            until(lambda name=name: self.get("/services/%s/ready" % name)[0] == 200, within, "%s is healthy" % name)

    # -- what can be seen

    def get(self, path: str, headers: str = "", method: str = "GET") -> Any:
        """(status, body) of one of the endpoints; (0, "") while nobody listens."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as client:
                client.sendall(("%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (method, path, headers)).encode())
                data = b"".join(iter(lambda: client.recv(65536), b""))
        except OSError:
            return 0, ""
        head, _empty, body = data.partition(b"\r\n\r\n")
        return int(head.split()[1]) if head else 0, body.decode()

    def events(self, *types: str, service: Optional[str] = None) -> List[Dict[str, Any]]:
        """The timeline, read as anybody can."""
        found: List[Dict[str, Any]] = []
        for segment in sorted((self.folder / "state" / "timeline").glob("0*.jsonl")):
            found += [json.loads(line) for line in segment.read_text().splitlines()]
        return [event for event in found if (not types or event["type"] in types) and service in (None, event.get("service"))]

    def event(self, *types: str, count: int = 1, within: float = 15.0) -> Dict[str, Any]:
        """Wait for the `count`-th event of these types."""
        return until(lambda: self.events(*types)[count - 1 :], within, "event %d of %s; there are %s" % (count, types, self.events()))[0]

    def close(self) -> None:
        for daemon in self.daemons:
            if daemon.poll() is None:
                daemon.kill()
            daemon.wait(10)
        for starts in self.folder.glob("*/starts"):
            for pid in starts.read_text().split():
                if alive(int(pid)):
                    os.kill(int(pid), signal.SIGKILL)


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The zip application, built as the action plugin builds it."""
    spec = importlib.util.spec_from_file_location("archive", COLLECTION / "plugins" / "plugin_utils" / "_archive.py")
    assert spec is not None and spec.loader is not None
    archive = importlib.util.module_from_spec(spec)
    sys.modules["archive"] = archive
    spec.loader.exec_module(archive)
    folder = tempfile.mkdtemp(prefix="selfheal-pyz-")
    os.chmod(folder, 0o755)
    yield archive.build(folder, str(COLLECTION)).path
    shutil.rmtree(folder)


@pytest.fixture
def bed(pyz: str) -> Iterator[Bed]:
    folder = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-bed-"))
    made = Bed(pyz, folder)
    yield made
    made.close()
    shutil.rmtree(folder)


@pytest.fixture
def users_bed(pyz: str) -> Iterator[Bed]:
    """The same, for an ordinary user: everything runs as nobody where the tests run as root."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-bed-"))
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None:
        pytest.skip("needs the distribution's own python3, which every user may run")
    made = Bed(pyz, folder, 65534 if os.geteuid() == 0 else None, python)
    if made.user is not None:
        os.chown(folder, made.user, made.user)
        os.chown(made.etc, made.user, made.user)
    yield made
    made.close()
    shutil.rmtree(folder)


__all__ = ["Bed", "alive", "free_port", "until"]

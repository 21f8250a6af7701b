# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A place where real healers watch real services on loopback: made for a measurement, and nothing of it is left.

The command line of everything that is started here names the stage's own temporary directory. By that, and by the program it runs, the end
finds every process, also those that left our process group on purpose, and kills them one by one.
"""

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
from typing import Any, Callable, Dict, Iterator, List, Optional, Set

from observer import Victim, good

HERE = pathlib.Path(__file__).resolve().parent
ROOT = pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or HERE.parents[1])
PORTS = range(21500, 22000)
"""Below the kernel's range for outgoing connections: such a one can take the port of a service that is down, or connect to itself."""
PERIOD = 10
TIMEOUT = 2


def wait(true: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait for something that happens in another process, at most so long."""
    end = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        if time.monotonic() > end:
            raise SystemExit("gave up after %g s: %s" % (seconds, what))
        time.sleep(0.02)


class Stage:
    """Use as a context. `python` is what the watchdog runs by: the distribution's own, as on a managed host, or else this one."""

    def __init__(self) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-bench-"))
        self.python = distribution_python()
        self._ports = iter(PORTS)
        self._children: List[subprocess.Popen] = []
        self._programs: Set[str] = {os.path.realpath(self.python)}
        self._archive: Optional[str] = None

    def __enter__(self) -> Stage:
        end_on_signals()
        try:
            self.victim = self._have_victim()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: Any) -> None:
        for _round in range(3):  # a healer may be starting something while it is killed
            for pid in [child.pid for child in self._children if child.poll() is None] + list(self._ours()):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            for child in self._children:
                child.wait(10)
        shutil.rmtree(self.folder)

    def _ours(self) -> Iterator[int]:
        mark = os.fsencode(str(self.folder))
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    words, program = (entry / "cmdline").read_bytes(), os.readlink(entry / "exe")
                except OSError:
                    continue  # gone meanwhile
                if mark in words and program in self._programs:
                    yield int(entry.name)

    def _have_victim(self) -> List[str]:
        program = build_victim(self.folder)
        if program is None:
            copy = shutil.copy(HERE / "victim.py", self.folder)
            return [self.python, "-I", "-S", str(copy)]
        self._programs.add(str(program))
        return [str(program)]

    # -- services

    def port(self) -> int:
        """The next port; somebody else's is no port of ours."""
        port = next(self._ports)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise SystemExit("port %d is needed here, but: %s; end what listens there, then try again" % (port, error)) from error
        return port

    def victims(self, name: str, count: int, silent: bool = False) -> List[Victim]:
        return [Victim("%s%02d" % (name, index), self.port(), silent) for index in range(count)]

    def argv(self, victim: Victim) -> List[str]:
        return [*self.victim, str(victim.port), victim.mode]

    def pidfile(self, victim: Victim) -> pathlib.Path:
        return self.folder / ("%s.pid" % victim.name)

    def run(self, argv: List[str], name: str) -> subprocess.Popen:
        """Start something that lives as long as the stage; its output goes to NAME.out."""
        self._programs.update(os.path.realpath(word) for word in argv if os.access(word, os.X_OK))
        with open(self.folder / (name + ".out"), "ab") as output:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder)
        self._children.append(child)
        return child

    # -- the watchdog

    def archive(self) -> str:
        """selfheal.pyz as the action plugin builds it."""
        if self._archive is None:
            self._archive = build_archive(self.folder)
        return self._archive

    def watchdog(self, name: str, services: List[Dict[str, Any]]) -> Watchdog:
        return Watchdog(self, name, services)


class Watchdog:
    """``selfheal watch`` over these contracts, ready and with every service up that answers."""

    def __init__(self, stage: Stage, name: str, services: List[Dict[str, Any]]) -> None:
        home = stage.folder / name
        etc = home / "etc"
        etc.mkdir(parents=True)
        self.port = stage.port()
        self.log = home / "state" / "timeline" / "000001.jsonl"
        config = {"schema": 1, "host": "bench", "listen": "127.0.0.1:%d" % self.port}
        config.update(state_dir=str(home / "state"), run_dir=str(home / "run"))
        (etc / "watchdog.json").write_text(json.dumps(config))
        (etc / "contracts.json").write_text(json.dumps({"services": services}))
        self.process = stage.run([stage.python, "-I", stage.archive(), "--etc", str(etc), "watch"], name)
        wait(lambda: good(self.port, "/health/ready") or self.process.poll() is not None, 30, "the watchdog is ready")
        if self.process.poll() is not None:
            raise SystemExit("the watchdog ended: %s" % (stage.folder / (name + ".out")).read_text())

    def ready(self, name: str) -> bool:
        return good(self.port, "/services/%s/ready" % name)

    def events(self, service: str, type: str) -> List[Dict[str, Any]]:
        lines = self.log.read_bytes().splitlines() if self.log.exists() else []
        found = [json.loads(line) for line in lines]
        return [event for event in found if event.get("service") == service and event["type"] == type]


def contract(stage: Stage, victim: Victim, **more: Any) -> Dict[str, Any]:
    """What a user would write, with the period and timeout of the measurement; everything else is the default."""
    probe = {"role": "liveness", "http": {"url": "http://127.0.0.1:%d/" % victim.port}, "period": PERIOD, "timeout": TIMEOUT}
    return {"name": victim.name, "resource": {"process": {"argv": stage.argv(victim)}}, "probes": [probe], **more}


def build_victim(folder: pathlib.Path) -> Optional[pathlib.Path]:
    """victim.c as a program in `folder`; None where there is no C compiler."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    program = folder.resolve() / "victim"
    for static in (["-static"], []):  # not every machine has the static C library
        argv = [compiler, "-O2", *static, "-o", str(program), str(HERE / "victim.c")]
        if subprocess.run(argv, capture_output=True, check=False).returncode == 0:
            return program
    raise SystemExit("%s cannot compile %s" % (compiler, HERE / "victim.c"))


def build_archive(folder: pathlib.Path) -> str:
    """selfheal.pyz in `folder`, as the action plugin builds it."""
    spec = importlib.util.spec_from_file_location("archive", ROOT / "plugins" / "plugin_utils" / "_archive.py")
    if spec is None or spec.loader is None:
        raise SystemExit("no collection at %s" % ROOT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["archive"] = module
    spec.loader.exec_module(module)
    path: str = module.build(str(folder), str(ROOT)).path
    return path


def distribution_python() -> str:
    """/usr/bin/python3 where it can run the watchdog."""
    python = "/usr/bin/python3"
    check = "import sys; sys.exit(sys.version_info < (3, 9))"
    if os.access(python, os.X_OK) and subprocess.run([python, "-I", "-c", check], check=False).returncode == 0:
        return python
    return sys.executable


def needed(program: str, variable: str) -> str:
    """A peer's program: named by a variable of the environment, or on the path."""
    found = os.environ.get(variable) or shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        raise SystemExit("%s is missing: apt-get install %s, or name it in %s" % (program, program, variable))
    return found


def end_on_signals() -> None:
    """SIGTERM and SIGHUP end the run as Ctrl-C does: what was started is removed."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ended)


def _ended(number: int, _frame: Any) -> None:
    raise SystemExit(128 + number)


__all__ = [
    "HERE",
    "PERIOD",
    "ROOT",
    "TIMEOUT",
    "Stage",
    "Watchdog",
    "build_archive",
    "build_victim",
    "contract",
    "distribution_python",
    "end_on_signals",
    "needed",
    "wait",
]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Breaks a service and watches it once a millisecond until another process answers; tells what a process has used.

Stands alone, as it is copied to hosts that have a Python and nothing else. There it takes its orders as JSON, and answers in JSON:

    python3 observer.py injure < ORDERS      one after the other
    python3 observer.py beside < ORDERS      all at once
    python3 observer.py usage SECONDS PID…   CPU seconds and MB of each

An order: {"name": "web", "port": 8080, "how": "SIGKILL", "after": 0.5, "log": "/var/log/x", "words": ["what", "a line says"]}.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
import signal
import socket
import sys
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

PATIENCE = 60.0
CALM = 10.0


def asked(port: int, path: str = "/", timeout: float = 1.0) -> bytes:
    """The whole answer of a server on loopback; nothing when it refuses, breaks off or does not answer in time."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as client:
            client.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path.encode())
            return b"".join(iter(lambda: client.recv(65536), b""))
    except OSError:
        return b""


def good(port: int, path: str = "/") -> bool:
    return asked(port, path).startswith(b"HTTP/1.1 200 ")


def cpu_of(pid: int) -> float:
    """Seconds on a processor of a process with all its threads, from the scheduler's own nanoseconds."""
    threads = pathlib.Path("/proc/%d/task" % pid)
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads.iterdir()) / 1e9


def rss_of(pid: int) -> float:
    """Resident memory in MB."""
    status = pathlib.Path("/proc/%d/status" % pid).read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


class Victim:
    """A service that is to be killed or hung: its port, and the pid that answers there."""

    def __init__(self, name: str, port: int, silent: bool = False) -> None:
        self.name = name
        self.port = port
        self.mode = "silent" if silent else "answer"

    def pid(self) -> int:
        """Who answers; 0 when nobody does."""
        head, _empty, body = asked(self.port, timeout=0.25).partition(b"\r\n\r\n")
        return int(body) if head.startswith(b"HTTP/1.1 200 ") and body else 0


class Healed(NamedTuple):
    """Seconds after the fault. recorded: None when it was never read."""

    recorded: Optional[float]
    serving: float


class Follower:
    """Reads what is added to a log, line by line, and looks for one that has all of these words."""

    def __init__(self, path: pathlib.Path, words: Sequence[str]) -> None:
        self._path = path
        self._words = [word.encode() for word in words]
        self._at = path.stat().st_size if path.exists() else 0

    def found(self) -> bool:
        """Has such a line been added since the last time?"""
        if not self._path.exists() or self._path.stat().st_size <= self._at:
            return False
        with open(self._path, "rb") as file:
            file.seek(self._at)
            whole = file.read().rpartition(b"\n")[0]
        self._at += len(whole) + 1 if whole else 0
        return any(all(word in line for word in self._words) for line in whole.splitlines())


def failure_of(name: str) -> List[str]:
    """What stands in our timeline's line that says so."""
    return ['"type":"failure"', '"service":"%s"' % name]


def serving_pid(victim: Victim) -> int:
    """Who answers before the fault; a busy machine may keep one question waiting, but not all of them."""
    end = time.monotonic() + CALM
    while True:
        pid = victim.pid()
        if pid:
            return pid
        if time.monotonic() > end:
            raise SystemExit("%s does not serve before its fault" % victim.name)


def injure(victim: Victim, how: signal.Signals, follower: Optional[Follower] = None) -> Healed:
    """Kill or hang a service and watch it once a millisecond until another pid answers."""
    old = serving_pid(victim)
    recorded: Optional[float] = None
    began = time.monotonic()
    os.kill(old, how)
    while True:
        pid = victim.pid()
        now = time.monotonic() - began
        if recorded is None and follower is not None and follower.found():
            recorded = time.monotonic() - began
        if pid not in (0, old):
            break
        if now > PATIENCE:
            raise SystemExit("%s does not serve %g s after %s" % (victim.name, PATIENCE, how.name))
        time.sleep(0.001)
    while follower is not None and recorded is None and time.monotonic() - began < now + 2.0:
        if follower.found():
            recorded = time.monotonic() - began
        time.sleep(0.001)
    return Healed(recorded, now)


def beside(*works: Callable[[], Any]) -> List[Any]:
    """Do all at once; what they return. The first that fails is raised when all have ended."""
    results: List[Any] = [None] * len(works)
    failures: List[BaseException] = []

    def work(index: int) -> None:
        try:
            results[index] = works[index]()
        except (Exception, SystemExit) as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)  # so that Ctrl-C is heard
    if failures:
        raise failures[0]
    return results


# On a host.


def ordered(order: Dict[str, Any]) -> Healed:
    """One fault as it was ordered."""
    time.sleep(order["after"])
    follower = Follower(pathlib.Path(order["log"]), order["words"]) if order.get("log") else None
    return injure(Victim(order["name"], order["port"]), signal.Signals[order["how"]], follower)


def usage(seconds: float, pids: Sequence[int]) -> List[List[float]]:
    """CPU seconds within `seconds`, and MB of memory at their end, of each process."""
    before = [cpu_of(pid) for pid in pids]
    time.sleep(seconds)
    return [[cpu_of(pid) - earlier, rss_of(pid)] for pid, earlier in zip(pids, before)]


def main(words: List[str]) -> int:
    answer: Any
    if words[0] == "usage":
        answer = usage(float(words[1]), [int(word) for word in words[2:]])
    else:
        works = [functools.partial(ordered, order) for order in json.load(sys.stdin)]
        answer = beside(*works) if words[0] == "beside" else [work() for work in works]
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

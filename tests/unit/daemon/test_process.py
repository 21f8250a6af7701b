# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ties the daemon to its host: systemd's notify socket, the journal, the lock, the counts of its ledger."""

from __future__ import annotations

import math
import os
import pathlib
import socket
import threading
import time
from typing import Any, Dict, Iterator, Optional

import pytest

from selfheal.daemon import lock, log
from selfheal.daemon.ledger import Ledger
from selfheal.daemon.systemd import Notifier

INTERVALS = [
    ({}, math.inf),
    ({"WATCHDOG_USEC": "30000000"}, 15.0),
    ({"WATCHDOG_USEC": "0"}, math.inf),
    ({"WATCHDOG_USEC": "soon"}, math.inf),
    ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, math.inf),
    ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
]


@pytest.mark.parametrize(("environment", "expected"), INTERVALS)
def test_signs_of_life_come_twice_in_each_watchdogsec(
    environment: Dict[str, str], expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of WATCHDOG_USEC, if it is meant for this process; and services that are started do not inherit it."""
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert expected == Notifier().interval
    assert "WATCHDOG_USEC" not in os.environ


@pytest.fixture
def systemd(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket that systemd would read."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(address)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield server


def test_the_notify_protocol_is_spoken(systemd: socket.socket) -> None:
    """READY with a status of one line; the same status twice is sent once; a socket that is gone stops nothing."""
    notifier = Notifier()
    notifier.ready("all\nwell")
    notifier.status("all\nwell")
    notifier.status("web is unhealthy")
    notifier.alive()
    assert [b"READY=1\nSTATUS=all well", b"STATUS=web is unhealthy", b"WATCHDOG=1"] == [systemd.recv(4096) for _each in range(3)]
    os.unlink(systemd.getsockname())
    notifier.alive()
    notifier.close()
    assert 1 == notifier.failed and "NOTIFY_SOCKET" not in os.environ


def test_a_full_socket_is_waited_for_a_second_at_most(systemd: socket.socket) -> None:
    """Signs of life and sentences are dropped at once, and a dropped sentence is to be said again; only what systemd waits for may wait."""
    notifier = Notifier()
    while not notifier.failed:
        notifier.alive()
    began = time.monotonic()
    assert not notifier.status("web is unhealthy") and time.monotonic() - began < 0.5
    notifier.ready("all well")
    assert 3 == notifier.failed and 0.9 < time.monotonic() - began < 10.0
    threading.Timer(0.2, systemd.recv, (4096,)).start()
    notifier.stopping("stopping")
    assert 3 == notifier.failed, "it was sent as soon as there was room"
    while b"STOPPING=1" not in systemd.recv(4096):
        continue
    assert notifier.status("web is unhealthy") and b"STATUS=web is unhealthy" == systemd.recv(4096)
    notifier.close()


def test_a_journal_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a full pipe a line is dropped at once; when it is read again the next line says how many were."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(writing, b"x" * 4096)
        os.set_blocking(writing, True)
        monkeypatch.setattr(log, "_STDERR", writing)
        written = log.Log()
        written.say("first")
        written.say("second")
        assert 2 == written.lost
        while len(os.read(reading, 1 << 20)) == 1 << 20:
            continue
        written.say("third\nline")
        assert b"third\\nline (2 lines before this one were lost: nobody read them)\n" == os.read(reading, 4096)
        assert 0 == written.lost
    finally:
        os.close(reading)
        os.close(writing)


def test_a_line_is_marked_with_its_priority_for_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under systemd a page is an error and a recovery a notice; a line is never longer than what a pipe takes at once."""
    reading, writing = os.pipe()
    try:
        monkeypatch.setenv("JOURNAL_STREAM", "8:1")
        monkeypatch.setattr(log, "_STDERR", writing)
        written = log.Log()
        written.event({"type": "page", "service": "web", "seq": 3, "incident": "web-1", "data": {"reason": "ladder_exhausted"}})
        assert b"<3>web page reason=ladder_exhausted incident=web-1 seq=3\n" == os.read(reading, 4096)
        written.event({"type": "recover", "host": "h1"})
        assert b"<5>h1 recover\n" == os.read(reading, 4096)
        written.say("y" * 10000)
        line = os.read(reading, 10000)
        assert 4096 == len(line) and line.endswith(b"y\n")
    finally:
        os.close(reading)
        os.close(writing)


def test_one_watchdog_a_run_dir(tmp_path: pathlib.Path) -> None:
    """The second is told the pid of the first; when the first lets go the next may; looking needs no lock."""
    first = lock.InstanceLock(str(tmp_path))
    assert str(os.getpid()) == lock.holder(str(tmp_path))
    with pytest.raises(lock.AlreadyRunning, match="pid %d" % os.getpid()):
        lock.InstanceLock(str(tmp_path))
    first.release()
    assert "" == lock.holder(str(tmp_path))
    lock.InstanceLock(str(tmp_path)).release()


def test_an_action_is_counted_once_with_its_outcome() -> None:
    """An attempt counts when its outcome is saved, a first start when it begins; saving again changes nothing."""

    class Kept:
        def record(self, *_words: Any) -> None:
            return

        def save(self, *_words: Any) -> None:
            return

        def unwritable(self) -> Optional[str]:
            return None

    told = []
    ledger = Ledger(Kept(), lambda type, service, data: told.append(type))  # type: ignore[arg-type]
    ledger.record("start", "web", None, "watchdog", {"reason": "first_start", "rung": "restart", "attempt": 0})
    ledger.record("failure", "web", "web-1")
    ledger.record("restart", "web", "web-1", "watchdog", {"reason": "liveness_failed", "rung": "restart", "attempt": 1})
    running = {"memory": {"incident": {"attempt": {"outcome": None}}}}
    ended = {"memory": {"incident": {"attempt": {"outcome": "failed"}}}}
    for state in (running, ended, ended, {"memory": {"incident": None}}):
        ledger.save("web", state)
    ledger.record("blocked", "web", "web-1", "watchdog", {"reason": "hold"})
    assert {("web", "restart", "first_start", "begun"): 1, ("web", "restart", "liveness_failed", "failed"): 1} == ledger.actions
    assert {("web", "hold"): 1} == ledger.blocked and {"web": 1} == ledger.incidents and 4 == len(told) == ledger.events

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine and time: a process that was stopped, a machine that was suspended, an answer after a gap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from machines import quiet

from selfheal._core.reasons import Reason
from selfheal._probes import engine
from selfheal._probes.engine import READ


class Clock:
    """Stands in for the time module; jumps when told, as a stopped process sees it."""

    CLOCK_BOOTTIME = 7

    def __init__(self):
        self.jump = 0.0
        self.asleep = 0.0

    def monotonic(self):
        return time.monotonic() + self.jump

    def clock_gettime(self, _clock):
        return time.monotonic() + self.jump + self.asleep

    def time(self):
        return time.time()


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(engine, "time", made)
    return made


def test_deadline_missed_by_a_stopped_process_is_unknown(host, clock):
    """C26: a deadline that passed while this process stood still proves nothing about the target."""
    handle = host.start(quiet(), host.monotonic() + 1)
    clock.jump = 3.5
    assert host.poll(host.monotonic() + 1) == [handle]
    assert (handle.outcome.status, handle.outcome.reason) == ("unknown", Reason.CLOCK_GAP)


def test_small_lateness_is_a_timeout(host, clock):
    """Being late by less than the gap is the ordinary lateness of a busy machine."""
    handle = host.start(quiet(), host.monotonic() + 1)
    clock.jump = 2.5
    assert host.poll(host.monotonic() + 1) == [handle]
    assert handle.outcome.reason is Reason.TIMEOUT


def test_suspended_machine(host, clock):
    """C26: the monotonic clock does not count a suspend, the boot clock does; what was under way then is excused, what began later not."""
    read, write = os.pipe()
    host.register(read, READ, lambda _ready: os.read(read, 1))
    before = host.start(quiet(), host.monotonic() + 0.08)
    os.write(write, b"x")
    host_epoll = host._epoll

    class Epoll:
        """Lets the suspend happen while the loop waits."""

        def poll(self, timeout):
            events = host_epoll.poll(timeout)
            clock.asleep += 3600 * len(events)
            return events

        def __getattr__(self, name):
            return getattr(host_epoll, name)

    host._epoll = Epoll()
    assert host.poll(host.monotonic() + 0.01) == []
    after = host.start(quiet(), host.monotonic() + 0.1)
    ended = host.poll(host.monotonic() + 2) + host.poll(host.monotonic() + 2)
    assert ended == [before, after]
    assert before.outcome.reason is Reason.CLOCK_GAP
    assert after.outcome.reason is Reason.TIMEOUT
    host.unregister(read)
    os.close(read)
    os.close(write)


def test_answer_after_a_gap_counts(host, clock):
    """What answered is an answer, however long this process stood still."""
    read, write = os.pipe()
    handle = host.start(quiet(fd=read), host.monotonic() + 1)
    os.write(write, b"x")
    clock.jump = 60
    assert host.poll(host.monotonic() + 1) == [handle]
    assert handle.outcome.status == "ok"
    os.close(read)
    os.close(write)


def test_really_stopped_process(serve, tmp_path):
    """C26: SIGSTOP for longer than the deadline and the gap, then SIGCONT: the hanging probe is unknown, not failed."""
    server = serve(lambda peer: peer.silence())
    program = (
        "import sys; sys.path.insert(0, %r); import conftest, os\n"
        "from selfheal._core.model import HttpTarget\n"
        "from selfheal._probes.engine import LocalHost\n"
        "from selfheal._probes.http import HttpProbe\n"
        "host = LocalHost(); host.start(HttpProbe(HttpTarget(url=%r)), host.monotonic() + 0.5)\n"
        "print('begun', flush=True); print(host.poll(host.monotonic() + 60)[0].outcome.reason, flush=True)\n"
    ) % (os.path.dirname(os.path.dirname(os.path.abspath(__file__))), server.url())
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "begun\n"
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        threading.Event().wait(2.8)
        child.send_signal(signal.SIGCONT)
        assert child.stdout.readline() == "clock_gap\n"

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives an actuator's work over the real host, and finds and ends the processes a test has started."""

from __future__ import annotations

import os
import signal

from selfheal import _proc
from selfheal._records.files import boot_id


def drive(host, work):
    """The result of a work, its steps run one after the other."""
    outcome = None
    try:
        while True:
            timed = work.send(outcome)
            handle = host.start(timed.step, host.monotonic() + timed.within)
            ended = []
            while handle not in ended:
                ended = host.poll(host.monotonic() + 30)
            outcome = handle.outcome
    except StopIteration as stop:
        return stop.value


def marked(mark):
    """Living processes whose command line or environment holds `mark`."""
    found = []
    for process in filter(None, (_proc.stat(int(name)) for name in os.listdir("/proc") if name.isdigit())):
        if process.dead or process.pid == os.getpid():
            continue
        try:
            with open("/proc/%d/cmdline" % process.pid, "rb") as file:
                text = file.read()
        except OSError:
            continue  # it has ended meanwhile
        if mark.encode() in text:
            found.append(process.pid)
    return sorted(found)


def end_all(mark):
    """Kill what a test has left, and what that was about to start."""
    left = marked(mark)
    while left:
        for pid in left:
            _end(pid)
        left = marked(mark)


def _end(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return  # somebody else's child, or gone


__all__ = ["boot_id", "drive", "end_all", "marked"]


def wait_for(host, predicate, within=5.0):
    until = host.monotonic() + within
    while not predicate():
        assert host.monotonic() < until, "did not come true in time"
        host.poll(host.monotonic() + 0.01)

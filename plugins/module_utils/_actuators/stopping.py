# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping a process for certain: told, given its time, killed, and proven gone, with what it leaves in its session."""

from __future__ import annotations

import os
import signal
import time
from typing import List, Optional, Sequence, Union

from .. import _proc
from .._core.reasons import Reason
from .._host import Outcome
from .._proc import Gone, Pause, Stat
from .base import Timed, Work
from .identity import Record

# A killed process that is still there after this waits for a disk or a network that does not answer.
_UNKILLABLE_AFTER = 5.0
_POLL = 0.05


def stop_process(main: Stat, stop_signal: str, until: float, told: bool) -> Work[Optional[Outcome]]:
    """None once `main` is gone, else the outcome that says why it is not.

    `until` (monotonic seconds): it is not killed before. `told`: it has its signal already (somebody died while waiting for it).
    """
    number = signal.Signals["SIG" + stop_signal]
    try:
        if not told and not _proc.send(main.pid, main.start_time, number):
            return None
        # A process that is stopped gets no other signal before this one.
        _proc.send(main.pid, main.start_time, signal.SIGCONT)
        if (yield from _gone(main, until - time.monotonic())):
            return None
        for process in [main] + leftovers(main):
            _proc.send(process.pid, process.start_time, signal.SIGKILL)
    except PermissionError:
        return Outcome("unknown", Reason.NO_PERMISSION, "may not send a signal to pid %d; it runs on" % main.pid)
    if (yield from _gone(main, _UNKILLABLE_AFTER)):
        return None
    return _unkillable(main)


def leftovers(leader: Union[Stat, Record]) -> List[Stat]:
    """Processes of the session or group that `leader` leads or led, itself left out.

    The kernel gives no number out again while a session or group bears it. So if another process has the leader's pid, nothing is left.
    """
    holder = _proc.stat(leader.pid)
    if holder is not None and holder.start_time != leader.start_time:
        return []
    return [process for process in _proc.led_by(leader.pid) if not process.dead and process.pid not in (leader.pid, os.getpid())]


def stop_leftovers(found: Sequence[Stat], patience: float) -> Work[Optional[Outcome]]:
    """End what a dead main process left behind, as it may hold its port: TERM, `patience` seconds, KILL. None once all are gone."""
    left = list(found)
    until = time.monotonic() + patience
    try:
        for number, end in ((signal.SIGTERM, until), (signal.SIGKILL, until + _UNKILLABLE_AFTER)):
            if number == signal.SIGTERM and patience <= 0:
                continue
            for process in left:
                _proc.send(process.pid, process.start_time, number)
                _proc.send(process.pid, process.start_time, signal.SIGCONT)
            still = []
            for process in left:
                if not (yield from _gone(process, end - time.monotonic())):
                    still.append(process)
            left = still
    except PermissionError:
        return Outcome("unknown", Reason.NO_PERMISSION, "may not send a signal to all it left behind (%s)" % _pids(found))
    return _unkillable(left[0]) if left else None


def _gone(process: Stat, within: float) -> Work[bool]:
    """Wait for its end; without pidfd by looking every 50 ms."""
    until = time.monotonic() + within
    while True:
        outcome = yield Timed(Gone(process.pid, process.start_time), max(0.0, until - time.monotonic()))
        if outcome.status != "unknown":
            return outcome.status == "ok"
        if not _proc.alive(process.pid, process.start_time):
            return True
        if time.monotonic() >= until:
            return False
        yield Timed(Pause(), min(_POLL, max(0.0, until - time.monotonic())))


def _unkillable(process: Stat) -> Outcome:
    found = _proc.stat(process.pid)
    state = found.state if found is not None else "unknown"
    return Outcome(
        "bad",
        Reason.ACTION_FAILED,
        "pid %d does not die of SIGKILL (state %s: it waits for a disk or network, or is "
        "traced); no second one is started beside it" % (process.pid, state),
    )


def _pids(found: Sequence[Stat]) -> str:
    return ", ".join("pid %d" % process.pid for process in found[:10])


__all__ = ["leftovers", "stop_leftovers", "stop_process"]

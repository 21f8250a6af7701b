# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``systemctl show`` tells about a unit, and what that means to a healer. Pure; the tables of its tests are recorded from systemd.

How an admin's stop is told from a crash. A unit that ends well is forgotten by systemd at once: inactive says nothing more, so it counts as
stopped on purpose. One that ends badly keeps its times: a main process that died while the unit was active crashed; when the unit had left
active before, somebody or something was stopping it, and only the journal knows whether that was a stop job.
"""

from __future__ import annotations

import math
import re
from typing import Callable, Dict, Mapping, NamedTuple, Optional, Tuple

from .. import _proc
from .base import Instance, Presence, State

PROPERTIES = (
    "Id",
    "LoadState",
    "LoadError",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "Type",
    "MainPID",
    "InvocationID",
    "Job",
    "NRestarts",
    "Restart",
    "Result",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
    "ActiveExitTimestampMonotonic",
    "StateChangeTimestampMonotonic",
    "TimeoutStartUSec",
    "TimeoutStopUSec",
    "RestartUSec",
    "RestartUSecNext",
    "TriggeredBy",
)
FOREVER = 900.0
"""What an infinite TimeoutStartSec= or TimeoutStopSec= counts as: so long a job is waited for, and then still not cut off."""

RELOOK_PENDING = (0.05, 1.0)
RELOOK_NO_PROCESS = 5.0
RELOOK_BROKEN = 30.0

_SECONDS = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
    "month": 2629800.0,
    "y": 31557600.0,
}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|min|h|d|w|month|y)\Z")
_RESULTS = {
    "exit-code": "it failed",
    "signal": "it was killed",
    "core-dump": "it crashed",
    "watchdog": "it missed its own watchdog",
    "timeout": "it ran into a time limit of its unit",
    "oom-kill": "the kernel killed it for want of memory",
    "start-limit-hit": "it was started too often",
    "protocol": "it broke its notification protocol",
    "resources": "systemd lacked resources",
    "exec-condition": "its condition command failed",
}
_UNUSABLE = ("bad-setting", "error")
# What a stop job can leave behind besides success.
_STOPPED_BADLY = ("exit-code", "signal", "core-dump", "timeout")


class Unusable(NamedTuple):
    """Why a unit cannot be acted on at all."""

    masked: bool
    text: str


def parse_show(text: str) -> Dict[str, str]:
    """The properties that were printed. Raises ValueError when it is no answer about a unit."""
    told = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if not told.get("ActiveState") or not told.get("LoadState"):
        raise ValueError("expected systemctl show to tell LoadState and ActiveState: %r" % text[:100])
    return told


def span(text: str) -> float:
    """Seconds in what systemd prints for a time span: ``1min 30s``; ``infinity`` is math.inf. Raises ValueError."""
    if text == "infinity":
        return math.inf
    if text == "0":
        return 0.0
    total = 0.0
    for word in text.split():
        found = _SPAN.match(word)
        if found is None:
            raise ValueError("expected a time span as systemd prints it, found %r" % text)
        total += float(found.group(1)) * _SECONDS[found.group(2)]
    return total


def bounded(told: Mapping[str, str], *names: str) -> float:
    """The sum of those time spans, each at most `FOREVER`."""
    return sum(min(FOREVER, span(told.get(name) or "infinity")) for name in names)


def moment(told: Mapping[str, str], name: str) -> float:
    """A ``...TimestampMonotonic`` in monotonic seconds; 0 where it never was."""
    return int(told.get(name) or 0) / 1e6


def pending(told: Mapping[str, str]) -> bool:
    """Does a job of systemd's wait or run for it?"""
    return told.get("Job", "") not in ("", "0")


def unusable(told: Mapping[str, str]) -> Optional[Unusable]:
    """Why nothing can be started, or None."""
    load, name = told["LoadState"], told.get("Id", "the unit")
    if load == "masked":
        return Unusable(True, "%s is masked: somebody forbade its start; systemctl unmask %s allows it" % (name, name))
    if load == "not-found":
        return Unusable(False, "there is no unit %s on this host; install it or correct the contract" % name)
    if load in _UNUSABLE:
        return Unusable(
            False,
            "the definition of %s cannot be used (%s): %s; see systemd-analyze verify %s"
            % (name, load, told.get("LoadError", "").strip() or "no further word", name),
        )
    return None


def stop_asked_of_journal(told: Mapping[str, str]) -> bool:
    """Can only the journal tell whether a stop job ended it? See the theory above."""
    left, died = moment(told, "ActiveExitTimestampMonotonic"), moment(told, "ExecMainExitTimestampMonotonic")
    return told["ActiveState"] == "failed" and told.get("Result") in _STOPPED_BADLY and 0 < left < died


def presence(
    told: Mapping[str, str],
    boot_id: str,
    now: float,
    stopped_by_job: bool = False,
    stat: Callable[[int], Optional[_proc.Stat]] = _proc.stat,
) -> Presence:
    """What stands there. `stopped_by_job`: the journal shows a stop job for this invocation."""
    active, detail = told["ActiveState"], describe(told)
    process = _main(told, stat)
    if active in ("active", "reloading", "refreshing"):
        return _running(told, boot_id, process, detail)
    if active == "deactivating":
        found = _instance(told, boot_id, process) if process is not None else None
        return Presence(State.STOPPING, found, detail, _soon(told, now))
    if active == "activating" and told["SubState"].startswith("auto-restart"):
        return Presence(State.STARTING, None, detail, _restart_due(told, now), revived=told.get("Result", "success") != "success")
    if active == "activating" or pending(told):
        return Presence(State.STARTING, None, detail, _soon(told, now))
    broken = unusable(told)
    if broken is not None:
        state = State.STOPPED if broken.masked else State.UNKNOWN
        return Presence(state, None, broken.text, None if broken.masked else RELOOK_BROKEN)
    if active == "inactive" or (active == "failed" and stopped_by_job):
        return Presence(State.STOPPED, None, detail)
    if active == "failed":
        return Presence(State.GONE, None, detail)
    return Presence(State.UNKNOWN, None, detail)


def _running(told: Mapping[str, str], boot_id: str, process: Optional[_proc.Stat], detail: str) -> Presence:
    if process is None and int(told.get("MainPID") or 0) > 0:
        # Its end is seen by us and not yet by systemd.
        return Presence(State.STARTING, None, "%s; its main process is gone, systemd has not said so yet" % detail, RELOOK_PENDING[0])
    again = None if process is not None and _proc.can_wait() else RELOOK_NO_PROCESS
    return Presence(State.RUNNING, _instance(told, boot_id, process), detail, again)


def _main(told: Mapping[str, str], stat: Callable[[int], Optional[_proc.Stat]]) -> Optional[_proc.Stat]:
    pid = int(told.get("MainPID") or 0)
    found = stat(pid) if pid else None
    return None if found is None or found.dead else found


def _instance(told: Mapping[str, str], boot_id: str, process: Optional[_proc.Stat]) -> Instance:
    """Boot, invocation, pid and start time. Without a main process: the invocation, with pid 0."""
    life = "%s:%s" % (boot_id, told.get("InvocationID", ""))
    if process is None:
        since = moment(told, "ActiveEnterTimestampMonotonic")
        return Instance(_proc.instance_id(life, 0, int(since * 1e6)), 0, since)
    return Instance(_proc.instance_id(life, process.pid, process.start_time), process.pid, _proc.since(process.start_time))


def _soon(told: Mapping[str, str], now: float) -> float:
    """A job is looked after often at first and then less: every fifth of its age."""
    age = now - (moment(told, "StateChangeTimestampMonotonic") or now)
    return min(max(RELOOK_PENDING[0], age / 5.0), RELOOK_PENDING[1])


def _restart_due(told: Mapping[str, str], now: float) -> float:
    """Just after systemd restarts it itself; at least every five seconds, as somebody may start it meanwhile."""
    pause = span(told.get("RestartUSecNext") or told.get("RestartUSec") or "0")
    left = moment(told, "StateChangeTimestampMonotonic") + pause - now
    return min(max(RELOOK_PENDING[0], left + RELOOK_PENDING[0]), RELOOK_NO_PROCESS)


def describe(told: Mapping[str, str]) -> str:
    """One line for people: ``web.service is failed (failed): it was killed, signal 9; restarted 4 times by systemd``."""
    text = "%s is %s (%s)" % (told.get("Id", "the unit"), told["ActiveState"], told.get("SubState", ""))
    result = told.get("Result", "success")
    if result != "success":
        text += ": %s" % _RESULTS.get(result, result)
        code, status = told.get("ExecMainCode"), told.get("ExecMainStatus")
        if code in ("1", "2", "3"):
            text += ", %s %s" % ("exit status" if code == "1" else "signal", status)
    restarts = told.get("NRestarts", "0")
    if restarts not in ("", "0"):
        text += "; restarted %s time%s by systemd" % (restarts, "" if restarts == "1" else "s")
    if told["ActiveState"] == "inactive" and told.get("TriggeredBy"):
        text += "; systemd starts it when %s asks for it" % told["TriggeredBy"]
    return text[:500]


def restarted(before: Mapping[str, str], told: Mapping[str, str]) -> bool:
    """Has systemd started it again by itself (Restart=) since it was last seen active? A start by a job sets the count back."""
    was_up = before.get("ActiveState") in ("active", "reloading", "refreshing", "deactivating")
    return was_up and int(told.get("NRestarts") or 0) > int(before.get("NRestarts") or 0)


def restarts_only_failures(told: Mapping[str, str]) -> bool:
    """By its Restart= systemd starts it again only if it ended badly."""
    return told.get("Restart") in ("on-failure", "on-abnormal", "on-abort", "on-watchdog")


def triggers(told: Mapping[str, str]) -> Tuple[str, ...]:
    """The sockets, timers and paths that start it on demand."""
    return tuple(told.get("TriggeredBy", "").split())


__all__ = [
    "FOREVER",
    "PROPERTIES",
    "Unusable",
    "bounded",
    "describe",
    "moment",
    "parse_show",
    "pending",
    "presence",
    "restarted",
    "restarts_only_failures",
    "span",
    "stop_asked_of_journal",
    "triggers",
    "unusable",
]

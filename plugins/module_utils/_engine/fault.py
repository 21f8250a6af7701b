# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults put into processes on purpose, and taken out again: on record before they act, and on that very process only."""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from .. import _proc
from .._core.errors import RecordError, SelfhealError
from .._core.times import compact, format_time
from .._records.faults import Faults
from .._records.timeline import Timeline
from .._spawn import detach

SIGNALS = {"kill": signal.SIGKILL, "hang": signal.SIGSTOP}
"""The faults there are: each is one signal."""
REVERTS = {"hang": signal.SIGCONT}
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD, see proc(5) on the flags of /proc/pid/stat
_KEEPER_WITHIN = 10.0


class Refused(SelfhealError):
    """A fault must not be injected there; says what was found and what to do."""


@dataclass(frozen=True)
class Victim:
    """One process. `service` None: it was named by its pid."""

    pid: int
    start_time: int
    service: Optional[str] = None

    @property
    def words(self) -> str:
        return "pid %d" % self.pid + (" of %s" % self.service if self.service is not None else "")


def _field(pid: int, index: int) -> Optional[int]:
    """Field `index` of /proc/<pid>/stat, counted from 1 as in proc(5); None when the process is gone."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[index - 3])
    except (FileNotFoundError, ProcessLookupError):
        return None


def ancestors(pid: int) -> List[int]:
    """The process, its parent, and so on up to pid 1."""
    found: List[int] = []
    parent: Optional[int] = pid
    while parent and parent not in found:
        found.append(parent)
        parent = _field(parent, 4)
    return found


def check(victim: Victim) -> None:
    """Raises Refused unless that very process runs and may be hit."""
    if victim.pid < 2:
        raise Refused("pid %d is the system's first process or none; a fault there would hit the whole host. Name a service." % victim.pid)
    found = _proc.stat(victim.pid)
    if found is None or found.dead:
        raise Refused("%s does not run, so there is nothing to put a fault into. See selfheal status." % victim.words.capitalize())
    if found.start_time != victim.start_time:
        raise Refused(
            "pid %d belongs to another process now: it started at tick %d, expected %d. Read pid and start time again."
            % (victim.pid, found.start_time, victim.start_time)
        )
    if (_field(victim.pid, 9) or 0) & _KERNEL_THREAD:
        raise Refused("pid %d is a thread of the kernel. Name a process of a service." % victim.pid)
    if victim.pid in ancestors(os.getpid()) or os.getpid() in ancestors(victim.pid):
        raise Refused(
            "pid %d belongs to this very run (this module, what started it, or what it started); the fault would end the drill, "
            "not the service. Name another process." % victim.pid
        )


class Injector:
    """Injects and reverts on this host. `run_dir` keeps the faults, `timeline` gets the events."""

    def __init__(self, timeline: Timeline, run_dir: str) -> None:
        self.timeline = timeline
        self.faults = Faults(run_dir)

    def active(self, service: Optional[str] = None, fault_id: Optional[str] = None) -> List[Dict[str, Any]]:
        """Faults that are in force and can be reverted, of one service or of one id. Raises RecordError."""
        if fault_id is not None:
            found = self.faults.load(fault_id)
            if found is None:
                raise RecordError("There is no fault %s in %s. A reboot ends every fault." % (fault_id, self.faults.directory))
            faults = [found]
        else:
            faults = [each for each in self.faults.all() if service is None or each["service"] == service]
        return [each for each in faults if self._in_force(each)]

    @staticmethod
    def _in_force(fault: Mapping[str, Any]) -> bool:
        return fault["ended"] is None and fault["fault"] in REVERTS and _proc.alive(fault["pid"], fault["start_time"])

    def draft(self, fault: str, victim: Victim, duration: float, contract: Mapping[str, Any]) -> Dict[str, Any]:
        """What the record of such a fault will say."""
        now = time.time()
        return {
            "fault_id": "%s-%s-%s" % (victim.service or "pid%d" % victim.pid, fault, compact(now)),
            "fault": fault,
            "service": victim.service,
            "pid": victim.pid,
            "start_time": victim.start_time,
            "failure_time": format_time(now),
            "duration": duration,
            "reverted": None,
            "ended": None,
            "contract": dict(contract),
            "measured": None,
            "keeper": None,
        }

    def inject(self, fault: Dict[str, Any], keeper: Optional[Callable[[Dict[str, Any], int, int], None]]) -> Dict[str, Any]:
        """Put a drafted fault in force; the fault with its exact failure_time. Raises Refused, RecordError.

        `keeper(fault, orders, answers)` runs in a process of its own (`detach`): it answers when it is ready, reads "monotonic wall seq"
        of the injection, and then measures and reverts, whoever of us is still there. It reads nothing if nothing was injected, or we died.
        """
        victim = Victim(fault["pid"], fault["start_time"], fault["service"])
        check(victim)
        answers, orders = self._keep(fault, keeper)
        try:
            event = self.timeline.append(
                "fault_inject",
                fault["service"],
                source="drill",
                data={"fault_id": fault["fault_id"], "fault": fault["fault"], "pid": fault["pid"], "duration": fault["duration"]},
            )
            fault["seq"] = event["seq"]
            self.faults.save(fault)
            wall, monotonic = time.time(), time.monotonic()
            if not self._send(victim, SIGNALS[fault["fault"]]):
                self.faults.change(fault["fault_id"], ended="gone")
                raise Refused("%s ended by itself before the fault could be injected. Try again once it runs." % victim.words.capitalize())
            if orders >= 0:
                os.write(orders, ("%r %r %d" % (monotonic, wall, fault["seq"])).encode("ascii"))
            return self.faults.change(fault["fault_id"], failure_time=format_time(wall))
        finally:
            for descriptor in (answers, orders):
                if descriptor >= 0:
                    os.close(descriptor)

    @staticmethod
    def _keep(fault: Dict[str, Any], keeper: Optional[Callable[[Dict[str, Any], int, int], None]]) -> Tuple[int, int]:
        if keeper is None:
            return -1, -1
        run = keeper
        answers, orders = detach(lambda its_orders, its_answers: run(fault, its_orders, its_answers))
        ready, _none, _nothing = select.select([answers], [], [], _KEEPER_WITHIN)
        word = os.read(answers, 500).decode("utf-8", "replace") if ready else "no answer within %g s" % _KEEPER_WITHIN
        if not word.startswith("ready "):
            os.close(answers)
            os.close(orders)
            raise Refused("The process beside the fault did not come up (%s); nothing was injected." % (word or "it died"))
        fault["keeper"] = dict(zip(("pid", "start_time"), map(int, word.split()[1:])))
        return answers, orders

    def revert(self, fault: Mapping[str, Any], by: str) -> bool:
        """Take a fault out again; was it in force? `by`: reverted (somebody asked) or timer. Raises Refused, RecordError."""
        current = self.faults.load(fault["fault_id"]) or fault
        if not self._in_force(current):
            return False
        self.timeline.append(
            "fault_revert",
            current["service"],
            source="drill",
            data={"fault_id": current["fault_id"], "fault": current["fault"], "pid": current["pid"], "by": by},
        )
        victim = Victim(current["pid"], current["start_time"], current["service"])
        done = self._send(victim, REVERTS[current["fault"]])
        self.faults.change(current["fault_id"], ended=by if done else "gone", reverted=format_time(time.time()) if done else None)
        return done

    @staticmethod
    def _send(victim: Victim, number: int) -> bool:
        try:
            return _proc.send(victim.pid, victim.start_time, number)
        except PermissionError as error:
            raise Refused(
                "This user may not send signals to %s, which belongs to uid %s. Use become with that user or root."
                % (victim.words, _proc.owner_of(victim.pid))
            ) from error


__all__ = ["Injector", "REVERTS", "Refused", "SIGNALS", "Victim", "ancestors", "check"]

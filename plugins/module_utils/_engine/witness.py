# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands beside an injected fault: takes it out in time, and measures when it was noticed and when the service answered again.

It asks the service itself and believes no watchdog: good are answers to probes that were begun after the old process was gone (or went on).
It runs in a process of its own, begun before the fault, so that it goes on when the controller or its connection dies.
"""

from __future__ import annotations

import math
import os
import signal
from typing import Any, Dict, Generator, List, Optional, Tuple

from .. import _proc
from .._actuators.base import Actuator, Presence, State, Timed
from .._core.model import Probe, Service
from .._core.times import parse_time
from .._host import Handle, Host, Outcome, Step
from .._probes.engine import LocalHost
from .._probes.kinds import step_for
from .._records.read import Cursor
from .fault import REVERTS, Injector

EAGER, EAGER_FOR = 0.004, 5.0
"""Seconds between questions while a quick service may come back any moment, and for how long; then the calmer ones."""
CALM, CALM_CHILD = 0.05, 1.0
LINGER = 1.0
"""A service that answers again is noticed by its watchdog at the latest so many seconds later, or was not noticed at all."""
CLOCK_SLACK = 0.005


def look(host: Host, actuator: Actuator) -> Presence:
    """What stands there, found out to the end."""
    work: Generator[Timed, Outcome, Presence] = actuator.look()
    try:
        timed = next(work)
        while True:
            handle = host.start(timed.step, host.monotonic() + timed.within)
            while handle.outcome is None:
                host.poll(math.inf)
            timed = work.send(handle.outcome)
    except StopIteration as ended:
        presence: Presence = ended.value
        return presence


def questions(service: Service) -> List[Probe]:
    """The probes that tell whether the service serves: those of readiness, or else of liveness, as far as they ask it from outside."""
    asking = [probe for probe in service.probes if probe.kind in ("http", "tcp", "exec")]
    return [probe for probe in asking if probe.role == "readiness"] or [probe for probe in asking if probe.role == "liveness"]


def ask_once(host: Host, probes: List[Probe]) -> List[Tuple[Probe, Outcome]]:
    """One round of questions, all at the same time."""
    handles = [(probe, host.start(step_for(probe.target), host.monotonic() + probe.timeout)) for probe in probes]
    while any(handle.outcome is None for _probe, handle in handles):
        host.poll(math.inf)
    return [(probe, handle.outcome) for probe, handle in handles if handle.outcome is not None]


class Witness:
    """Measures one fault. `actuator` and `service` None: the process was named by its pid, and nothing is asked."""

    def __init__(
        self,
        host: Host,
        injector: Injector,
        fault: Dict[str, Any],
        service: Optional[Service],
        actuator: Optional[Actuator],
        measure: float,
    ) -> None:
        self._host = host
        self._injector = injector
        self._fault = fault
        self._service = service
        self._actuator = actuator
        self._measure = measure if service is not None else 0.0
        self._steps: List[Tuple[Step, float]] = []
        if service is not None and measure > 0:
            self._steps = [(step_for(probe.target), probe.timeout) for probe in questions(service)]
        self._pause = CALM_CHILD if service is not None and any(probe.kind == "exec" for probe in questions(service)) else EAGER
        self._round: List[Handle] = []
        self._answered: List[Handle] = []
        self._next_round = -math.inf
        self._gone_at: Optional[float] = None
        self._went_on = False
        self._told = False
        self._served_at = math.inf
        self._found: Dict[str, Any] = {}
        self._cursor: Optional[Cursor] = None

    def run(self, injected: float, wall: float) -> None:
        """Until the service serves and that was noticed, or time is up; and not before the fault has been reverted if it has a duration."""
        host, fault = self._host, self._fault
        self._injected, self._offset = injected, wall - injected
        give_up = injected + self._measure
        revert_at = injected + fault["duration"] if fault["duration"] > 0 and fault["fault"] in REVERTS else math.inf
        self._cursor = Cursor(self._injector.timeline.directory, fault["seq"]) if self._measure > 0 else None
        gone = host.start(_proc.Gone(fault["pid"], fault["start_time"]), math.inf)
        while True:
            now = host.monotonic()
            if self._gone_at is None and not _proc.alive(fault["pid"], fault["start_time"]):
                self._gone_at = gone.ended if gone.ended is not None else now
                if revert_at != math.inf:
                    revert_at = math.inf
                    self._injector.faults.change(fault["fault_id"], ended="gone")
            if revert_at <= now or self._told:
                self._injector.revert(fault, "timer" if not self._told else "reverted")
                revert_at = math.inf
            if self._over(now, give_up, revert_at):
                break
            self._notice(now)
            self._ask(now)
            for handle in host.poll(self._wake(now, give_up, revert_at)):
                self._hear(handle)
        self._close(now)

    def tell_to_stop(self) -> None:
        """Somebody ends this process: the fault goes first."""
        self._told = True

    def _over(self, now: float, give_up: float, revert_at: float) -> bool:
        if revert_at != math.inf:
            return False
        measured = self._served_at != math.inf and ("detected_after_ms" in self._found or now >= self._served_at + LINGER)
        return self._told or measured or now >= give_up

    def _wake(self, now: float, give_up: float, revert_at: float) -> float:
        looking = self._measure > 0 and now < give_up
        soon = now + (EAGER if now < self._injected + EAGER_FOR else CALM) if looking else math.inf
        # Without pidfd the end of the process is found by looking; a signal is seen at the next round too.
        return min(soon, revert_at, now + 0.25)

    def _notice(self, now: float) -> None:
        """When the timeline says that the failure was detected: as it was stamped, unless the clock was set meanwhile."""
        if self._cursor is None or "detected_after_ms" in self._found:
            return
        for event in self._cursor.new():
            if event["type"] == "failure" and event.get("service") == self._fault["service"]:
                drift = abs(self._host.wall() - now - self._offset)
                seen = now - self._injected
                stamped = parse_time(event["timestamp"]) - self._offset - self._injected
                self._found["detected_after_ms"] = max(0, round((stamped if drift < CLOCK_SLACK and stamped <= seen else seen) * 1000))
                self._found["incident"] = event.get("incident")

    def _ask(self, now: float) -> None:
        if not self._steps or self._round or self._served_at != math.inf or now < self._next_round:
            return
        if self._gone_at is None:
            found = _proc.stat(self._fault["pid"])
            self._went_on = found is not None and found.state not in "Tt"
        self._answered = []
        self._round = [self._host.start(step, now + timeout) for step, timeout in self._steps]

    def _hear(self, handle: Handle) -> None:
        if handle not in self._round:
            return
        self._answered.append(handle)
        if len(self._answered) < len(self._round):
            return
        began, ended = min(each.started for each in self._round), max(each.ended or 0.0 for each in self._round)
        good = all(each.outcome is not None and each.outcome.status == "ok" for each in self._round)
        self._round = []
        self._next_round = ended + (self._pause if ended < self._injected + EAGER_FOR else max(self._pause, CALM))
        if good and began >= self._injected:
            self._serving(began, ended)

    def _serving(self, began: float, ended: float) -> None:
        if self._gone_at is None:
            if self._went_on:
                self._served(ended, self._fault["pid"], "same", None)
            return
        if began < self._gone_at or self._actuator is None:
            return
        presence = look(self._host, self._actuator)
        instance = presence.instance
        if presence.state is State.RUNNING and instance is not None and _proc.parse_instance(instance.id)[1] != self._fault["start_time"]:
            # The kernel counts a start in hundredths of a second.
            self._served(ended, instance.pid, "new", max(0.0, ended - max(instance.since, self._gone_at)))

    def _served(self, ended: float, pid: int, instance: str, startup: Optional[float]) -> None:
        self._served_at = ended
        self._found.update(recovered_after_ms=max(0, round((ended - self._injected) * 1000)), pid=pid, instance=instance)
        if startup is not None:
            self._found["startup_ms"] = round(startup * 1000)
        data = {"fault_id": self._fault["fault_id"], "text": "serving again", **self._found}
        self._injector.timeline.append("note", self._fault["service"], source="drill", data=data)

    def _close(self, now: float) -> None:
        for handle in self._round:
            self._host.cancel(handle)
        if self._measure > 0:
            state = "served" if self._served_at != math.inf else "stopped" if self._told else "gave_up"
            self._injector.faults.change(self._fault["fault_id"], measured={"state": state, **self._found})


def keep(
    injector: Injector,
    fault: Dict[str, Any],
    service: Optional[Service],
    actuator: Optional[Actuator],
    measure: float,
    orders: int,
    answers: int,
) -> None:
    """The life of the process beside a fault; see `Injector.inject`. A fault that nobody can watch is reverted."""
    with LocalHost() as host:
        witness = Witness(host, injector, fault, service, actuator, measure)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda _number, _frame: witness.tell_to_stop())
        own = _proc.stat(os.getpid())
        os.write(answers, b"ready %d %d" % (os.getpid(), own.start_time if own is not None else 0))
        os.close(answers)
        word = os.read(orders, 100).decode("ascii")
        if not word:
            # Whoever wanted the fault died before or in the middle of it.
            if injector.faults.load(fault["fault_id"]) is not None:
                injector.revert(fault, "timer")
            return
        injected, wall, seq = word.split()
        fault["seq"] = int(seq)
        try:
            witness.run(float(injected), float(wall))
        except Exception as error:  # nobody else would ever hear of it; the fault must not outlive its keeper either
            if fault["fault"] in REVERTS and fault["duration"] > 0:
                _proc.send(fault["pid"], fault["start_time"], REVERTS[fault["fault"]])
            detail = "%s: %s" % (type(error).__name__, error)
            injector.faults.change(fault["fault_id"], measured={"state": "broken", "detail": detail[:500]})


__all__ = ["Witness", "ask_once", "keep", "look", "questions"]

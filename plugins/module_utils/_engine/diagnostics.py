# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a bundle of diagnostics of every incident before the first thing is done about it, without delaying what is urgent.

What is dead is started at once, and looked into beside; only what its end left behind is taken first. What lives is looked into while its
failure has yet to prove itself, and an action waits for the rest at most `LIVE` seconds. Nothing that goes wrong here keeps anything from
being healed: it is said in the event, and the healing goes on.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Deque, Dict, Mapping, Optional

from .._actuators.base import Evidence, Timed, Work
from .._core.errors import RecordError
from .._core.incident import Incident
from .._host import Host
from .._proc import Pause
from .._records.diagnostics import Bundles
from .job import Job
from .ports import Records
from .subject import Subject

if TYPE_CHECKING:
    from .gathering import Report

LIVE = 2.0
"""Seconds an action on something that lives waits for diagnostics at most (design §10)."""
DEAD = 10.0
"""Seconds that gathering takes at most where nobody waits for it."""
AT_ONCE = 4
"""So many are gathered at the same time on a host: when everything fails, diagnosing must not be what brings it down."""


class Diagnostics:
    """What the healers of one host share: the bundles, and turns."""

    def __init__(self, bundles: Bundles, host_name: str) -> None:
        self.bundles = bundles
        self.host_name = host_name
        self._busy = 0
        self._queue: Deque[Diagnosis] = deque()

    def turn_for(self, diagnosis: Diagnosis) -> bool:
        """May it begin now? If not, it is called when its turn has come."""
        if self._busy >= AT_ONCE:
            self._queue.append(diagnosis)
            return False
        self._busy += 1
        return True

    def over(self) -> None:
        """One has ended."""
        self._busy -= 1
        while self._queue and self._busy < AT_ONCE:
            self._busy += 1
            self._queue.popleft().start()

    def leave(self, diagnosis: Diagnosis) -> None:
        """It wants no turn any more."""
        if diagnosis in self._queue:
            self._queue.remove(diagnosis)


class Diagnosis:
    """One service's. `shared` None: nothing is gathered (a simulation, a rehearsal)."""

    def __init__(self, shared: Optional[Diagnostics], host: Host, healer: Any, records: Records) -> None:
        self.healer = healer
        self._shared = shared
        self._host = host
        self._records = records
        self._job: Optional[Job[Any]] = None
        self._subject: Any = None
        self._known: Optional[str] = None
        self._until = -math.inf
        self._page_at: Optional[float] = None
        self._queued = False

    def foresee(self, at: Optional[float], now: float) -> float:
        """Something disruptive may follow at `at`: gathering begins in time for it. When to be asked again, monotonic seconds."""
        if at is None or self._shared is None or not self._due():
            return math.inf
        if now < at - LIVE:
            return at - LIVE
        self.begin(now, alive=True)
        return math.inf

    def before(self, now: float) -> Optional[float]:
        """Until when something disruptive must wait for the diagnostics; None when it need not."""
        if self._shared is None:
            return None
        self.begin(now, alive=True)
        if (self._job is None and not self._queued) or now >= self._until:
            return None
        return self._until

    def told(self, now: float) -> Optional[float]:
        """Until when a page waits for the probable cause, where everything failed within moments; None when it need not."""
        if self._job is None and not self._queued:
            return None
        if self._page_at is None:
            self._page_at = now + LIVE
        return self._page_at if now < self._page_at else None

    def begin(self, now: float, alive: bool) -> None:
        """Gather, unless that was done for this incident, or is under way."""
        incident = self.healer.memory.incident
        if self._shared is None or incident is None or not self._due():
            return
        self.stop()
        self._known = incident.id
        if self._taken_up(incident):
            return
        self._until = now + (LIVE if alive else DEAD)
        self._page_at = None
        self._subject = self._subject_of(incident, alive, now)
        self._queued = not self._shared.turn_for(self)
        if not self._queued:
            self._gather()

    def start(self) -> None:
        """Its turn has come."""
        self._queued = False
        self._gather()

    def stop(self) -> None:
        """Let go of what is under way."""
        if self._shared is None:
            return
        if self._queued:
            self._queued = False
            self._shared.leave(self)
        if self._job is not None:
            self._job.abandon()
            self._job = None
            self._shared.over()

    # -- the bundle ------------------------------------------------------------------------------------------------------

    def _due(self) -> bool:
        incident = self.healer.memory.incident
        return incident is not None and not incident.diagnosis and incident.id != self._known

    def _taken_up(self, incident: Incident) -> bool:
        """Was it kept by a process before us, which did not live to remember that?"""
        found = self._shared.bundles.load(incident.id) if self._shared is not None else None
        if self._shared is None or found is None or found[0].get("incident") != incident.id:
            return False
        bundle, kept = found
        data = {key: str(bundle.get(key, "")) for key in ("probable_cause", "probable_detail")}
        self._remember(incident.id, {**data, "diagnostics": kept.path, "sha256": kept.sha256})
        return True

    def _subject_of(self, incident: Incident, alive: bool, now: float) -> Any:
        healer = self.healer
        try:
            evidence: Evidence = healer.evidence()
        except Exception as error:  # what an actuator cannot tell must not keep it from acting
            evidence = Evidence({"problem": "%s: %s" % (type(error).__name__, error)})
        instance = healer.instance
        return Subject(
            service=healer.service,
            incident=incident.id,
            failure_time=incident.failure_time,
            alive=alive,
            pid=instance.pid if instance is not None else _pid_of(healer.memory.instance),
            ended=healer.presence.detail,
            evidence=evidence,
            dependency=healer.around.down(now),
            probes=tuple(healer.watch.answers(self._host.wall() - now)),
        )

    def _gather(self) -> None:
        self._job = Job(self._host, self._work(), self.healer, self._gathered, lambda error: error)
        self._job.begin()

    def _work(self) -> Work[Any]:
        yield Timed(Pause(), 0.0)  # whatever is urgent goes first
        from .gathering import Gathering

        return (yield from Gathering(self._subject, self._host, self._until).work())

    def _gathered(self, report: Any) -> None:
        self._job = None
        subject, self._subject = self._subject, None
        if self._shared is not None:
            self._shared.over()
            self._remember(subject.incident, self._kept(subject.incident, report))
        self.healer.nudge()

    def _kept(self, incident: str, report: Any) -> Dict[str, Any]:
        """What the incident's events say from now on."""
        if isinstance(report, Exception) or self._shared is None:
            return {"diagnostics_problem": "gathering broke: %s: %s" % (type(report).__name__, report)}
        told: Report = report
        data: Dict[str, Any] = {"probable_cause": str(told.cause.cause), "probable_detail": told.cause.detail}
        try:
            kept = self._shared.bundles.keep(incident, {"host": self._shared.host_name, **told})
        except RecordError as error:
            return {**data, "diagnostics_problem": "the bundle could not be kept: %s" % error}
        return {**data, "diagnostics": kept.path, "sha256": kept.sha256}

    def _remember(self, incident: str, diagnosis: Mapping[str, Any]) -> None:
        memory = self.healer.memory
        if memory.incident is not None and memory.incident.id == incident and not self._records.overtaken(self.healer.name):
            self.healer.remember(replace(memory, incident=replace(memory.incident, diagnosis=dict(diagnosis))))


def _pid_of(instance: Optional[str]) -> int:
    """The pid in an instance's name; 0 where it has none."""
    parts = (instance or "").rsplit(":", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else 0


__all__ = ["AT_ONCE", "DEAD", "Diagnosis", "Diagnostics", "LIVE"]

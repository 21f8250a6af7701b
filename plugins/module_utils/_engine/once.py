# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine once, on somebody's word: every service is proven well, or climbed for until that is settled, or time is over.

The module and the command line share it. Beside a running watchdog it takes turns by lease, and goes on where the other stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from .._actuators.base import State as Standing
from .._core.apply import forgotten
from .._core.decide import Do
from .._core.errors import RecordError
from .._core.health import State
from .._core.incident import Incident, Phase
from .._core.model import Service
from .._core.reasons import Reason
from .._core.times import format_time
from .._host import Host
from .._records.read import read
from .engine import Engine
from .healer import Healer
from .ports import Records, Relayed
from .resources import unsupported

LONGEST = 600.0
LOOK_EVERY = 0.25
"""Seconds between two looks at whether everything is settled; the engine itself waits for nothing."""
UNSEEN_FOR = 5.0
"""Seconds after which it is said that nobody can tell what stands there."""
LAST_ACTION = 60.0
"""Seconds beyond its own stop timeout or a command's timeout that an action may take which was under way when time was over."""
PAGING = 10.0
"""Seconds that pages may still take at the end; one that is not through by then is left to the watchdog."""
ACTIONS = frozenset(("start", "restart", "recreate", "redeploy", "rollback"))
CHANGES = ACTIONS | frozenset(("failover", "failback"))
PASSING = frozenset(
    (
        Reason.LEASE_HELD,
        Reason.NOT_STARTED,
        Reason.MAINTENANCE,
        Reason.DEPENDENCY_DOWN,
        Reason.STORM,
        Reason.COOLDOWN,
        Reason.BACKOFF,
    )
)
"""Blocks that pass by themselves: they are waited for. Another is waited for only if it says that it ends in time."""
NOT_RUNNING = frozenset((Standing.NEVER, Standing.GONE, Standing.STOPPED))
OUTCOMES = ("recovered", "escalated", "blocked", "untouched", "unfinished", "unknown", "planned")


@dataclass(frozen=True)
class Step:
    """One event of the timeline, without its place in the chain."""

    type: str
    at: str
    service: Optional[str]
    incident: Optional[str]
    source: str
    data: Mapping[str, Any]

    def as_data(self) -> Dict[str, Any]:
        return {**self.data, "type": self.type, "at": self.at, "source": self.source}


@dataclass(frozen=True)
class Ending:
    """How it ended with one service. before, state: what was published when it was first known, and at the end.

    outcome: one of `OUTCOMES`; reason: a value of `Reason`, or None where nothing was wrong. steps: everything recorded about it
    meanwhile, by whomever. action: the last thing done here (planned, in a rehearsal), "page" or "none". changed: was anything done here?
    """

    name: str
    outcome: str
    reason: Optional[str]
    detail: str
    before: str
    state: str
    incident: Optional[str] = None
    steps: Tuple[Step, ...] = ()
    action: str = "none"
    changed: bool = False

    def found(self, key: str) -> Any:
        """What the newest step says of `key` (failure_time, recovery_time, recovery_duration_ms), or None."""
        return next((step.data[key] for step in reversed(self.steps) if key in step.data), None)


class Tape(Relayed):
    """Records that are heard as well: `steps` has every event of this run, and `heard` is called with each.

    An `override` (its data) is recorded for each service before the first action it allows.
    """

    def __init__(
        self,
        records: Records,
        host: Host,
        override: Optional[Mapping[str, Any]] = None,
        heard: Optional[Callable[[Step], None]] = None,
    ) -> None:
        super().__init__(records)
        self.steps: List[Step] = []
        self._heard = heard
        self._host = host
        self._override = override
        self._overridden: List[str] = []

    def record(
        self,
        type: str,
        service: Optional[str] = None,
        incident: Optional[str] = None,
        source: str = "watchdog",
        data: Optional[Dict[str, Any]] = None,
    ) -> Optional[Mapping[str, Any]]:
        if type in ACTIONS and self._override is not None and service is not None and service not in self._overridden:
            self._overridden.append(service)
            self.record("override", service, incident, source, dict(self._override))
        written = self._records.record(type, service, incident, source, data)
        at = format_time(self._host.wall()) if written is None else str(written["timestamp"])
        told = (data or {}) if written is None else written.get("data", {})
        step = Step(type, at, service, incident, source, told)
        self.steps.append(step)
        if self._heard is not None:
            self._heard(step)
        return written

    def of(self, service: str) -> Tuple[Step, ...]:
        return tuple(step for step in self.steps if step.service == service)


class _One:
    """One service under way."""

    def __init__(self, healer: Healer, tape: Tape, started: float, rehearsal: bool) -> None:
        self.healer = healer
        self.incident: Optional[Incident] = None
        """The incident this run is about, as it was last seen."""
        self.before: Optional[str] = None
        self.over = False
        self._tape = tape
        self._started = started
        self._rehearsal = rehearsal

    def look(self, now: float, end: float) -> Optional[Tuple[str, Optional[Reason]]]:
        """Outcome and reason when it is settled; None while it goes on. end: when time will be over."""
        healer = self.healer
        incident, decision = healer.memory.incident, healer.decision
        self._see(incident)
        if self._rehearsal and any(step.type in ACTIONS for step in self._tape.of(healer.name)):
            return "planned", None
        if healer.busy:
            return None
        if decision.do is Do.BLOCK and not self._passes(decision.reason, decision.until, end):
            return "blocked", decision.reason
        if incident is not None:
            return self._open(incident)
        if healer.around.traffic.moving:
            return None
        if self.incident is not None:
            return "recovered", Reason.HEALED
        if healer.state is State.STOPPED:
            return "untouched", Reason.ADMIN_STOPPED
        return self._quiet(now)

    def _see(self, incident: Optional[Incident]) -> None:
        if incident is not None:
            self.incident = incident
        standing = self.healer.presence.state
        if self.before is None and (incident is not None or standing in NOT_RUNNING or healer_knows(self.healer)):
            self.before = str(self.healer.state)

    @staticmethod
    def _passes(reason: Optional[Reason], until: Optional[float], end: float) -> bool:
        return reason in PASSING or (until is not None and until <= end)

    def _open(self, incident: Incident) -> Optional[Tuple[str, Optional[Reason]]]:
        healer = self.healer
        decision = healer.decision
        if decision.reason is Reason.READINESS_FAILED:
            return "untouched", Reason.READINESS_FAILED
        if incident.phase is not Phase.ESCALATED:
            return None
        if incident.entered > self._started or (decision.reason is Reason.LADDER_EXHAUSTED and decision.until is None):
            return "escalated", Reason.LADDER_EXHAUSTED
        if incident.entered > self._started - healer.service.retry_every:
            # Who asks for it does not wait for the next retry of an incident that a person was told about.
            healer.memory = replace(healer.memory, incident=replace(incident, entered=self._started - healer.service.retry_every))
            healer.nudge()
        return None

    def _quiet(self, now: float) -> Optional[Tuple[str, Optional[Reason]]]:
        healer = self.healer
        started = any(step.type == "start" for step in self._tape.of(healer.name))
        if healer.presence.state is Standing.UNKNOWN and now >= self._started + UNSEEN_FOR:
            return "unknown", Reason.INTERNAL_ERROR
        if healer.state in (State.HEALTHY, State.DEGRADED) and healer_knows(healer):
            return ("recovered", Reason.FIRST_START) if started else ("untouched", None)
        asked = [healer.watch.tally[probe.name] for probe in healer.service.probes if probe.role != "startup"]
        # One that could not run is no fault of the service's, and one good answer beside it no proof.
        if asked and all(tally.runs for tally in asked) and all(tally.good or not tally.bad for tally in asked):
            lost = next((tally.last.reason for tally in asked if tally.last is not None and not tally.good), None)
            if lost is not None:
                return "unknown", lost
        return None


def healer_knows(healer: Healer) -> bool:
    """Has every probe that is asked now given its good answers, to us? A first good one beside one not yet asked proves little."""
    probes = [probe for probe in healer.service.probes if probe.role != "startup"] or list(healer.service.probes)
    return all(healer.watch.tally[probe.name].good >= probe.success_threshold for probe in probes)


class Once:
    """The healers of one run. `site` makes them; `tape` is what its records go through."""

    def __init__(self, site: Any, tape: Tape, services: Sequence[Service], override: FrozenSet[Reason], rehearsal: bool = False) -> None:
        self._site = site
        self._host: Host = site.host
        self._tape = tape
        self._services = services
        self._override = override
        self._rehearsal = rehearsal
        self._endings: Dict[str, Ending] = {}
        self._running: Dict[str, _One] = {}
        self._engine = Engine(self._host)
        self._engine.companions = site.companions  # they may grow with the healers

    def run(self, wait: float) -> List[Ending]:
        """Turn the engine until every service is settled, or `wait` seconds are over. Leases are given back in any case.

        When time is over nothing new is begun; an action under way is brought to its end, since a service that was stopped must be
        started again.
        """
        started = self._host.monotonic()
        end = started + wait
        try:
            for service in self._services:
                self._begin(service, started)
            while self._running and self._host.monotonic() < end:
                self._settle(end)
                if self._running:
                    self._engine.spin(min(end, self._host.monotonic() + LOOK_EVERY))
            self._settle(end)
            self._finish()
        finally:
            for healer in list(self._engine.healers):
                self._engine.remove(healer)
        self._site.pager.deliver(PAGING)
        return [self._endings[service.name] for service in self._services]

    def _begin(self, service: Service, started: float) -> None:
        problem = unsupported(service)
        if problem is not None:
            unknown = str(State.UNKNOWN)
            self._endings[service.name] = Ending(service.name, "blocked", str(Reason.UNSUPPORTED), problem, unknown, unknown)
            return
        healer = self._site.healer(service, operated=True, override=self._override)
        self._running[service.name] = _One(healer, self._tape, started, self._rehearsal)
        self._engine.add(healer)
        # Where nobody watches between two runs, nobody sees the health after which the ladder's position is forgotten.
        memory = healer.memory
        if memory.incident is None and memory.healthy_since is not None and started >= memory.healthy_since + service.ladder_reset_after:
            healer.memory = forgotten(memory)

    def _settle(self, end: float) -> None:
        for one in list(self._running.values()):
            found = one.look(self._host.monotonic(), end)
            if found is not None:
                self._end(one, *found)

    def _finish(self) -> None:
        """Time is over. What is under way is brought to its end."""
        limit = self._host.monotonic() + max((_longest_action(one.healer.service) for one in self._running.values()), default=0.0)
        for one in self._running.values():
            one.healer.leaving = True
        while self._running:
            now = self._host.monotonic()
            for one in list(self._running.values()):
                if not one.healer.busy or now >= limit:
                    decision = one.healer.decision
                    blocked = decision.do is Do.BLOCK and not one.healer.busy
                    self._end(one, "blocked" if blocked else "unfinished", decision.reason if blocked else Reason.WAIT_OVER)
            if self._running:
                self._engine.spin(now + LOOK_EVERY)

    def _end(self, one: _One, outcome: str, reason: Optional[Reason]) -> None:
        """Nothing more is done about it, and its leases are free for the next."""
        healer = one.healer
        own = self._tape.of(healer.name)
        if outcome == "planned":
            planned = next(step for step in own if step.type in ACTIONS)
            reason = Reason(planned.data["reason"])
        if reason is Reason.FIRST_START:
            healer.remember(healer.memory)  # that its startup probe has passed: the next run need not wait for that
        incident = one.incident.id if one.incident is not None else None
        steps = self._steps(own, incident, outcome)
        done = [step.type for step in own if step.type in ACTIONS]
        if outcome == "planned":
            done = done[:1]
        elif not done and any(step.type == "page" for step in own):
            done = ["page"]
        self._endings[healer.name] = Ending(
            name=healer.name,
            outcome=outcome,
            reason=None if reason is None else str(reason),
            detail=_detail(healer, outcome, done),
            before=one.before or str(healer.state),
            state=str(healer.state),
            incident=incident,
            steps=steps,
            action=done[-1] if done else "none",
            changed=not self._rehearsal and any(step.type in CHANGES for step in own),
        )
        self._engine.remove(healer)
        del self._running[healer.name]

    def _steps(self, own: Tuple[Step, ...], incident: Optional[str], outcome: str) -> Tuple[Step, ...]:
        """Ours; for an incident that another healer has had a hand in, everything recorded of it."""
        whole = any(step.type == "failure" for step in own) and (outcome != "recovered" or any(step.type == "recover" for step in own))
        if incident is None or whole:
            return own
        try:
            events = read(self._site.timeline.directory, incident=incident, limit=1000)
        except RecordError:
            return own  # it cannot be read now: what was done here is told all the same
        told = tuple(
            Step(each["type"], each["timestamp"], each.get("service"), incident, each["source"], each.get("data", {})) for each in events
        )
        written = {(step.type, step.at) for step in told}
        return tuple(sorted(told + tuple(step for step in own if (step.type, step.at) not in written), key=lambda step: step.at))


def _detail(healer: Healer, outcome: str, done: Sequence[str]) -> str:
    from .explain import sentence

    if outcome == "planned":
        return "%s is %s: in a real run %s follows" % (healer.name, str(healer.state).replace("_", " "), done[0])
    if outcome == "recovered" and not done:
        return "%s is %s: another healer, or it itself, has seen to it" % (healer.name, healer.state)
    if healer.presence.state is Standing.UNKNOWN:
        return "%s: nobody can tell what stands there: %s" % (healer.name, healer.presence.detail)
    return sentence(healer)


def _longest_action(service: Service) -> float:
    commands = [call.timeout for rung in service.ladder for call in (rung.command, rung.http) if call is not None]
    released = []
    if service.release is not None:
        from .._actuators.released import errand_limit

        released.append(errand_limit(service.release))
    return max([getattr(service.resource, "stop_timeout", 0.0)] + commands + released) + LAST_ACTION


__all__ = ["ACTIONS", "Ending", "LONGEST", "OUTCOMES", "Once", "Step", "Tape", "healer_knows"]

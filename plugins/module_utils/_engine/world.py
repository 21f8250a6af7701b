# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripted world of a simulation: a virtual clock, services that live and die by the script, and a desk with scripted operators."""

from __future__ import annotations

import abc
import heapq
import math
from typing import Any, Callable, Dict, List, Optional, Tuple

from .._actuators.base import Actuator, Instance, Presence, State, Timed, Work
from .._core.model import Probe, Service
from .._core.reasons import Reason
from .._core.scenario import Entry
from .._host import Handle, Host, Machine, Outcome, Step
from .ports import Desk, Held
from .traffic import Fallback

EPOCH = 1767225600.0
"""Virtual time 0 is 2026-01-01T00:00:00Z."""

GOOD = Outcome("ok")
BAD = Outcome("bad", Reason.BAD_STATUS, "scripted: bad")
HUNG = Outcome("bad", Reason.TIMEOUT, "scripted: hang")
UNKNOWN = Outcome("unknown", Reason.NO_SUCH_PROGRAM, "scripted: unknown")
NOTHING_THERE = Outcome("bad", Reason.NOT_RUNNING, "nothing runs there")


class VirtualStep(Step):
    """A step whose length and outcome the world knows."""

    def begin(self, now: float) -> Machine:
        raise TypeError("a scripted step runs on a virtual host only")

    @abc.abstractmethod
    def plan(self, now: float, deadline: float) -> Tuple[float, Optional[Outcome]]:
        """When it ends (math.inf: when the world says so) and how."""


class VirtualHost(Host):
    """A clock that moves only when nothing is left to do at the present instant."""

    def __init__(self) -> None:
        self.now = 0.0
        self.instant: Callable[[], None] = _nothing
        """Called whenever the clock has reached an instant, before anything that was started ends."""
        self._serial = 0
        self._ends: List[Tuple[float, int, Handle]] = []

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return EPOCH + self.now

    def start(self, step: Step, deadline: float, owner: Any = None) -> Handle:
        handle = Handle(step, owner, self.now, deadline)
        if not isinstance(step, VirtualStep):
            raise TypeError("%s is no scripted step" % type(step).__name__)
        at, outcome = step.plan(self.now, deadline)
        if at < math.inf:
            self.end(handle, at, outcome)
        elif isinstance(step, Alive):
            step.body.watchers.append(handle)
        return handle

    def end(self, handle: Handle, at: float, outcome: Optional[Outcome]) -> None:
        """`handle` will end at `at`."""
        self._serial += 1
        handle.outcome = outcome
        heapq.heappush(self._ends, (at, self._serial, handle))

    def cancel(self, handle: Handle) -> None:
        handle.owner = None

    def forget(self) -> None:
        """The process that had started all this is gone."""
        self._ends.clear()

    @property
    def next_end(self) -> float:
        return self._ends[0][0] if self._ends else math.inf

    def poll(self, until: float) -> List[Handle]:
        self.now = max(self.now, min(until, self.next_end))
        self.instant()
        ended: List[Handle] = []
        while self._ends and self._ends[0][0] <= self.now:
            when, _serial, handle = heapq.heappop(self._ends)
            handle.ended = when
            if handle.owner is not None:
                ended.append(handle)
        return ended


def _nothing() -> None:
    return


class Body:
    """One scripted service as it really is, whoever watches it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.alive = True
        self.stopped = False
        self.serial = 1
        self.since = 0.0
        self.busy_until = -math.inf
        self.stops = 0
        self.results: Dict[str, str] = {}
        self.actions: Dict[str, Any] = {}
        self.watchers: List[Handle] = []

    @property
    def instance(self) -> Instance:
        return Instance("%s-%d" % (self.service.name, self.serial), self.serial, self.since)

    def ends(self, host: VirtualHost) -> None:
        """The present instance is no more: tell whoever watches it."""
        for handle in self.watchers:
            host.end(handle, host.now, GOOD)
        self.watchers.clear()

    def renew(self, host: VirtualHost, heals: bool) -> None:
        """A new instance stands."""
        self.ends(host)
        self.alive, self.stopped, self.since = True, False, host.now
        self.serial += 1
        if heals:
            self.results = {probe.name: "ok" for probe in self.service.probes}


class Ask(VirtualStep):
    """A probe of a scripted service."""

    def __init__(self, body: Body, probe: Probe) -> None:
        self.body = body
        self.probe = probe

    def plan(self, now: float, deadline: float) -> Tuple[float, Optional[Outcome]]:
        body = self.body
        if not body.alive or body.stopped:
            return now, NOTHING_THERE
        return scripted_answer(body.results.get(self.probe.name, "ok"), now, deadline, body.service.slow.after)


def scripted_answer(result: str, now: float, deadline: float, slow_after: float) -> Tuple[float, Outcome]:
    """When and how a scripted probe ends: ok and bad at once, hang at its timeout, slow between ``slow.after`` and its timeout."""
    if result == "ok":
        return now, GOOD
    if result == "bad":
        return now, BAD
    if result == "hang":
        return deadline, HUNG
    if result == "slow":
        return now + (slow_after + deadline - now) / 2.0, GOOD
    return now, UNKNOWN


class Alive(VirtualStep):
    """Ends when the instance is gone."""

    def __init__(self, body: Body) -> None:
        self.body = body

    def plan(self, now: float, deadline: float) -> Tuple[float, Optional[Outcome]]:
        return math.inf, None


class Act(VirtualStep):
    """A scripted action; it goes on in the world even if whoever began it is gone."""

    def __init__(self, world: World, body: Body, rung: str) -> None:
        self.world = world
        self.body = body
        self.rung = rung

    def plan(self, now: float, deadline: float) -> Tuple[float, Optional[Outcome]]:
        script = self.body.actions.get(self.rung)
        if script is None and self.rung == "start":
            script = self.body.actions.get("restart")
        takes = 1.0 if script is None else script.takes
        self.body.busy_until = now + takes
        if script is not None and script.result != "ok":
            reason = Reason.RELEASE_SETTLED if script.result == "cannot" else Reason.ACTION_FAILED
            return now + takes, Outcome("bad", reason, "scripted: %s" % script.result)
        self.world.later(now + takes, lambda stops=self.body.stops: self._stands(stops, script is not None and script.heals))
        return now + takes, GOOD

    def _stands(self, stops: int, heals: bool) -> None:
        if self.body.stops == stops:  # a stop by an admin meanwhile cancels the job
            self.body.renew(self.world.host, heals)


class ScriptedActuator(Actuator):
    """What can be done to a scripted service."""

    def __init__(self, world: World, body: Body) -> None:
        self.key = "simulated:%s" % body.service.name
        self._world = world
        self._body = body

    def cannot(self, rung: str) -> Optional[Reason]:
        return None

    def look(self) -> Work[Presence]:
        yield from ()
        body = self._body
        if self._world.host.now < body.busy_until:
            return Presence(State.STARTING)
        if body.stopped:
            return Presence(State.STOPPED)
        return Presence(State.RUNNING, body.instance) if body.alive else Presence(State.GONE)

    def watch(self, instance: Instance) -> Optional[Step]:
        return Alive(self._body)

    def start(self) -> Work[Outcome]:
        return self._act("start")

    def restart(self) -> Work[Outcome]:
        return self._act("restart")

    def redeploy(self) -> Work[Outcome]:
        return self._act("redeploy")

    def rollback(self) -> Work[Outcome]:
        return self._act("rollback")

    def _act(self, rung: str) -> Work[Outcome]:
        outcome = yield Timed(Act(self._world, self._body, rung), math.inf)
        return outcome


class Reach(VirtualStep):
    """A question to a dependency, a peer or the network; `results` holds what the script says of each."""

    def __init__(self, results: Dict[str, str], name: str) -> None:
        self._results = results
        self._name = name

    def plan(self, now: float, deadline: float) -> Tuple[float, Optional[Outcome]]:
        return scripted_answer(self._results.get(self._name, "ok"), now, deadline, 0.0)


class ScriptedFallback(Fallback):
    """Traffic that moves as the script says of the actions failover and failback. A failover that fails finds no backup: nothing moves."""

    def __init__(self, world: World, body: Body) -> None:
        self._world = world
        self._body = body

    def able(self) -> Work[Outcome]:
        script = self._body.actions.get("failover")
        if script is None or script.result == "ok":
            return Outcome("ok")
        return (yield from self._move("failover"))

    def open(self) -> Work[Outcome]:
        return self._move("failover")

    def close(self) -> Work[Outcome]:
        return self._move("failback")

    def _move(self, way: str) -> Work[Outcome]:
        outcome = yield Timed(Move(self._body, way), math.inf)
        return outcome


class Move(VirtualStep):
    """A scripted move of traffic."""

    def __init__(self, body: Body, way: str) -> None:
        self._body = body
        self._way = way

    def plan(self, now: float, deadline: float) -> Tuple[float, Optional[Outcome]]:
        script = self._body.actions.get(self._way)
        if script is None:
            return now + 1.0, GOOD
        if script.result == "ok":
            return now + script.takes, GOOD
        reason = Reason.NO_BACKUP if self._way == "failover" else Reason.ACTION_FAILED
        return now + script.takes, Outcome("bad", reason, "scripted: %s" % script.result)


class ScriptedDesk(Desk):
    """Operators and other healers as the script has them."""

    recheck = None

    def __init__(self, host: VirtualHost) -> None:
        self._host = host
        self.holds: Dict[str, Held] = {}
        self.approvals: Dict[str, float] = {}
        self.leases: Dict[str, Held] = {}
        self.upkeep: Optional[Held] = None
        """Why the host is in no state to be healed."""

    def maintenance(self) -> Optional[str]:
        upkeep = self.upkeep
        return upkeep.text if upkeep is not None and (upkeep.until is None or self._host.now < upkeep.until) else None

    def hold(self, service: str) -> Optional[Held]:
        for scope in ("*", service):
            held = self.holds.get(scope)
            if held is not None and (held.until is None or self._host.now < held.until):
                return held
        return None

    def approved(self, service: str) -> bool:
        return self._host.now < self.approvals.get(service, -math.inf)

    def consume_approval(self, service: str) -> bool:
        return self._host.now < self.approvals.pop(service, -math.inf)

    def lease(self, service: str) -> Optional[str]:
        held = self.leases.get(service)
        return held.text if held is not None and (held.until is None or self._host.now < held.until) else None

    def take(self, service: str, purpose: str) -> Optional[str]:
        return self.lease(service)

    def release(self, service: str) -> None:
        return


class World:
    """Bodies, a clock, and what happens later whoever watches."""

    def __init__(self, services: Tuple[Service, ...]) -> None:
        self.host = VirtualHost()
        self.desk = ScriptedDesk(self.host)
        self.bodies = {service.name: Body(service) for service in services}
        self.reached: Dict[str, str] = {}
        """What the script says of dependencies (service/name), peers (URL) and requests that keep a service warm (service/keep_warm)."""
        self.detours: Dict[str, Entry] = {}
        """What it says of what is used instead of dependencies (service/name)."""
        self._serial = 0
        self._later: List[Tuple[float, int, Any]] = []

    def later(self, at: float, act: Any) -> None:
        """Something the world does by itself."""
        self._serial += 1
        heapq.heappush(self._later, (at, self._serial, act))

    @property
    def next_later(self) -> float:
        return self._later[0][0] if self._later else math.inf

    def happen(self) -> None:
        """Do what is due in the world at this instant."""
        while self._later and self._later[0][0] <= self.host.now:
            heapq.heappop(self._later)[2]()


__all__ = [
    "Ask",
    "Body",
    "EPOCH",
    "Reach",
    "ScriptedActuator",
    "ScriptedFallback",
    "VirtualHost",
    "VirtualStep",
    "World",
    "scripted_answer",
]

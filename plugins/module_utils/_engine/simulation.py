# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays a scenario against contracts: the real engine, on a virtual clock.

Order within one instant: the script's entries, then what the world does by itself, then probes and actions that end, then decisions.
"""

from __future__ import annotations

import collections
import json
import math
from typing import Any, Callable, Dict, List, Optional, Tuple

from .._actuators.base import Instance
from .._core.health import State
from .._core.model import Probe, Service, Storm, TcpTarget
from .._core.scenario import Entry, Scenario
from .._core.times import format_time as iso
from .._host import Step
from .engine import Engine
from .healer import Healer
from .network import NetworkWatch
from .ports import Held, Records, Stored
from .scripted import ScriptedBreakers, ScriptedDetour
from .storm import StormWatch
from .surroundings import Wiring
from .world import EPOCH, Ask, Reach, ScriptedActuator, ScriptedFallback, World

REFERENCE = Probe("network_reference", "dependency", TcpTarget("192.0.2.1", 443))
"""Asked where a scenario says how the network is; what it answers is scripted."""
BACK_AFTER = 1.0
"""A crashed watchdog is back after so many seconds."""


class MemoryRecords(Records):
    """A timeline and state files that live in memory; the state goes through its written form, as on a host."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.events: List[Dict[str, Any]] = []
        self.problem: Optional[str] = None
        """Why nothing could be written, were this a disk. What is told here is always seen."""
        self._now = now
        self._states: Dict[str, str] = {}

    def record(
        self,
        type: str,
        service: Optional[str] = None,
        incident: Optional[str] = None,
        source: str = "watchdog",
        data: Optional[Dict[str, Any]] = None,
    ) -> None:
        at = self._now()
        event = {
            "seq": len(self.events) + 1,
            "at": round(at, 3),
            "timestamp": iso(EPOCH + at),
            "host": "simulation",
            "service": service,
            "incident": incident,
            "type": type,
            "source": source,
            "data": data or {},
        }
        self.events.append({key: value for key, value in event.items() if value is not None})

    def unwritable(self) -> Optional[str]:
        return self.problem

    def save(self, service: str, data: Dict[str, Any]) -> None:
        self._states[service] = json.dumps(data)

    def load(self, service: str) -> Optional[Stored]:
        text = self._states.get(service)
        return Stored(json.loads(text), True) if text is not None else None


class Simulation:
    """One run of a scenario. `result` is what `selfheal simulate --json` prints."""

    def __init__(self, services: Tuple[Service, ...], scenario: Scenario) -> None:
        self.services = services
        self.scenario = scenario
        self.world = World(services)
        self.records = MemoryRecords(self.world.host.monotonic)
        self.runs: Dict[str, int] = {"%s/%s" % (s.name, p.name): 0 for s in services for p in s.probes}
        self._steps = {(s.name, p.name): Ask(self.world.bodies[s.name], p) for s in services for p in s.probes}
        self._entries = collections.deque(scenario.entries)
        self._engine: Optional[Engine] = None
        self._missed: List[Entry] = []
        self._distances = any(entry.kind == "network" for entry in scenario.entries)
        self._warmed = {entry.service for entry in scenario.entries if entry.kind == "warm"}
        self.breakers = ScriptedBreakers()
        self.runs.update({"%s/keep_warm" % name: 0 for name in sorted(map(str, self._warmed))})
        self._network: Optional[NetworkWatch] = None
        self._storm = self._calm()

    def run(self, until_type: Optional[str] = None) -> Dict[str, Any]:
        """Play to the end, or to the first event of `until_type`."""
        host, end = self.world.host, self.scenario.until
        host.instant = self._instant
        self._instant()
        self._come_back()
        while True:
            wake = self._engine.wake if self._engine is not None else math.inf
            if host.now >= end and min(wake, host.next_end) > end:
                return self.result()
            if until_type is not None and self.records.events[-1]["type"] == until_type:
                return self.result()
            following = min(self._next_entry, self.world.next_later, end)
            if self._engine is not None:
                self._engine.spin(following)
            else:
                # Whoever comes back at this instant hears of what ends at it.
                Engine(host).spin(following)

    def result(self) -> Dict[str, Any]:
        """``{"events": […], "states": {service: state}, "probes": {"web/liveness": runs}}``."""
        self._count_runs()
        states = {service.name: str(State.UNKNOWN) for service in self.services}  # what is known while the watchdog is away
        states.update({healer.name: str(healer.state) for healer in self._engine.healers} if self._engine is not None else {})
        return {"events": self.records.events, "states": states, "probes": dict(self.runs)}

    # -- the script ------------------------------------------------------------------------------------------------------

    @property
    def _next_entry(self) -> float:
        return self._entries[0].at if self._entries else math.inf

    def _instant(self) -> None:
        while self._entries and self._entries[0].at <= self.world.host.now:
            entry = self._entries.popleft()
            _APPLY[entry.kind](self, entry)
        self.world.happen()

    def _probe(self, entry: Entry) -> None:
        self.world.bodies[str(entry.service)].results[entry.name] = entry.result

    def _action(self, entry: Entry) -> None:
        self.world.bodies[str(entry.service)].actions[entry.name] = entry

    def _gone(self, entry: Entry) -> None:
        body = self.world.bodies[str(entry.service)]
        body.alive = False
        body.ends(self.world.host)

    def _instance(self, entry: Entry) -> None:
        self.world.bodies[str(entry.service)].renew(self.world.host, heals=False)
        self._nudge(entry.service)

    def _lease(self, entry: Entry) -> None:
        until = None if entry.lasts is None else entry.at + entry.lasts
        self.world.desk.leases[str(entry.service or entry.name)] = Held("held by %s" % (entry.holder or "somebody else"), until)
        self._nudge_at(until, entry.service)

    def _dependency(self, entry: Entry) -> None:
        self.world.reached["%s/%s" % (entry.service, entry.name)] = entry.result

    def _peer(self, entry: Entry) -> None:
        self.world.reached[entry.name] = entry.result

    def _maintenance(self, entry: Entry) -> None:
        until = None if entry.lasts is None else entry.at + entry.lasts
        self.world.desk.upkeep = Held(entry.name, until)
        self._nudge(None)
        self._nudge_at(until, None)

    def _warm(self, entry: Entry) -> None:
        self.world.reached["%s/keep_warm" % entry.service] = entry.result

    def _detour(self, entry: Entry) -> None:
        self.world.detours["%s/%s" % (entry.service, entry.name)] = entry

    def _breaker(self, entry: Entry) -> None:
        service, dependency = str(entry.service), entry.name if entry.name != entry.service else None
        self.breakers.say(service, dependency, entry.result)
        name = service if dependency is None else "%s/%s" % (service, dependency)
        self._say("breaker_forced", entry, {"breaker": name, "dependency": dependency, "to": entry.result, "owner": "operator"})
        self._nudge(service)

    def _reference(self, entry: Entry) -> None:
        self.world.reached[REFERENCE.name] = entry.name

    def _records(self, entry: Entry) -> None:
        self.records.problem = "scripted: the timeline cannot be written" if entry.name == "unwritable" else None
        self._nudge(None)

    def _crash(self, entry: Entry) -> None:
        if self._engine is not None:
            self._count_runs()
            self._engine.healers.clear()  # the dead take no further turn, also not at this instant
            self.breakers.concerned.clear()
            self._engine = None
            self.world.host.forget()
            for body in self.world.bodies.values():
                body.watchers.clear()
            self.world.later(entry.at + BACK_AFTER, self._come_back)

    def _come_back(self) -> None:
        self.records.record("watchdog_start", data={"services": len(self.services)})
        missed, self._missed = self._missed, []
        for entry in missed:
            _OPERATE[entry.name](self, entry)
        self._storm = self._calm()
        self._network = self._reach_network() if self._distances else None
        companions = [self._network] if self._network is not None else []
        self._engine = Engine(self.world.host, [self._healer(service) for service in self.services], companions)

    def _operator(self, entry: Entry) -> None:
        if self._engine is None and entry.name not in ("stop", "start"):
            self._missed.append(entry)
            return
        _OPERATE[entry.name](self, entry)
        self._nudge(entry.service)

    def _hold(self, entry: Entry) -> None:
        until = None if entry.lasts is None else entry.at + entry.lasts
        self.world.desk.holds[entry.service or "*"] = Held(entry.reason or "held by the operator", until)
        self._say("hold", entry, {"owner": "operator", "reason": entry.reason, "expires": None if until is None else iso(EPOCH + until)})
        self._nudge_at(until, entry.service)

    def _unhold(self, entry: Entry) -> None:
        self.world.desk.holds.pop(entry.service or "*", None)
        self._say("unhold", entry, {"owner": "operator"})

    def _approve(self, entry: Entry) -> None:
        self.world.desk.approvals[str(entry.service)] = entry.at + 3600.0
        self._say("approve", entry, {"owner": "operator", "expires": iso(EPOCH + entry.at + 3600.0)})

    def _ack(self, entry: Entry) -> None:
        self._say("note", entry, {"owner": "operator", "text": "acknowledged"})

    def _stop(self, entry: Entry) -> None:
        body = self.world.bodies[str(entry.service)]
        body.stopped, body.alive = True, False
        body.stops += 1
        body.ends(self.world.host)

    def _start(self, entry: Entry) -> None:
        self.world.bodies[str(entry.service)].renew(self.world.host, heals=False)

    def _say(self, type: str, entry: Entry, data: Dict[str, Any]) -> None:
        clean = {key: value for key, value in data.items() if value is not None}
        self.records.record(type, entry.service, None, "operator", clean)

    # -- the watchdog ----------------------------------------------------------------------------------------------------

    def _healer(self, service: Service) -> Healer:
        actuator = ScriptedActuator(self.world, self.world.bodies[service.name])
        steps = {probe.name: self._steps[service.name, probe.name] for probe in service.probes}

        def prober(probe: Probe, _instance: Optional[Instance]) -> Step:
            return steps[probe.name]

        reached = self.world.reached
        wiring = Wiring(
            ask_dependency=lambda rules: Reach(reached, "%s/%s" % (service.name, rules.name)),
            ask_peer=lambda url: Reach(reached, url),
            fallback=ScriptedFallback(self.world, self.world.bodies[service.name]) if service.fallback is not None else None,
            dependency_fallback=lambda rules: self._instead(service, rules.name) if rules.fallback is not None else None,
            forced=self.breakers,
            ask_warm=(lambda _rules: Reach(reached, "%s/keep_warm" % service.name)) if service.name in self._warmed else None,
            keeps_warm=True,
            storm=self._storm,
            network=self._network,
        )
        return Healer(service, self.world.host, actuator, self.world.desk, self.records, prober, wiring=wiring)

    def _instead(self, service: Service, dependency: str) -> ScriptedDetour:
        return ScriptedDetour(self.world.detours, "%s/%s" % (service.name, dependency))

    def _reach_network(self) -> NetworkWatch:
        host, reached = self.world.host, self.world.reached
        return NetworkWatch(REFERENCE, host, lambda: Reach(reached, REFERENCE.name))

    def _calm(self) -> StormWatch:
        return StormWatch(Storm(), lambda: len(self.services), self.records, lambda: EPOCH, self._lasting_storm)

    def _lasting_storm(self) -> Optional[str]:
        told = [event for event in self.records.events if event["type"] in ("page", "page_resolved") and "service" not in event]
        return str(told[-1]["incident"]) if told and told[-1]["type"] == "page" else None

    def _nudge(self, service: Optional[str]) -> None:
        for healer in self._engine.healers if self._engine is not None else []:
            if service is None or healer.name == service:
                healer.look_again()

    def _nudge_at(self, at: Optional[float], service: Optional[str]) -> None:
        if at is not None:
            self.world.later(at, lambda: self._nudge(service))

    def _count_runs(self) -> None:
        for healer in self._engine.healers if self._engine is not None else []:
            for name, tally in healer.watch.tally.items():
                self.runs["%s/%s" % (healer.name, name)] += tally.runs
                tally.runs = 0
            if healer.name in self._warmed:
                self.runs["%s/keep_warm" % healer.name] += sum(healer.around.warm.counts.values())
                healer.around.warm.counts.update(dict.fromkeys(healer.around.warm.counts, 0))


_APPLY: Dict[str, Callable[[Simulation, Entry], None]] = {
    "probe": Simulation._probe,
    "action": Simulation._action,
    "gone": Simulation._gone,
    "instance": Simulation._instance,
    "operator": Simulation._operator,
    "crash": Simulation._crash,
    "lease": Simulation._lease,
    "dependency": Simulation._dependency,
    "peer": Simulation._peer,
    "maintenance": Simulation._maintenance,
    "network": Simulation._reference,
    "warm": Simulation._warm,
    "fallback": Simulation._detour,
    "breaker": Simulation._breaker,
    "records": Simulation._records,
}

_OPERATE: Dict[str, Callable[[Simulation, Entry], None]] = {
    "hold": Simulation._hold,
    "unhold": Simulation._unhold,
    "approve": Simulation._approve,
    "ack": Simulation._ack,
    "stop": Simulation._stop,
    "start": Simulation._start,
}


def simulate(services: Tuple[Service, ...], scenario: Scenario) -> Dict[str, Any]:
    """Play `scenario` against `services`; see `Simulation.result`."""
    return Simulation(services, scenario).run()


__all__ = ["MemoryRecords", "Simulation", "simulate"]

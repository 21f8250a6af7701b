# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What surrounds a service and binds its healer: dependencies behind breakers, peers, a storm on the host, and its traffic."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

from .._actuators.base import State, Work
from .._core.breaker import Breaker, from_data, own
from .._core.guards import Facts
from .._core.health import Verdict
from .._core.incident import Phase
from .._core.model import Dependency, KeepWarm, Service
from .._host import Host, Step
from .dependency import DependencyWatch
from .dependency_traffic import DependencyTraffic
from .diagnostics import Diagnostics
from .forced import ForcedBreakers
from .network import NetworkWatch
from .peers import Peers
from .storm import StormWatch
from .traffic import Fallback, Traffic
from .warm import Warmer


class Wiring(NamedTuple):
    """How the surroundings are reached; the default reaches nothing and is right for a service that names nothing."""

    ask_dependency: Optional[Callable[[Dependency], Step]] = None
    ask_peer: Optional[Callable[[str], Step]] = None
    fallback: Optional[Fallback] = None
    dependency_fallback: Optional[Callable[[Dependency], Optional[Fallback]]] = None
    warm_up: Optional[Callable[[], Work[Any]]] = None
    storm: Optional[StormWatch] = None
    diagnostics: Optional[Diagnostics] = None
    forced: Optional[ForcedBreakers] = None
    network: Optional[NetworkWatch] = None
    ask_warm: Optional[Callable[[KeepWarm], Step]] = None
    keeps_warm: bool = False


class Surroundings:
    """Everything around one service. Its parts own their handles; `news` says that a decision may differ now."""

    def __init__(self, healer: Any, host: Host, wiring: Wiring, say: Callable[[str, Dict[str, Any]], None]) -> None:
        service = healer.service
        self._healer = healer
        self._storm = wiring.storm
        self._forced = wiring.forced
        if wiring.forced is not None and (service.fallback is not None or service.dependencies):
            wiring.forced.join(healer)
        if wiring.storm is not None:
            wiring.storm.concerned.append(healer)
        self.dependencies: List[DependencyWatch] = [
            DependencyWatch(rules, host, _asking(wiring.ask_dependency, rules), healer, say, wiring.network)
            for rules in service.dependencies
        ]
        self.peers = Peers(service.guard.peers, host, wiring.ask_peer or _nobody, healer)
        self.warm = Warmer(service, host, wiring.ask_warm, wiring.keeps_warm, healer)
        self.traffic = Traffic(wiring.fallback, host, healer, say, wiring.warm_up or (self.warm.warm_up if self.warm.counts else None))
        instead = wiring.dependency_fallback or _none
        self.detours = [DependencyTraffic(each, instead(each.rules), host, healer, say) for each in self.dependencies]

    @property
    def wake(self) -> float:
        return min(min((each.wake for each in self.dependencies), default=math.inf), self.peers.wake, self._moves_at, self.warm.wake)

    @property
    def _moves_at(self) -> float:
        """When a move of traffic is due."""
        return min(self.traffic.wake, min((each.wake for each in self.detours), default=math.inf))

    def turn(self, now: float) -> bool:
        """Let everything due happen; True when a decision may differ now."""
        self._heed(now)
        for each in self.dependencies:
            if now >= each.wake or each.news:
                each.turn(now)
        self.peers.turn(now)
        self._keep_warm(now)
        news = self.peers.news or any(each.news for each in self.dependencies)
        for each in self.dependencies:
            each.news = False
        self.peers.news = False
        return news or now >= self._moves_at

    def _keep_warm(self, now: float) -> None:
        if not self.warm.counts:
            return
        healer = self._healer
        free = healer.memory.incident is None and healer.presence.state is State.RUNNING and healer.watch.verdict.started is True
        self.warm.turn(now, healer.watch.quiet_until, free)

    def _heed(self, now: float) -> None:
        """What people say of the breakers. Those of dependencies follow at once, the service's own with its traffic."""
        if self._forced is None or not self.dependencies:
            return
        name = self._healer.name
        for each in self.dependencies:
            to = self._forced.to(name, each.rules.name)
            each.force(to, now)
            if to == "closed":
                self._forced.done(name, each.rules.name)

    @property
    def forced(self) -> Optional[str]:
        """What people have forced the service's own breaker to: open, disabled, or None."""
        return self._forced.to(self._healer.name) if self._forced is not None else None

    def breaker(self) -> Breaker:
        """The service's own, as it is shown."""
        incident = self._healer.memory.incident
        return own(incident is not None, incident is not None and incident.phase is Phase.OBSERVING, self.forced)

    def opened(self, now: float, again: bool = False) -> None:
        """An incident has opened, or was taken up again: ask what a disruptive step will depend on."""
        for each in self.dependencies:
            each.asked_since(now, ask=True)
        if not again:
            self.peers.forget()
        self.peers.ask(now)
        if self._storm is not None:
            incident = self._healer.memory.incident
            self._storm.failing(self._healer.name, incident.opened if again and incident is not None else now, again)

    def closed(self) -> None:
        """The incident is over."""
        self.peers.rest()
        if self._storm is not None:
            self._storm.over(self._healer.name)

    def asked_since(self, at: float) -> bool:
        """Has everything answered that must be asked once before the first disruptive step?"""
        answered = [each.asked_since(at, ask=True) for each in self.dependencies]  # every one is asked, whatever the first says
        return all(answered) and self.peers.asked_since(at)

    def down(self, now: float) -> Optional[str]:
        """Which dependency a restart must wait for, in words."""
        return next((why for why in (each.down(now) for each in self.dependencies) if why is not None), None)

    def facts(self, now: float, serving: bool, away: Optional[str] = None) -> Dict[str, Optional[str]]:
        """The facts that come from here. away: what keeps the resource itself does not answer, so it waits like for a dependency."""
        missing = self.peers.missing(self._healer.service.guard.min_available)
        return {
            "dependency": away or self.down(now),
            "peers_missing": missing,
            "last_available": missing if serving else None,
            "storm": self._storm.text(self._healer.name) if self._storm is not None else None,
        }

    def move_traffic(self, facts: Facts, now: float) -> None:
        self.traffic.turn(facts, now)
        for each in self.detours:
            each.turn(facts, now)

    def stop(self) -> None:
        for each in self.dependencies:
            each.stop()
        self.peers.stop()
        self.warm.stop()
        self.traffic.stop()
        for detour in self.detours:
            detour.stop()
        if self._storm is not None:
            self._storm.concerned.remove(self._healer)
        if self._forced is not None:
            self._forced.leave(self._healer)

    def to_data(self) -> Dict[str, Any]:
        """The breakers, for the state file."""
        places = zip(self.dependencies, self.detours)
        return {each.rules.name: {**vars(each.state), "cause": each.state.cause, "traffic": detour.place} for each, detour in places}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Breakers survive a restart of the watchdog. Raises RecordError."""
        for each, detour in zip(self.dependencies, self.detours):
            raw = data.get(each.rules.name)
            if isinstance(raw, dict):
                detour.place = str(raw.get("traffic", detour.place))
            if isinstance(raw, dict) and "state" in raw:
                each.restore(from_data(raw))


def serving(service: Service, here: State, verdict: Verdict) -> bool:
    """Does this instance answer well enough to be missed? By readiness where it has such a probe."""
    if here is not State.RUNNING or verdict.started is not True or verdict.unready is not None:
        return False
    return verdict.failing is None or any(probe.role == "readiness" for probe in service.probes)


def _asking(ask: Optional[Callable[[Dependency], Step]], rules: Dependency) -> Callable[[], Step]:
    if ask is None:
        raise ValueError("dependency %s: nothing here can ask it" % rules.name)
    return lambda: ask(rules)


def _none(rules: Dependency) -> Optional[Fallback]:
    return None


def _nobody(url: str) -> Step:
    raise ValueError("peer %s: nothing here can ask it" % url)


__all__ = ["Surroundings", "Wiring", "serving"]

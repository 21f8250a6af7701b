# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When each probe of a service runs, and what its answers amount to.

Cadence: each probe runs on its own grid of periods. A first failure of a quick kind is confirmed after ``confirm_period``. During an
incident everything is asked `CLOSE` seconds after its last answer (exec no more often than `EXEC_CLOSE`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional

from .._core import health as healths
from .._core.decide import Do
from .._core.health import Observation, ProbeHealth, Verdict
from .._core.incident import Incident, Phase
from .._core.model import Probe, Service
from .._core.reasons import Reason
from .._core.times import format_time
from .._core.trend import Trend
from .._host import Handle, Host, Step
from .network import NetworkWatch, on_this_host

CLOSE = 0.25
EXEC_CLOSE = 5.0
CLOSE_AFTER_OPENING = 60.0
CONFIRMED_KINDS = frozenset(("http", "tcp", "unit", "process"))


class Tally:
    """What people are shown of one probe since this process took over; no decision uses it."""

    __slots__ = ("runs", "good", "bad", "unknown", "latency", "last", "last_good")

    def __init__(self) -> None:
        self.runs = self.good = self.bad = self.unknown = 0
        self.latency = 0.0
        self.last: Optional[Observation] = None
        self.last_good: Optional[float] = None


class Watch:
    """The probes of one service. `news` is set when an observation changed what they amount to."""

    def __init__(
        self,
        service: Service,
        host: Host,
        prober: Callable[[Probe], Step],
        healer: Any,
        phase: float = 0.0,
        network: Optional[NetworkWatch] = None,
    ) -> None:
        self.healer = healer
        self.service = service
        self.health: Dict[str, ProbeHealth] = healths.initial(service)
        self.verdict: Verdict = healths.judge(service, self.health)
        self.tally: Dict[str, Tally] = {probe.name: Tally() for probe in service.probes}
        self.news = False
        self.observed = False
        self.ours = False
        """Did an action of ours start the instance that `begin` is told of next? Then a failure unbroken until now goes on."""
        self.awaited = False
        """Is every answer news, also one that changes no verdict?"""
        self.close_until = -math.inf
        self.begun = 0.0
        self.wake = math.inf
        self._host = host
        self._prober = prober
        self._phase = phase
        self._probes = {probe.name: probe for probe in service.probes}
        self._grid: Dict[str, float] = {}
        self._next: Dict[str, float] = {}
        self._flying: Dict[str, Handle] = {}
        self._ended: Dict[str, float] = {}
        self._since = 0.0
        self._active = False
        self._after = service.slow.after
        self._network = network
        self._distant = frozenset(p.name for p in service.probes if network is not None and not on_this_host(p.target))
        self._held_back: Dict[str, Observation] = {}
        self._trends = {
            p.name: Trend(self._after, service.slow.window) for p in service.probes if service.slow.predict and p.role != "startup"
        }

    def begin(self, now: float, since: float, fresh: bool, delay: float = 0.0) -> None:
        """Watch an instance that really started at `since`. fresh: it is a new one, so that every counter starts afresh.

        Probes without an initial delay share one grid per period, so that a host wakes once for all that are due.
        """
        self.suspend()
        self._active = True
        self.begun = now
        self._since = since
        if fresh:
            self.health = healths.renewed(self.service, self.health) if self.ours else healths.initial(self.service)
            for trend in self._trends.values():
                trend.clear()
            self._judge()
        self.ours = False
        for name, probe in self._probes.items():
            first = max(now + delay, since + probe.initial_delay)
            if probe.kind == "exec" and now < self.close_until:
                first = max(first, self._close(probe, self._ended.get(name, -math.inf), now))
            self._grid[name] = first if probe.initial_delay else self._phase % probe.period
            self._next[name] = first if self._wanted(probe) else math.inf
        self._rewake()

    @property
    def active(self) -> bool:
        """Are probes being asked?"""
        return self._active

    @property
    def asked_since(self) -> Optional[float]:
        """Begin of the probe that has been waiting longest for its answer; None while none is."""
        return min((handle.started for handle in self._flying.values()), default=None)

    @property
    def quiet_until(self) -> float:
        """When the next probe is due; -inf while one is under way."""
        return -math.inf if self._flying else self.wake

    def suspend(self) -> None:
        """Ask nothing until `begin`: nothing stands there, or an action is under way."""
        self._active = False
        for handle in self._flying.values():
            self._host.cancel(handle)
        self._flying.clear()
        self._held_back.clear()
        self._next.clear()
        self.wake = math.inf

    def reset(self) -> None:
        """What was known was known of an instance that is no more."""
        self.health = healths.initial(self.service)
        self.ours = False
        self._judge()

    def restore(self, health: Dict[str, ProbeHealth]) -> None:
        """Take up what another process knew of the same instance."""
        self.health = health
        self._judge()

    def press(self, now: float) -> None:
        """An incident opened or an event came: ask again as soon as the close cadence allows."""
        for name, at in self._next.items():
            probe = self._probes[name]
            if name not in self._flying and name not in self._held_back and self._wanted(probe):
                self._next[name] = min(at, self._close(probe, self._ended.get(name, -math.inf), now))
        self._rewake()

    def pace(self, incident: Optional[Incident], do: Do, now: float) -> None:
        """Ask closely while it matters, after a decision to `do`: design §6."""
        if incident is None:
            self.close_until = -math.inf
            return
        if incident.phase in (Phase.ACTING, Phase.RETRYING, Phase.OBSERVING):
            self.close_until = math.inf
        else:
            last = now if do in (Do.ATTEMPT_OVER, Do.RELAPSE) else -math.inf
            self.close_until = max(incident.opened + CLOSE_AFTER_OPENING, last)
        if do in (Do.OPEN, Do.OBSERVE, Do.RELAPSE):
            self.press(now)

    @property
    def foretold(self) -> bool:
        """Is it degraded only because it soon will be?"""
        return self.verdict.state is healths.State.DEGRADED and not any(health.degraded for health in self.health.values())

    def slowness(self) -> Dict[str, Any]:
        """Which probes answer slowly, or soon will, for a record."""
        slow = [name for name, health in self.health.items() if health.degraded]
        coming = {name: trend.forecast for name, trend in self._trends.items() if trend.forecast is not None}
        told = {name: round(self.tally[name].latency * 1000) for name in slow or coming}
        data: Dict[str, Any] = {"reason": "slow", "after_ms": round(self._after * 1000), "latency_ms": told}
        if not slow and coming:
            data["predicted"] = True
            data["in_seconds"] = round(min(each.seconds for each in coming.values()))
            data["slope_ms_per_minute"] = {name: round(each.slope * 60000, 3) for name, each in coming.items()}
        return data

    def answers(self, offset: float) -> List[Dict[str, Any]]:
        """What each probe answered last, as plain data. `offset`: wall clock minus monotonic clock."""
        seen = [(name, tally.last) for name, tally in self.tally.items()]
        return [
            {
                "probe": name,
                "status": last.status,
                "reason": None if last.reason is None else str(last.reason),
                "detail": last.detail,
                "at": format_time(last.ended + offset),
                "latency_ms": round((last.ended - last.started) * 1000),
            }
            for name, last in seen
            if last is not None
        ]

    def start_due(self, now: float) -> None:
        """Start every probe that is due."""
        if now < self.wake:
            return
        for name, at in self._next.items():
            if at <= now:
                self._next[name] = math.inf
                probe = self._probes[name]
                self._flying[name] = self._host.start(self._prober(probe), now + probe.timeout, self)
                self._flying[name].tag = name
        self._rewake()

    def ended(self, handle: Handle) -> None:
        """A probe of ours has answered, failed, or could not run."""
        name = handle.tag
        if self._flying.get(name) is not handle:
            return  # it ended in the same cycle as something that made it pointless, and was cancelled too late
        del self._flying[name]
        seen = self._observation(name, handle)
        if seen.status == "bad" and name in self._distant and self._network is not None:
            self._held_back[name] = seen
            self._network.judge(seen.started, lambda down: self._judged(seen, down))
        else:
            self._take(seen)

    def _judged(self, seen: Observation, down: Optional[str]) -> None:
        """The network reference has answered: was a failure of something distant its own, or ours?"""
        if self._held_back.get(seen.probe) is not seen:
            return
        del self._held_back[seen.probe]
        self.healer.cut_off(down)
        self._take(seen if down is None else replace(seen, status="unknown", reason=Reason.OWN_NETWORK_DOWN, detail=down))
        self.healer.wake = -math.inf

    def _take(self, seen: Observation) -> None:
        name = seen.probe
        probe = self._probes[name]
        self._count(self.tally[name], seen)
        self.news = self.news or self.awaited
        before = self.health[name]
        after = healths.observe(probe, before, seen)
        if not self.observed and seen.status != "unknown":
            self.observed = True
            self.news = True
        foretold = self._foretell(seen)
        if after is not before or foretold:
            self.health[name] = after
            started = self.verdict.started
            self._judge()
            if self.verdict.started and not started:
                self._release(seen.ended)
        self._ended[name] = seen.ended
        if self._wanted(probe):
            self._next[name] = self._following(probe, seen, after)
        self._rewake()

    def _foretell(self, seen: Observation) -> bool:
        """Has what its latencies foretell changed? While it is asked closely nothing is foretold: an incident is no time to look ahead."""
        trend = self._trends.get(seen.probe)
        if trend is None or seen.status not in ("ok", "slow") or seen.ended < self.close_until:
            return False
        before = trend.forecast
        return (trend.add(seen.ended, seen.ended - seen.started) is None) is not (before is None)

    def _observation(self, name: str, handle: Handle) -> Observation:
        outcome, ended = handle.outcome, handle.ended
        if outcome is None or ended is None:
            raise ValueError("probe %s was reported as ended without an outcome" % name)
        status = outcome.status
        if status == "ok" and ended - handle.started > self._after:
            status = "slow"
        return Observation(name, status, handle.started, ended, outcome.reason, outcome.detail)

    def _count(self, tally: Tally, seen: Observation) -> None:
        tally.runs += 1
        tally.last = seen
        if seen.status in ("ok", "slow"):
            tally.good += 1
            tally.latency = seen.ended - seen.started
            tally.last_good = seen.ended
        elif seen.status == "bad":
            tally.bad += 1
        else:
            tally.unknown += 1

    def _judge(self) -> None:
        verdict = healths.judge(self.service, self.health)
        if verdict.state is healths.State.HEALTHY and any(trend.forecast is not None for trend in self._trends.values()):
            verdict = replace(verdict, state=healths.State.DEGRADED)
        self.verdict = verdict
        self.news = True

    def _wanted(self, probe: Probe) -> bool:
        return self._active and (probe.role == "startup") is not bool(self.verdict.started)

    def _release(self, now: float) -> None:
        """The startup probe has passed: the others begin now."""
        for name, probe in self._probes.items():
            if probe.role != "startup" and name not in self._flying:
                self._next[name] = max(now, self._since + probe.initial_delay)

    def _following(self, probe: Probe, seen: Observation, health: ProbeHealth) -> float:
        at = self._on_grid(probe, seen)
        if seen.ended < self.close_until:
            close = self._close(probe, seen.ended, seen.ended)
            return close if probe.kind == "exec" else min(at, close)
        confirming = probe.role != "startup" and probe.kind in CONFIRMED_KINDS and 0 < health.bad < probe.failure_threshold
        return min(at, seen.ended + self.service.confirm_period) if confirming else at

    def _on_grid(self, probe: Probe, seen: Observation) -> float:
        base = self._grid[probe.name]
        at = base + math.ceil((seen.ended - base) / probe.period) * probe.period
        # A thousandth of a period is no period: 3 * 0.2 is a little more than 0.6.
        return at if at - seen.started > probe.period * 0.001 else at + probe.period

    def _close(self, probe: Probe, ended: float, now: float) -> float:
        if probe.kind == "exec":
            return max(now, ended + min(EXEC_CLOSE, probe.period))
        return max(now, ended + CLOSE)

    def _rewake(self) -> None:
        self.wake = min(self._next.values(), default=math.inf)


__all__ = ["Tally", "Watch"]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people, load balancers and other machines are shown: plain data about the services and the daemon. Read-only."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from .._core.health import Observation, State
from .._core.model import Service
from .._core.times import format_time
from .._engine import explain
from .._engine.healer import Healer
from .rounds import Broken

WELL = frozenset((State.HEALTHY, State.DEGRADED))
"""States in which a service is ready for traffic."""
_WORST_FIRST = ("unhealthy", "not_ready", "unknown", "degraded", "stopped", "healthy")


class Uptime:
    """The share of the watched time in which a service was well. Unknown and stopped time counts neither way."""

    __slots__ = ("state", "since", "well", "total")

    def __init__(self, state: str, now: float) -> None:
        self.state = state
        self.since = now
        self.well = 0.0
        self.total = 0.0

    def become(self, state: str, now: float) -> None:
        self._settle(now)
        self.state = state

    def share(self, now: float) -> Optional[float]:
        """0 to 1; None before anything is known."""
        self._settle(now)
        return self.well / self.total if self.total > 0 else None

    def _settle(self, now: float) -> None:
        span, self.since = max(0.0, now - self.since), now
        if self.state in ("healthy", "degraded"):
            self.well += span
        if self.state not in ("unknown", "stopped"):
            self.total += span


def _status(seen: Optional[Observation]) -> str:
    if seen is None:
        return "unknown"
    return {"ok": "healthy", "slow": "degraded", "bad": "unhealthy"}.get(seen.status, "unknown")


def probes(healer: Healer, offset: float) -> List[Dict[str, Any]]:
    """Each probe of a service, as it last answered. `offset`: wall clock minus monotonic clock."""
    found = []
    for probe in healer.service.probes:
        tally = healer.watch.tally[probe.name]
        last = tally.last
        found.append(
            {
                "name": probe.name,
                "role": probe.role,
                "kind": probe.kind,
                "status": _status(last),
                "reason": str(last.reason) if last is not None and last.reason is not None else None,
                "detail": last.detail if last is not None else "",
                "latency_ms": round((last.ended - last.started) * 1000, 3) if last is not None else None,
                "last": format_time(last.ended + offset) if last is not None else None,
                "last_success": format_time(tally.last_good + offset) if tally.last_good is not None else None,
                "checks": {"ok": tally.good, "bad": tally.bad, "unknown": tally.unknown, "all": tally.runs},
            }
        )
    return found


def service(healer: Healer, ready: bool, uptime: Optional[Uptime], hold: Optional[str], now: float, offset: float) -> Dict[str, Any]:
    """One service: its state and what is being done about it."""
    answer = explain.now(healer, now, hold)
    shown = probes(healer, offset)
    answered = [probe["latency_ms"] for probe in shown if probe["role"] == "liveness" and probe["latency_ms"] is not None]
    share = uptime.share(now) if uptime is not None else None
    successes = [probe["last_success"] for probe in shown if probe["last_success"] is not None]
    incident = healer.memory.incident
    return {
        "name": healer.name,
        "state": answer["state"],
        "ready": ready,
        "rung": answer["rung"],
        "reason": answer["reason"],
        "sentence": answer["sentence"],
        "mode": healer.service.mode,
        "resource": healer.service.resource.kind,
        "pid": healer.instance.pid if healer.instance is not None else None,
        "held": hold,
        "incident": _incident(incident, offset) if incident is not None else None,
        "uptime_percent": round(share * 100, 4) if share is not None else None,
        "response_time_ms": max(answered) if answered else None,
        "checks": {key: sum(probe["checks"][key] for probe in shown) for key in ("ok", "bad", "unknown", "all")},
        "last_success": max(successes) if successes else None,
        "budget_remaining": budget(healer, now),
        "longest_start_seconds": round(healer.memory.longest_start, 3),
        "traffic": healer.memory.traffic if healer.service.fallback is not None else None,
        "breaker": str(healer.around.breaker()),
        "dependencies": [{"name": each.rules.name, "breaker": str(each.state.state)} for each in healer.around.dependencies],
        "probes": shown,
    }


def budget(healer: Healer, now: float) -> int:
    """How many actions the guard still allows."""
    limits = healer.service.guard
    return max(0, limits.actions - sum(1 for at in healer.memory.actions if at > now - limits.per))


def broken(each: Broken, now: float) -> Dict[str, Any]:
    """A service whose healer broke: nothing is known, and nothing is done until it is made anew."""
    words = "%s is not watched: its healer broke (%s); it is made anew in %.0f s"
    return unwatched(each.service, "internal_error", words % (each.service.name, each.problem, max(0.0, each.again - now)))


def unwatched(service: Service, reason: str, sentence: str) -> Dict[str, Any]:
    """A service about which nothing is known, in the shape of `service`."""
    return {
        "name": service.name,
        "state": "unknown",
        "ready": False,
        "rung": None,
        "reason": reason,
        "sentence": sentence,
        "mode": service.mode,
        "resource": service.resource.kind,
        "pid": None,
        "held": None,
        "incident": None,
        "uptime_percent": None,
        "response_time_ms": None,
        "checks": {"ok": 0, "bad": 0, "unknown": 0, "all": 0},
        "last_success": None,
        "budget_remaining": None,
        "longest_start_seconds": None,
        "traffic": None,
        "breaker": None,
        "dependencies": [],
        "probes": [],
    }


def _incident(incident: Any, offset: float) -> Dict[str, Any]:
    attempt = incident.attempt
    return {
        "id": incident.id,
        "phase": str(incident.phase),
        "reason": incident.cause,
        "failure_time": format_time(incident.failure_time),
        "paged": incident.paged,
        "continues": incident.continues,
        "probable_cause": incident.probable_cause,
        "probable_detail": incident.probable_detail,
        "attempt": None
        if attempt is None
        else {
            "rung": attempt.rung,
            "number": attempt.number,
            "begun": format_time(attempt.begun + offset),
            "outcome": attempt.outcome,
        },
    }


def counts(services: List[Dict[str, Any]]) -> Dict[str, int]:
    """How many are in which state, the worst first."""
    found = {state: sum(1 for each in services if each["state"] == state) for state in _WORST_FIRST}
    return {state: count for state, count in found.items() if count}


def badness(state: str) -> int:
    """The worse a state, the smaller."""
    return _WORST_FIRST.index(state)


def overall(services: List[Dict[str, Any]]) -> str:
    """The worst state there is; stopped on purpose is no fault. Nothing watched is unknown."""
    present = counts(services)
    for state in _WORST_FIRST:
        if state in present and state != "stopped":
            return state
    return "healthy" if present else "unknown"


__all__ = ["Uptime", "WELL", "badness", "broken", "budget", "counts", "overall", "probes", "service", "unwatched"]

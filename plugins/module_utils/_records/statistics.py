# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the timeline says in numbers: how often, how quickly noticed, how quickly recovered, by what."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional, Set

from .._core.times import format_time, parse_time

ACTIONS = ("start", "restart", "recreate", "redeploy", "rollback")
LONGEST = 1e14
"""Milliseconds that a span may have: 3,000 years. A timeline may come from a host that writes anything."""


def milliseconds(value: Any) -> Optional[float]:
    """A span as an event has it; None for what is none, such as NaN, or a number that no clock has counted to."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LONGEST else None


def _moment(value: Any) -> Optional[float]:
    try:
        return parse_time(value)
    except ValueError:
        return None


def spread(values: List[float]) -> Optional[Dict[str, float]]:
    """count, median, p95 (nearest rank) and max in whole milliseconds."""
    if not values:
        return None
    ordered = sorted(values)
    count = len(ordered)
    middle = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    p95 = ordered[-(-count * 95 // 100) - 1]
    return {"count": count, "median": round(middle), "p95": round(p95), "max": round(ordered[-1])}


class ServiceStatistics:
    """What one service went through, event by event in their order; `merge` takes in the same service of another host."""

    def __init__(self) -> None:
        self.opened: Dict[str, Optional[float]] = {}
        self.newest = ""
        self.older: Set[str] = set()
        """Incidents that were open when the period began."""
        self.recovered = 0
        self.pages = 0
        self.detect: List[float] = []
        self.recover: List[float] = []
        self.down = 0.0
        self.actions: Dict[str, Dict[str, int]] = {}
        self.last: Dict[str, str] = {}
        self.blocked: Dict[str, int] = {}
        self.flaps = 0
        self.relapses = 0
        self.span = 0.0

    def outcome(self, incident: str, outcome: str) -> None:
        """How the last action of that incident ended; its successor tells."""
        rung = self.last.pop(incident, None)
        if rung is not None:
            counts = self.actions[rung]
            counts["pending"] -= 1
            if not counts["pending"]:
                del counts["pending"]
            counts[outcome] = counts.get(outcome, 0) + 1

    def _end(self, incident: str, at: float) -> None:
        """It is over, and how long it took is not on record."""
        since = self.opened.get(incident)
        if since is not None:
            self.down += max(0.0, at - since)
            self.opened[incident] = None

    def _down(self, incident: str, took: float, ended: float) -> float:
        """How much of an outage of `took` seconds counts: nothing again of one that the next has superseded, of an older one its rest."""
        since = self.opened.get(incident, ended)
        if since is None:
            return 0.0
        return min(took, max(0.0, ended - since)) if incident in self.older else took

    def add(self, event: Mapping[str, Any], at: float) -> None:
        kind, named = event.get("type"), event.get("incident")
        incident = named if isinstance(named, str) else ""
        raw = event.get("data")
        data: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
        previous = data.get("previous")
        if isinstance(previous, dict) and (kind in ACTIONS or kind == "page"):
            self.outcome(incident, str(previous.get("outcome") or previous.get("reason") or "unknown"))
        if kind == "failure":
            # An incident is counted once, however often its failure is told (a relapse while observing, a restart of the watchdog).
            if incident not in self.opened:
                # A service has one incident at a time: one whose end is not on record was over when the next began.
                self._end(self.newest, at)
                self.newest = incident
                failed = _moment(data.get("failure_time"))
                self.opened[incident] = at if failed is None else failed
                if failed is not None and at >= failed:
                    self.detect.append((at - failed) * 1000)
                self.relapses += 1 if data.get("continues") else 0
        elif kind in ACTIONS:
            self.outcome(incident, "unknown")
            rung = str(data.get("rung") or kind)
            counts = self.actions.setdefault(rung, {"total": 0})
            counts["total"] += 1
            counts["pending"] = counts.get("pending", 0) + 1
            self.last[incident] = rung
        elif kind == "recover":
            self.outcome(incident, "recovered")
            self.recovered += 1
            took = milliseconds(data.get("recovery_duration_ms"))
            if took is not None:
                self.recover.append(took)
                self.down += self._down(incident, took / 1000, _moment(data.get("recovery_time")) or at)
            self.opened[incident] = None
        elif kind == "state_reset" and incident:
            # Another boot has closed it; nobody saw it recover.
            self.outcome(incident, "unknown")
            self._end(incident, at)
        elif kind == "page":
            self.pages += 1
            self.flaps += 1 if data.get("reason") == "flapping" else 0
        elif kind == "blocked":
            reason = str(data.get("reason") or "unknown")
            self.blocked[reason] = self.blocked.get(reason, 0) + 1

    def close(self, begin: float, end: float) -> None:
        """The period is over: what is still open was down to its end."""
        still_open = sum(end - since for since in self.opened.values() if since is not None and end > since)
        self.span = end - begin
        # Two incidents of one service never overlap, so downtimes add up; a fault older than the period counts within it only.
        self.down = min(self.span, self.down + still_open)

    def merge(self, other: ServiceStatistics) -> None:
        """Both must be closed. Their incidents bear the names of their hosts no more, so those of `other` are kept apart by a prefix."""
        mark = "%d " % len(self.opened)
        self.opened.update({mark + incident: since for incident, since in other.opened.items()})
        for name in ("recovered", "pages", "flaps", "relapses", "down", "span"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.detect += other.detect
        self.recover += other.recover
        for rung, counts in other.actions.items():
            _add(self.actions.setdefault(rung, {}), counts)
        _add(self.blocked, other.blocked)

    def result(self) -> Dict[str, Any]:
        incidents = len(self.opened)
        return {
            "incidents": incidents,
            "open": sum(1 for since in self.opened.values() if since is not None),
            "recovered": self.recovered,
            "mttd_ms": spread(self.detect),
            "mttr_ms": spread(self.recover),
            "mtbf_ms": round((self.span - self.down) / incidents * 1000) if incidents else None,
            "actions": self.actions,
            "pages": self.pages,
            "flaps": self.flaps,
            "relapses": self.relapses,
            "blocked": self.blocked,
            "availability": round(1 - self.down / self.span, 6) if self.span > 0 else None,
        }


def _add(counts: Dict[str, int], others: Mapping[str, int]) -> None:
    for name, count in others.items():
        counts[name] = counts.get(name, 0) + count


class Statistics:
    """All services of one timeline, in one pass. `begin`, `end`: seconds since the epoch, None before the first event."""

    def __init__(self) -> None:
        self.services: Dict[str, ServiceStatistics] = {}
        self.events = 0
        self.begin: Optional[float] = None
        self.end: Optional[float] = None

    def add(self, event: Mapping[str, Any]) -> Optional[float]:
        """Count an event; when it was, in seconds since the epoch, or None for one without a time, which does not count."""
        at = _moment(event.get("timestamp"))
        if at is None:
            return None
        self.events += 1
        self.begin = at if self.begin is None else min(self.begin, at)
        self.end = at if self.end is None else max(self.end, at)
        name = event.get("service")
        if isinstance(name, str):
            found = self.services.get(name)
            if found is None:
                found = self.services[name] = ServiceStatistics()
            found.add(event, at)
        return at

    def standing(self, service: str, incident: str, at: float) -> None:
        """An incident that was open when the period began, at `at`: it counts from then on, and was detected before."""
        self.begin = at if self.begin is None else min(self.begin, at)
        self.end = at if self.end is None else max(self.end, at)
        found = self.services.setdefault(service, ServiceStatistics())
        found.opened[incident] = at
        found.newest = incident
        found.older.add(incident)

    def close(self, end: Optional[float] = None) -> None:
        """Everything was counted; the period ends with the last event, or at `end`."""
        if self.begin is None or self.end is None:
            return
        self.end = self.end if end is None else max(end, self.end)
        for service in self.services.values():
            service.close(self.begin, self.end)


def statistics(events: Iterable[Mapping[str, Any]]) -> Dict[str, Any]:
    """``{from, to, events, services: {name: {...}}}`` of events in their order; all times in milliseconds.

    mttd: from data.failure_time to the event that tells of the failure. mttr: data.recovery_duration_ms (monotonic, from the
    failure until recovery held). mtbf: the time without an incident, shared among the incidents. availability: the share of from…to in
    which no incident of the service was open. flaps: pages because the service flapped. relapses: incidents that went on with an
    earlier one.
    """
    found = Statistics()
    for event in events:
        found.add(event)
    if found.begin is None or found.end is None:
        return {"from": None, "to": None, "events": 0, "services": {}}
    found.close()
    return {
        "from": format_time(found.begin),
        "to": format_time(found.end),
        "events": found.events,
        "services": {name: found.services[name].result() for name in sorted(found.services)},
    }


__all__ = ["ACTIONS", "LONGEST", "ServiceStatistics", "Statistics", "milliseconds", "spread", "statistics"]

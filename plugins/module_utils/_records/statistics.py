# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the timeline says in numbers: how often, how quickly noticed, how quickly recovered, by what."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional

from .._core.times import format_time, parse_time

ACTIONS = ("start", "restart", "recreate", "redeploy", "rollback")


def _number(value: Any) -> Optional[float]:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 else None


def _moment(value: Any) -> Optional[float]:
    try:
        return parse_time(value)
    except ValueError:
        return None


def _spread(values: List[float]) -> Optional[Dict[str, float]]:
    """count, median, p95 (nearest rank) and max in whole milliseconds."""
    if not values:
        return None
    ordered = sorted(values)
    count = len(ordered)
    middle = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    p95 = ordered[-(-count * 95 // 100) - 1]
    return {"count": count, "median": round(middle), "p95": round(p95), "max": round(ordered[-1])}


class _Service:
    def __init__(self) -> None:
        self.opened: Dict[str, Optional[float]] = {}
        self.recovered = 0
        self.pages = 0
        self.detect: List[float] = []
        self.recover: List[float] = []
        self.down = 0.0
        self.actions: Dict[str, Dict[str, int]] = {}
        self.last: Dict[str, str] = {}
        self.blocked: Dict[str, int] = {}

    def outcome(self, incident: str, outcome: str) -> None:
        """How the last action of that incident ended; its successor tells."""
        rung = self.last.pop(incident, None)
        if rung is not None:
            counts = self.actions[rung]
            counts["pending"] -= 1
            if not counts["pending"]:
                del counts["pending"]
            counts[outcome] = counts.get(outcome, 0) + 1

    def add(self, event: Mapping[str, Any], at: float) -> None:
        kind, incident = event.get("type"), event.get("incident") or ""
        raw = event.get("data")
        data: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
        previous = data.get("previous")
        if isinstance(previous, Mapping) and (kind in ACTIONS or kind == "page"):
            self.outcome(incident, str(previous.get("outcome") or previous.get("reason") or "unknown"))
        if kind == "failure":
            # An incident is counted once, however often its failure is told (a relapse while observing, a restart of the watchdog).
            if incident not in self.opened:
                failed = _moment(data.get("failure_time"))
                self.opened[incident] = at if failed is None else failed
                if failed is not None and at >= failed:
                    self.detect.append((at - failed) * 1000)
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
            took = _number(data.get("recovery_duration_ms"))
            if took is not None:
                self.recover.append(took)
                self.down += took / 1000
            self.opened[incident] = None
        elif kind == "page":
            self.pages += 1
        elif kind == "blocked":
            reason = str(data.get("reason") or "unknown")
            self.blocked[reason] = self.blocked.get(reason, 0) + 1

    def result(self, begin: float, end: float) -> Dict[str, Any]:
        still_open = sum(end - since for since in self.opened.values() if since is not None and end > since)
        span = end - begin
        # Two incidents of one service never overlap, so downtimes add up; a fault older than the period counts within it only.
        down = min(span, self.down + still_open)
        return {
            "incidents": len(self.opened),
            "open": sum(1 for since in self.opened.values() if since is not None),
            "recovered": self.recovered,
            "mttd_ms": _spread(self.detect),
            "mttr_ms": _spread(self.recover),
            "actions": self.actions,
            "pages": self.pages,
            "blocked": self.blocked,
            "availability": round(1 - down / span, 6) if span > 0 else None,
        }


def statistics(events: Iterable[Mapping[str, Any]]) -> Dict[str, Any]:
    """``{from, to, events, services: {name: {...}}}`` of events in their order; all times in milliseconds.

    mttd: from data.failure_time to the event that tells of the failure. mttr: data.recovery_duration_ms (monotonic, from the
    failure until recovery held). availability: the share of from…to in which no incident of the service was open.
    """
    services: Dict[str, _Service] = {}
    count, begin, end = 0, None, None
    for event in events:
        at = _moment(event.get("timestamp"))
        if at is None:
            continue
        count += 1
        begin = at if begin is None else min(begin, at)
        end = at if end is None else max(end, at)
        name = event.get("service")
        if isinstance(name, str):
            services.setdefault(name, _Service()).add(event, at)
    if begin is None or end is None:
        return {"from": None, "to": None, "events": 0, "services": {}}
    return {
        "from": format_time(begin),
        "to": format_time(end),
        "events": count,
        "services": {name: services[name].result(begin, end) for name in sorted(services)},
    }


__all__ = ["statistics"]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the timelines of a fleet say together. Goes through them one event at a time, so that memory follows the incidents, not the events.

Note that this is a private utility of this collection; other collections must not import it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.faultline.selfheal.plugins.module_utils._core.times import format_time, parse_time
from ansible_collections.faultline.selfheal.plugins.module_utils._records.statistics import ACTIONS, ServiceStatistics, Statistics
from ansible_collections.faultline.selfheal.plugins.plugin_utils._mirror import TAMPERING, Mirror

SHOWN = 5000
"""So many incidents, the newest, are in the page and in the JSON; the CSV has all."""
BUCKETS = 240
STEPS = 40


@dataclass
class Incident:
    """One incident as it is told. Times are seconds since the epoch.

    `outcome`: open, recovered, or closed without a proof (the host rebooted).
    """

    host: str
    service: str
    name: str
    failed: float
    detected: float | None = None
    ended: float | None = None
    took_ms: float | None = None
    outcome: str = "open"
    reason: str = ""
    cause: str = ""
    paged: str = ""
    steps: list[tuple[float, str]] = field(default_factory=list)

    def as_data(self) -> dict[str, Any]:
        return {
            "host": self.host,
            "service": self.service,
            "incident": self.name,
            "failure_time": format_time(self.failed),
            "detected_ms": None if self.detected is None else round((self.detected - self.failed) * 1000),
            "recovery_time": None if self.ended is None else format_time(self.ended),
            "recovery_duration_ms": self.took_ms,
            "outcome": self.outcome,
            "reason": self.reason,
            "cause": self.cause,
            "paged": self.paged,
            "steps": [{"at": format_time(at), "type": type} for at, type in self.steps],
        }


class Incidents:
    """Puts the events of one host together to incidents; each is handed to `over` when nothing more is to come."""

    def __init__(self, host: str, over: Callable[[Incident], None]) -> None:
        self._host = host
        self._over = over
        self._open: dict[str, Incident] = {}

    def add(self, event: Mapping[str, Any], at: float) -> None:
        name = event.get("incident")
        if not isinstance(name, str):
            return
        type, data = str(event.get("type", "")), event.get("data")
        data = data if isinstance(data, dict) else {}
        found = self._open.get(name)
        if found is None:
            # What comes after the end (a page taken back, a bundle) begins no new one.
            if type not in ("failure", "page", "blocked", "failover") and type not in ACTIONS:
                return
            found = self._begin(name, str(event.get("service") or ""), _moment(data.get("failure_time"), at))
        if type == "failure":
            if found.detected is None:
                found.detected = max(at, found.failed)
            found.reason = found.reason or str(data.get("reason") or "")
        elif type == "page":
            found.paged = found.paged or str(data.get("reason") or "yes")
        found.cause = str(data.get("cause") or found.cause)
        if type in ACTIONS or type in ("failover", "failback", "blocked", "page") and len(found.steps) < STEPS:
            found.steps.append((at, type))
        if type == "recover":
            found.ended, found.outcome = _moment(data.get("recovery_time"), at), "recovered"
            took = data.get("recovery_duration_ms")
            found.took_ms = took if isinstance(took, (int, float)) and not isinstance(took, bool) else None
            self._over(self._open.pop(name))
        elif type == "state_reset":
            found.ended, found.outcome = at, "closed"
            self._over(self._open.pop(name))

    def _begin(self, name: str, service: str, failed: float) -> Incident:
        # A service has one incident at a time: one whose end is not on record was over when the next began.
        for other in [each for each in self._open.values() if each.service == service]:  # few are open at a time
            other.ended, other.outcome = max(failed, other.failed), "closed"
            self._over(self._open.pop(other.name))
        found = self._open[name] = Incident(self._host, service, name, failed)
        return found

    def close(self) -> None:
        """What is left is open still."""
        for incident in self._open.values():
            self._over(incident)
        self._open = {}


@dataclass
class HostReport:
    """`chain`: intact, tampered, gap (events were lost to retention) or unknown (nothing was fetched). `note`: why it was not reached."""

    host: str
    chain: str
    note: str
    head: Mapping[str, Any]
    faults: list[dict[str, Any]]
    statistics: Statistics

    def as_data(self) -> dict[str, Any]:
        found = self.statistics
        return {
            "host": self.host,
            "chain": self.chain,
            "note": self.note,
            "head": dict(self.head),
            "faults": self.faults,
            "events": found.events,
            "from": None if found.begin is None else format_time(found.begin),
            "to": None if found.end is None else format_time(found.end),
            "services": {name: service.result() for name, service in sorted(found.services.items())},
        }


class Fleet:
    """All hosts of a report. `begin`, `end`: the period, seconds since the epoch. `heard(incident)` is told of every incident."""

    def __init__(self, begin: float, end: float, heard: Callable[[Incident], None]) -> None:
        self.begin = begin
        self.end = end
        self.hosts: list[HostReport] = []
        self.lanes: dict[tuple[str, str], dict[int, int]] = {}
        """By host and service: how many incidents began in each of `BUCKETS` parts of the period."""
        self.incidents = 0
        self._heard = heard
        self._newest: list[tuple[float, int, Incident]] = []

    def add(self, mirror: Mirror, note: str = "") -> HostReport:
        """Read one host's copy. `note`: why the host could not be asked this time, if so. Raises RecordError."""
        found, story = Statistics(), Incidents(mirror.host, self._over)
        for event in mirror.events(since=format_time(self.begin)):
            at = found.add(event)
            if at is not None:
                story.add(event, at)
        story.close()
        found.close(self.end if found.begin is not None else None)
        faults = [each for each in mirror.faults() if _moment(each.get("at"), self.end) >= self.begin]
        head = mirror.head
        kinds = {each["kind"] for each in faults}
        chain = "tampered" if kinds & set(TAMPERING) else "gap" if kinds else "intact" if head.seq else "unknown"
        report = HostReport(mirror.host, chain, note, head._asdict(), faults, found)
        self.hosts.append(report)
        return report

    def _over(self, incident: Incident) -> None:
        self.incidents += 1
        self._heard(incident)
        share = (incident.failed - self.begin) / max(1.0, self.end - self.begin)
        lane = self.lanes.setdefault((incident.host, incident.service), {})
        bucket = min(BUCKETS - 1, max(0, int(share * BUCKETS)))
        lane[bucket] = lane.get(bucket, 0) + 1
        push = heapq.heappush if len(self._newest) < SHOWN else heapq.heappushpop
        push(self._newest, (incident.failed, self.incidents, incident))

    @property
    def newest(self) -> list[Incident]:
        """The newest incidents, the newest first."""
        return [incident for _failed, _number, incident in sorted(self._newest, key=lambda each: each[:2], reverse=True)]

    def services(self) -> dict[str, dict[str, Any]]:
        """Each service over all its hosts."""
        merged: dict[str, ServiceStatistics] = {}
        hosts: dict[str, int] = {}
        for host in self.hosts:
            for name, service in host.statistics.services.items():
                merged.setdefault(name, ServiceStatistics()).merge(service)
                hosts[name] = hosts.get(name, 0) + 1
        return {name: {"hosts": hosts[name], **merged[name].result()} for name in sorted(merged)}

    def total(self) -> dict[str, Any]:
        """Everything together."""
        merged = ServiceStatistics()
        for host in self.hosts:
            for service in host.statistics.services.values():
                merged.merge(service)
        result = merged.result()
        result["rungs"] = {rung: rate(counts) for rung, counts in sorted(result["actions"].items())}
        return result


def rate(counts: Mapping[str, int]) -> dict[str, Any]:
    """How often a rung helped, of the times of which the end is known."""
    known = counts.get("total", 0) - counts.get("pending", 0)
    helped = counts.get("recovered", 0)
    return {"total": counts.get("total", 0), "recovered": helped, "rate": round(helped / known, 4) if known else None}


def as_data(fleet: Fleet, now: float, title: str) -> dict[str, Any]:
    """The report as JSON has it."""
    hosts = [host.as_data() for host in sorted(fleet.hosts, key=_worst_first)]
    return {
        "schema": 1,
        "title": title,
        "generated": format_time(now),
        "from": format_time(fleet.begin),
        "to": format_time(fleet.end),
        "total": {
            "hosts": len(hosts),
            "unreached": sum(1 for host in hosts if host["note"]),
            "chains": counted(host["chain"] for host in hosts),
            "events": sum(host["events"] for host in hosts),
            **fleet.total(),
        },
        "services": fleet.services(),
        "hosts": hosts,
        "incidents_shown": min(fleet.incidents, SHOWN),
        "incidents": [incident.as_data() for incident in fleet.newest],
    }


def counted(values: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for value in values:
        found[value] = found.get(value, 0) + 1
    return found


def _worst_first(host: HostReport) -> tuple[int, str]:
    return ("tampered", "unknown", "gap", "intact").index(host.chain), host.host


def _moment(text: Any, otherwise: float) -> float:
    try:
        return parse_time(text)
    except ValueError:
        return otherwise


__all__ = ["BUCKETS", "Fleet", "HostReport", "Incident", "Incidents", "SHOWN", "as_data", "counted", "rate"]

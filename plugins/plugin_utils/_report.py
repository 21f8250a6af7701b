# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the timelines of a fleet say together. Goes through them one event at a time, so that memory follows the incidents, not the events.

Note that this is a private utility of this collection; other collections must not import it.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.faultline.selfheal.plugins.module_utils._core.times import format_time
from ansible_collections.faultline.selfheal.plugins.module_utils._records.statistics import ACTIONS, ServiceStatistics, Statistics
from ansible_collections.faultline.selfheal.plugins.plugin_utils._incidents import Incident, Incidents, Mark, mark, moment
from ansible_collections.faultline.selfheal.plugins.plugin_utils._mirror import TAMPERING, Mirror

SHOWN = 5000
"""So many incidents, the newest, are in the page and in the JSON; the CSV has all. As many events beside them."""
BUCKETS = 240
LIMITS = (100, 300, 1000, 3000, 10_000, 30_000, 60_000, 300_000, 1_800_000)
"""Milliseconds. Recoveries are counted by the first of these that they do not exceed, and those that exceed all."""


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


class Newest:
    """The newest of what is added, and how much there was."""

    def __init__(self, most: int) -> None:
        self.count = 0
        self._most = most
        self._heap: list[tuple[float, int, Any]] = []

    def add(self, at: float, what: Incident | Mark) -> None:
        self.count += 1
        push = heapq.heappush if len(self._heap) < self._most else heapq.heappushpop
        push(self._heap, (at, self.count, what))

    def all(self) -> list[Any]:
        """The newest first."""
        return [what for _at, _count, what in sorted(self._heap, key=lambda each: each[:2], reverse=True)]


class Fleet:
    """All hosts of a report. `begin`, `end`: the period, seconds since the epoch. `heard(incident)` is told of every incident."""

    def __init__(self, begin: float, end: float, heard: Callable[[Incident], None]) -> None:
        self.begin = begin
        self.end = end
        self.hosts: list[HostReport] = []
        self.lanes: dict[tuple[str, str], dict[int, int]] = {}
        """By host and service: how many incidents began in each of `BUCKETS` parts of the period."""
        self.incidents = Newest(SHOWN)
        self.marks = Newest(SHOWN)
        self.paged = 0
        """Incidents of which a person was told."""
        self._heard = heard

    def add(self, mirror: Mirror, note: str = "") -> HostReport:
        """Read one host's copy. `note`: why the host could not be asked this time, if so. Raises RecordError."""
        found, story = Statistics(), Incidents(mirror.host, self._over)

        def standing(event: dict[str, Any]) -> None:
            found.standing(event["service"], event["incident"], self.begin)
            story.add(event, moment(event.get("timestamp"), self.begin))

        for event in mirror.events(format_time(self.begin), standing):
            at = found.add(event)
            if at is None:
                continue
            story.add(event, at)
            beside = mark(mirror.host, event, at)
            if beside is not None:
                self.marks.add(at, beside)
        story.close()
        found.close(self.end if found.begin is not None else None)
        faults = [each for each in mirror.faults() if moment(each.get("at"), self.end) >= self.begin]
        head = mirror.head
        kinds = {each["kind"] for each in faults}
        chain = "tampered" if kinds & set(TAMPERING) else "gap" if kinds else "intact" if head.seq else "unknown"
        report = HostReport(mirror.host, chain, note, head._asdict(), faults, found)
        self.hosts.append(report)
        return report

    def _over(self, incident: Incident) -> None:
        self.paged += 1 if incident.paged else 0
        self._heard(incident)
        share = (incident.failed - self.begin) / max(1.0, self.end - self.begin)
        lane = self.lanes.setdefault((incident.host, incident.service), {})
        bucket = min(BUCKETS - 1, max(0, int(share * BUCKETS)))
        lane[bucket] = lane.get(bucket, 0) + 1
        self.incidents.add(incident.failed, incident)

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
        result["paged"] = self.paged
        result["rungs"] = {rung: rate(counts) for rung, counts in sorted(result["actions"].items(), key=lambda each: _climb(each[0]))}
        result["recoveries"] = spans(merged.recover)
        return result


def _climb(rung: str) -> tuple[int, str]:
    return (ACTIONS.index(rung) if rung in ACTIONS else len(ACTIONS)), rung


def spans(milliseconds: Iterable[float]) -> list[dict[str, Any]]:
    """How many were within each of `LIMITS`, and beyond the one before; `up_to_ms` is null for those beyond all."""
    counts = [0] * (len(LIMITS) + 1)
    for each in milliseconds:
        counts[bisect.bisect_left(LIMITS, each)] += 1
    return [{"up_to_ms": limit, "count": count} for limit, count in zip((*LIMITS, None), counts)]


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
        "incidents_shown": min(fleet.incidents.count, SHOWN),
        "incidents": [incident.as_data() for incident in fleet.incidents.all()],
        "marks_total": fleet.marks.count,
        "marks": [beside.as_data() for beside in fleet.marks.all()],
    }


def counted(values: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for value in values:
        found[value] = found.get(value, 0) + 1
    return found


def _worst_first(host: HostReport) -> tuple[int, str]:
    return ("tampered", "unknown", "gap", "intact").index(host.chain), host.host


__all__ = ["BUCKETS", "Fleet", "HostReport", "LIMITS", "Newest", "SHOWN", "as_data", "counted", "rate", "spans"]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts what is recorded on its way to the timeline, for the metrics, and keeps the newest incidents for people.

Counters begin at zero with the process, as Prometheus expects.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from .._engine.ports import Records, Relayed, Stored
from .stories import Stories

BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Upper bounds of `selfheal_recovery_seconds`."""
MOST_STORIES = 50
"""So many incidents are kept in memory, for the status page."""
RUNGS = frozenset(("start", "restart", "recreate", "redeploy", "rollback"))


class Histogram:
    """Cumulative by bucket when rendered; `counts` has one more than `BUCKETS`, for what exceeds them."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[next((index for index, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))] += 1
        self.total += seconds


class Ledger(Relayed):
    """Records that are counted. `told(event type, service, data)` is called with every event."""

    def __init__(self, records: Records, told: Callable[[str, Optional[str], Dict[str, Any]], None]) -> None:
        super().__init__(records)
        self.actions: Dict[Tuple[str, str, str, str], int] = {}
        self.blocked: Dict[Tuple[str, str], int] = {}
        self.incidents: Dict[str, int] = {}
        self.recoveries: Dict[str, Histogram] = {}
        self.events = 0
        self.stories = Stories(MOST_STORIES)
        self.taken_up: Dict[str, str] = {}
        """By service: the instance that a process before this one knew."""
        self._told = told
        self._under_way: Dict[str, List[Any]] = {}

    def record(
        self,
        type: str,
        service: Optional[str] = None,
        incident: Optional[str] = None,
        source: str = "watchdog",
        data: Optional[Dict[str, Any]] = None,
    ) -> Optional[Mapping[str, Any]]:
        written = self._records.record(type, service, incident, source, data)
        self.events += 1
        self._count(type, service or "", data or {})
        if incident is not None:
            event = {"service": service, "incident": incident, "type": type, "source": source, "data": data or {}, "timestamp": None}
            self.stories.take(written or event)
        self._told(type, service, data or {})
        return written

    def save(self, service: str, data: Dict[str, Any]) -> None:
        self._records.save(service, data)
        self._settle(service, data)

    def load(self, service: str) -> Optional[Stored]:
        stored = self._records.load(service)
        memory = stored.data.get("memory") if stored is not None and stored.same_boot else None
        instance = memory.get("instance") if isinstance(memory, dict) else None
        if isinstance(instance, str):
            self.taken_up[service] = instance
        return stored

    def _count(self, type: str, service: str, data: Dict[str, Any]) -> None:
        if type == "failure":
            self.incidents[service] = self.incidents.get(service, 0) + 1
        elif type == "recover":
            self.recoveries.setdefault(service, Histogram()).add(float(data.get("recovery_duration_ms", 0)) / 1000.0)
        elif type == "blocked":
            key = service, str(data.get("reason", ""))
            self.blocked[key] = self.blocked.get(key, 0) + 1
        elif type in RUNGS:
            self._under_way[service] = [str(data.get("rung", type)), str(data.get("reason", "")), None]
            if not data.get("attempt"):
                self._act(service, "begun")

    def _act(self, service: str, outcome: str) -> None:
        rung, reason, _begun = self._under_way.pop(service)
        key = service, rung, reason, outcome
        self.actions[key] = self.actions.get(key, 0) + 1

    def _settle(self, service: str, data: Dict[str, Any]) -> None:
        """An action's outcome stands in the state that is saved when it has ended."""
        if service not in self._under_way:
            return
        incident = (data.get("memory") or {}).get("incident") or {}
        attempt = incident.get("attempt") or {}
        if attempt.get("outcome") is not None:
            self._act(service, str(attempt["outcome"]))


__all__ = ["BUCKETS", "Histogram", "Ledger"]

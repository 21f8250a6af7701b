# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The events of one host put together to incidents, and the events beside them that people want to see them against.

Note that this is a private utility of this collection; other collections must not import it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.faultline.selfheal.plugins.module_utils._core.times import format_time, parse_time
from ansible_collections.faultline.selfheal.plugins.module_utils._records.statistics import ACTIONS, milliseconds

STEPS = 40
LONGEST = 160
"""Characters of what an event beside the incidents has to say."""
_BEGINNINGS = frozenset((*ACTIONS, "failure", "page", "blocked", "failover"))
_SHOWN = frozenset(("failover", "failback", "blocked", "page"))
_ACTIONS = frozenset(ACTIONS)
MARKS = frozenset(
    (
        "approve",
        "container_remove",
        "contract_refused",
        "deployment_fail",
        "deployment_phase",
        "deployment_resume",
        "fault_inject",
        "hold",
        "lease_takeover",
        "log_prune",
        "log_repair",
        "note",
        "override",
        "state_reset",
        "symlink_repair",
        "unhold",
        "watchdog_start",
        "watchdog_stop",
    )
)
"""What is shown beside incidents: what may have made them, and what people did. Of deployments the end only."""
_SAID = ("release", "id", "fault", "text", "link", "problem", "detail", "owner", "reason", "phase")


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

    @property
    def detected_ms(self) -> int | None:
        return None if self.detected is None else round((self.detected - self.failed) * 1000)

    def as_data(self) -> dict[str, Any]:
        return {
            "host": self.host,
            "service": self.service,
            "incident": self.name,
            "failure_time": format_time(self.failed),
            "detected_ms": self.detected_ms,
            "recovery_time": None if self.ended is None else format_time(self.ended),
            "recovery_duration_ms": self.took_ms,
            "outcome": self.outcome,
            "reason": self.reason,
            "cause": self.cause,
            "paged": self.paged,
            "steps": [{"at": format_time(at), "type": type} for at, type in self.steps],
        }


@dataclass(frozen=True)
class Mark:
    """One event beside the incidents. `service` is empty for one about the host."""

    host: str
    service: str
    at: float
    type: str
    detail: str

    def as_data(self) -> dict[str, Any]:
        return {"host": self.host, "service": self.service, "at": format_time(self.at), "type": self.type, "detail": self.detail}


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
            if type not in _BEGINNINGS:
                return
            found = self._begin(name, str(event.get("service") or ""), moment(data.get("failure_time"), at))
        cause = data.get("cause")
        if cause:
            found.cause = str(cause)
        if type in _ACTIONS:
            found.steps.append((at, type))
        elif type == "failure":
            if found.detected is None:
                found.detected = max(at, found.failed)
            found.reason = found.reason or str(data.get("reason") or "")
        elif type == "recover":
            found.ended, found.outcome = moment(data.get("recovery_time"), at), "recovered"
            took = data.get("recovery_duration_ms")
            found.took_ms = took if milliseconds(took) is not None else None
            self._over(self._open.pop(name))
        elif type == "state_reset":
            found.ended, found.outcome = at, "closed"
            self._over(self._open.pop(name))
        elif type in _SHOWN:
            if type == "page":
                found.paged = found.paged or str(data.get("reason") or "yes")
            if len(found.steps) < STEPS:
                found.steps.append((at, type))

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


def mark(host: str, event: Mapping[str, Any], at: float) -> Mark | None:
    """The event, if it is one of `MARKS`."""
    type = event.get("type")
    if not isinstance(type, str) or type not in MARKS:
        return None
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    if type == "deployment_phase" and data.get("phase") != "active":
        return None
    said = ": ".join(str(data[key]) for key in _SAID if isinstance(data.get(key), (str, int)) and data[key] != "")
    return Mark(host, str(event.get("service") or data.get("project") or ""), at, type, said[:LONGEST])


def moment(text: Any, otherwise: float) -> float:
    """Seconds since the epoch of what a host wrote as a time; `otherwise` where it is none."""
    if text is None:
        return otherwise
    try:
        return parse_time(text)
    except ValueError:
        return otherwise


__all__ = ["Incident", "Incidents", "MARKS", "Mark", "mark", "moment"]

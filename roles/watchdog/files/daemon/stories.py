# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Incidents put together from the events of a timeline, one after the other, as they come."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

ACTIONS = frozenset(("start", "restart", "recreate", "redeploy", "rollback"))


class Stories:
    """What became of each incident. most: the oldest closed ones are forgotten beyond so many; None keeps all."""

    def __init__(self, most: Optional[int] = None) -> None:
        self._most = most
        self._found: Dict[str, Dict[str, Any]] = {}

    def take(self, event: Mapping[str, Any]) -> None:
        """Take the next event in."""
        name = event.get("incident")
        if name is None:
            return
        if name not in self._found:
            self._found[name] = _untold(str(name), event)
            self._forget()
        _tell(self._found[name], event)

    def newest(self, count: Optional[int] = None) -> List[Dict[str, Any]]:
        """``[{incident, service, failure_time, reason, outcome, paged, continues, steps, recovery_duration_ms, probable_cause,
        probable_detail, diagnostics}]``, the oldest first.

        outcome: open, recovered or closed_by_reboot. diagnostics: the path of its bundle. An incident whose failure is older than
        the events begins with what is known.
        """
        found = list(self._found.values())
        return found if count is None else found[len(found) - min(count, len(found)) :]

    def _forget(self) -> None:
        if self._most is None or len(self._found) <= self._most:
            return
        closed = (name for name, each in self._found.items() if each["outcome"] != "open")
        oldest = next(closed, None) or next(iter(self._found))
        del self._found[oldest]


def _untold(name: str, event: Mapping[str, Any]) -> Dict[str, Any]:
    return {
        "incident": name,
        "service": event.get("service"),
        "failure_time": None,
        "reason": None,
        "outcome": "open",
        "paged": None,
        "continues": None,
        "steps": [],
        "recovery_duration_ms": None,
        "probable_cause": None,
        "probable_detail": None,
        "diagnostics": None,
    }


def _tell(incident: Dict[str, Any], event: Mapping[str, Any]) -> None:
    data, type = event.get("data") or {}, event["type"]
    incident.update({key: data[key] for key in ("probable_cause", "probable_detail", "diagnostics") if data.get(key)})
    if incident["failure_time"] is None:
        incident["failure_time"] = data.get("failure_time", event["timestamp"])
    if type == "failure":
        incident.update(reason=data.get("reason"), continues=data.get("continues"))
    elif type in ACTIONS:
        incident["steps"].append({"type": type, "attempt": data.get("attempt"), "at": event["timestamp"], "source": event["source"]})
    elif type == "page":
        incident["paged"] = data.get("reason")
        incident["reason"] = incident["reason"] or data.get("reason")
    elif type == "recover":
        incident.update(outcome="recovered", recovery_duration_ms=data.get("recovery_duration_ms"))
    elif type == "page_resolved" and event.get("service") is None:
        incident["outcome"] = "recovered"  # a storm is over when that is told
    elif type == "state_reset":
        incident["outcome"] = "closed_by_reboot"


__all__ = ["ACTIONS", "Stories"]

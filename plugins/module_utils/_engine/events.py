# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which timeline events a decision leaves behind, and what each says."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional

from .._core.decide import Decision, Do
from .._core.guards import Facts
from .._core.incident import Incident
from .._core.memory import Memory
from .._core.reasons import Reason
from .._core.times import format_time as iso
from .standing import Standing


class Event(NamedTuple):
    type: str
    incident: Optional[str]
    source: str
    data: Dict[str, Any]


SOURCES = {
    Reason.LIVENESS_FAILED.value: "liveness",
    Reason.READINESS_FAILED.value: "readiness",
    Reason.STARTUP_FAILED.value: "startup",
}


def of(healer: Standing, decision: Decision, before: Memory, facts: Facts, now: float) -> List[Event]:
    """The events of one decision, in order; `before` is the memory it was taken on."""
    make = _MAKE.get(decision.do)
    return make(healer, decision, before, facts, now) if make is not None else []


def _opened(healer: Standing, decision: Decision, before: Memory, facts: Facts, now: float) -> List[Event]:
    incident = _of(healer)
    data: Dict[str, Any] = {
        "failure_time": iso(incident.failure_time),
        "reason": incident.cause,
        "detected_after_ms": _ms(now - incident.failed_at),
    }
    probe = facts.verdict.probe or facts.verdict.unready
    if probe is not None and decision.reason is not Reason.GONE:
        last = healer.watch.tally[probe].last
        data["probe"] = probe
        if last is not None:
            data["detail"] = " ".join(word for word in (str(last.reason or ""), last.detail) if word)
    elif healer.presence.detail:
        data["detail"] = healer.presence.detail
    if incident.continues is not None:
        data["continues"] = incident.continues
    return [Event("failure", incident.id, SOURCES.get(incident.cause, healer.source), data)]


def _attempted(healer: Standing, decision: Decision, before: Memory, facts: Facts, now: float) -> List[Event]:
    incident = _of(healer)
    data: Dict[str, Any] = {"attempt": decision.number, "reason": str(decision.reason), "rung": decision.rung, "window": decision.window}
    if decision.retry:
        data["retry"] = True
    if incident.previous is not None:
        data["previous"] = incident.previous.told()
    data.update(incident.diagnosis)
    if facts.override:
        data["override"] = sorted(reason.value for reason in facts.override)
    starts = decision.rung == "restart" and (facts.dead or facts.never or facts.stopped)
    return [Event("start" if starts else str(decision.rung), incident.id, healer.source, data)]


def _first_start(healer: Standing, decision: Decision, before: Memory, facts: Facts, now: float) -> List[Event]:
    return [Event("start", None, healer.source, {"reason": str(decision.reason), "rung": decision.rung, "attempt": 0})]


def _recovered(healer: Standing, decision: Decision, before: Memory, facts: Facts, now: float) -> List[Event]:
    incident = before.incident
    if incident is None or decision.since is None:
        return []
    data: Dict[str, Any] = {
        "failure_time": iso(incident.failure_time),
        "recovery_time": iso(decision.since + facts.wall_offset),
        "recovery_duration_ms": _ms(decision.since - incident.failed_at),
    }
    if incident.attempt is not None:
        data.update(rung=incident.attempt.rung, attempt=incident.attempt.number)
    if incident.continues is not None:
        data["continues"] = incident.continues
    data.update(incident.diagnosis)
    found = [Event("recover", incident.id, healer.source, data)]
    if incident.paged is not None:
        found.append(Event("page_resolved", incident.id, healer.source, {"reason": incident.paged}))
    return found


def _paged(healer: Standing, decision: Decision, before: Memory, facts: Facts, now: float) -> List[Event]:
    incident = _of(healer)
    if before.incident is None or before.incident.paged is not None:
        return []
    data: Dict[str, Any] = {"reason": str(decision.reason), "detail": decision.detail, "failure_time": iso(incident.failure_time)}
    if incident.previous is not None:
        data["previous"] = incident.previous.told()
    data.update(incident.diagnosis)
    if facts.hold is not None:
        data["held"] = facts.hold
    return [Event("page", incident.id, healer.source, data)]


def _blocked(healer: Standing, decision: Decision, before: Memory, facts: Facts, now: float) -> List[Event]:
    found: List[Event] = []
    incident = healer.memory.incident
    if before.blocked != str(decision.reason):
        data: Dict[str, Any] = {"reason": str(decision.reason), "detail": decision.detail}
        if decision.until is not None:
            data["until"] = iso(decision.until + facts.wall_offset)
        found.append(Event("blocked", incident.id if incident is not None else None, healer.source, data))
    if decision.block is not None and decision.block.page and before.incident is not None:
        found.extend(_paged(healer, decision, before, facts, now))
    return found


def _of(healer: Standing) -> Incident:
    incident = healer.memory.incident
    if incident is None:
        raise ValueError("%s: an event about an incident while none is open" % healer.name)
    return incident


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


_MAKE: Dict[Do, Callable[[Standing, Decision, Memory, Facts, float], List[Event]]] = {
    Do.OPEN: _opened,
    Do.ATTEMPT: _attempted,
    Do.FIRST_START: _first_start,
    Do.RECOVER: _recovered,
    Do.ESCALATE: _paged,
    Do.PAGE: _paged,
    Do.BLOCK: _blocked,
}


__all__ = ["Event", "of"]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would happen, and why what happens now happens."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Dict, List, Mapping, Optional

from .._core.cause import Probable
from .._core.health import State
from .._core.ladder import settle
from .._core.model import Service
from .._core.reasons import Reason
from .._core.scenario import Entry, Scenario
from .healer import Healer
from .simulation import Simulation

JUST_AFTER = 1e-6
RUNGS = frozenset(("start", "restart", "redeploy", "rollback", "page"))


def windows(service: Service) -> Dict[str, float]:
    """Seconds that rungs need at least on this host, by the release's journal: a redeployment takes as long as its builds may."""
    if service.release is None:
        return {}
    from .._actuators.released import longest

    return longest(service.release)


def worst_case(service: Service, windows: Optional[Mapping[str, float]] = None) -> List[Dict[str, Any]]:
    """``[{rung, attempt, at}]``, in seconds after the fault: the service hangs just after all its probes were answered, and never heals.

    The real engine is run on a virtual clock against a resource whose every action succeeds within a second and helps
    nothing. A service that nothing would be done about (only readiness probes) has an empty list. `windows`: what rungs need at least.
    """
    ladder = tuple(
        rung if rung.command or rung.http else replace(rung, timeout=max(rung.timeout, (windows or {}).get(rung.rung, 0.0)))
        for rung in service.ladder
    )
    alone = replace(service, ladder=ladder, dependencies=(), guard=replace(service.guard, peers=()))
    hung = tuple(Entry(JUST_AFTER, "probe", p.name, alone.name, result="hang") for p in alone.probes if p.role != "startup")
    simulation = Simulation((alone,), Scenario(_long_enough(alone), hung))
    events = simulation.run(until_type="page")["events"]
    return [
        {"rung": event["type"], "attempt": event["data"].get("attempt", 1), "at": event["at"]} for event in events if event["type"] in RUNGS
    ]


def now(healer: Healer, at: Optional[float] = None, held: Optional[str] = None) -> Dict[str, Any]:
    """``{state, rung, reason, sentence}``: what is being done about a service at this moment, or why nothing.

    at: monotonic seconds, for saying how long it still waits. held: who holds it, in words.
    """
    decision = healer.decision
    return {
        "state": str(healer.state),
        "rung": rung(healer),
        "reason": str(decision.reason) if decision.reason is not None else None,
        "sentence": sentence(healer, at, held),
    }


def rung(healer: Healer) -> Optional[str]:
    """The rung an open incident is on: of its attempt, or of the next one."""
    incident, ladder = healer.memory.incident, healer.service.ladder
    if incident is None:
        return None
    return incident.attempt.rung if incident.attempt is not None else ladder[settle(ladder, healer.memory.position).index].rung


def sentence(healer: Healer, at: Optional[float] = None, held: Optional[str] = None) -> str:
    """One sentence for people; see `now`."""
    decision, incident, state = healer.decision, healer.memory.incident, healer.state
    words = "%s is %s" % (healer.name, str(state).replace("_", " "))
    if incident is not None:
        words += " (incident %s, %s)" % (incident.id, incident.phase)
    why = decision.detail or (str(decision.reason).replace("_", " ") if decision.reason is not None else "")
    if state is State.DEGRADED and incident is None:
        slow = "soon will take" if healer.watch.foretold else "takes"
        why = "it answers, but %s longer than %g s; nothing is restarted for that" % (slow, healer.service.slow.after)
    words = "%s: %s" % (words, why) if why else words
    if at is not None and decision.until is not None and incident is not None and decision.until > at:
        words += " (for another %.0f s)" % math.ceil(decision.until - at)
    if held is not None and decision.reason is not Reason.HOLD:
        words += "; %s: nothing would be done" % held
    if incident is not None and incident.probable_cause not in (None, Probable.UNKNOWN.value):
        words += "; probably %s: %s" % (str(incident.probable_cause).replace("_", " "), incident.probable_detail)
    return words


def _long_enough(service: Service) -> float:
    """Well past the page, whatever the contract says."""
    detect = sum(p.initial_delay + (p.period + p.timeout) * (p.failure_threshold + 1) for p in service.probes)
    climb = sum(rung.attempts * (rung.timeout + service.failing_for + service.guard.cooldown + 2.0) for rung in service.ladder)
    rest = sum(rung.attempts for rung in service.ladder) * service.guard.backoff_cap + service.guard.per * 2
    return 100.0 + detect + climb * 2 + rest


__all__ = ["now", "rung", "sentence", "windows", "worst_case"]

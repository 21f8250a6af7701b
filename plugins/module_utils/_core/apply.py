# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a decision changes in the memory. Pure: ``apply(decide(...))`` can be replayed, and is, in tests and simulations."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Dict, Optional

from .decide import Decision, Do
from .guards import Facts
from .health import State
from .incident import Attempt, Incident, Phase, Trigger
from .ladder import GROUND, climb, step_over
from .memory import FLAPPING_WINDOW, Memory
from .model import Service
from .reasons import Reason
from .times import compact

LONGEST_WORDS = 300
"""So many characters of why an action failed are remembered."""


def apply(service: Service, memory: Memory, decision: Decision, facts: Facts, now: float) -> Memory:
    """The memory after `decision`. Raises IllegalTransition where the incident's table does not allow it."""
    return _APPLY[decision.do](service, memory, decision, facts, now)


def action_ended(memory: Memory, outcome: str, now: float, reason: Optional[Reason] = None, detail: str = "") -> Memory:
    """The action of the present attempt has ended: ok, failed, cannot_help or interrupted; `detail`: why, in its own words."""
    incident = memory.incident
    if incident is None or incident.attempt is None or incident.attempt.ended is not None:
        return memory
    said = detail[:LONGEST_WORDS] if outcome != "ok" else ""
    attempt = replace(incident.attempt, ended=now, outcome=outcome, reason=reason.value if reason is not None else None, detail=said)
    return replace(memory, incident=replace(incident, attempt=attempt), last_action=now)


def noticed(memory: Memory, state: State, now: float) -> Memory:
    """An observation or an event has shown this state; a change between well, not ready and unhealthy counts towards flapping."""
    shown = {State.HEALTHY: "well", State.DEGRADED: "well", State.NOT_READY: "not_ready", State.UNHEALTHY: "unhealthy"}.get(state)
    if shown is None or shown == memory.last_change:
        return memory
    if not memory.last_change:
        return replace(memory, last_change=shown)
    changes = tuple(at for at in memory.changes if at > now - FLAPPING_WINDOW) + (now,)
    return replace(memory, last_change=shown, changes=changes)


def published(memory: Memory, facts: Facts) -> State:
    """What everybody is shown. During an incident the reset at a restart is no health."""
    incident = memory.incident
    if facts.stopped:
        return State.STOPPED
    if incident is None:
        if facts.never or facts.unseen:
            return State.UNKNOWN
        return State.UNHEALTHY if facts.dead else facts.verdict.state
    if incident.phase is Phase.OBSERVING:
        return facts.verdict.state
    if incident.cause == Reason.READINESS_FAILED and incident.attempt is None and facts.verdict.failing is None and not facts.dead:
        return State.NOT_READY
    return State.UNHEALTHY


def _same(service: Service, memory: Memory, decision: Decision, facts: Facts, now: float) -> Memory:
    return memory


def _open(service: Service, memory: Memory, decision: Decision, facts: Facts, now: float) -> Memory:
    failed_at = now if decision.since is None else decision.since
    failure_time = failed_at + facts.wall_offset
    incident = Incident(
        id="%s-%s" % (service.name, compact(failure_time)),
        cause=str(decision.reason),
        failure_time=failure_time,
        failed_at=failed_at,
        opened=now,
        entered=now,
        continues=memory.last_incident,
    )
    return replace(memory, incident=incident, blocked=None)


def _attempt(service: Service, memory: Memory, decision: Decision, facts: Facts, now: float) -> Memory:
    attempt = Attempt(rung=decision.rung or "", number=decision.number, begun=now, window=decision.window)
    incident = replace(_incident(memory).move(Trigger.ATTEMPT, now), attempt=attempt)
    memory = replace(memory, incident=incident, blocked=None, streak=memory.streak + 1, last_action=now)
    if decision.retry:
        return memory
    per = service.guard.per
    actions = tuple(at for at in memory.actions if at > now - per) + (now,)
    return replace(memory, actions=actions, position=climb(service.ladder, memory.position))


def _step_over(service: Service, memory: Memory, decision: Decision, facts: Facts, now: float) -> Memory:
    incident = replace(_incident(memory), previous=decision.previous)
    return replace(memory, incident=incident, position=step_over(service.ladder, memory.position))


def _attempt_over(service: Service, memory: Memory, decision: Decision, facts: Facts, now: float) -> Memory:
    incident = replace(_incident(memory).move(Trigger.ATTEMPT_OVER, now), previous=decision.previous)
    position = memory.position
    if decision.previous is not None and decision.previous.outcome == "cannot_help" and incident.phase is Phase.FAILING:
        at = min(position.index, len(service.ladder) - 1)  # the contract may have been shortened since
        position = replace(position, index=at, used=max(position.used, service.ladder[at].attempts))
    return replace(memory, incident=incident, position=position)


def _observe(service: Service, memory: Memory, decision: Decision, facts: Facts, now: float) -> Memory:
    incident = _incident(memory)
    longest = memory.longest_start
    if incident.attempt is not None and incident.attempt.outcome == "ok" and decision.since is not None:
        took = decision.since - incident.attempt.begun
        if took <= service.retry_every:  # what takes longer was healed by something else, and would make every later window as long
            longest = max(longest, took)
    return replace(memory, incident=incident.move(Trigger.ANSWERED, now), longest_start=longest)


def _relapse(service: Service, memory: Memory, decision: Decision, facts: Facts, now: float) -> Memory:
    return replace(memory, incident=replace(_incident(memory).move(Trigger.RELAPSE, now), previous=decision.previous))


def _recover(service: Service, memory: Memory, decision: Decision, facts: Facts, now: float) -> Memory:
    closed = _incident(memory).move(Trigger.PROVEN, now)
    return replace(memory, incident=None, last_incident=closed.id, healthy_since=decision.since, blocked=None)


def _escalate(service: Service, memory: Memory, decision: Decision, facts: Facts, now: float) -> Memory:
    return _paged(memory, decision, _incident(memory).move(Trigger.EXHAUSTED, now))


def _page(service: Service, memory: Memory, decision: Decision, facts: Facts, now: float) -> Memory:
    return replace(_paged(memory, decision, _incident(memory)), flap_paged=memory.flap_paged or decision.reason is Reason.FLAPPING)


def _block(service: Service, memory: Memory, decision: Decision, facts: Facts, now: float) -> Memory:
    memory = replace(memory, blocked=str(decision.reason))
    if decision.block is not None and decision.block.page and memory.incident is not None:
        return _paged(memory, decision, memory.incident)
    return memory


def _paged(memory: Memory, decision: Decision, incident: Incident) -> Memory:
    return replace(memory, incident=replace(incident, paged=incident.paged or str(decision.reason)))


def forgotten(memory: Memory) -> Memory:
    """After unbroken health for long enough: the next failure begins at the first rung."""
    return replace(memory, position=GROUND, last_incident=None, healthy_since=None, streak=0, flap_paged=False)


def _forget(service: Service, memory: Memory, decision: Decision, facts: Facts, now: float) -> Memory:
    return forgotten(memory)


def _first_start(service: Service, memory: Memory, decision: Decision, facts: Facts, now: float) -> Memory:
    return replace(memory, blocked=None, last_action=now)


def _incident(memory: Memory) -> Incident:
    if memory.incident is None:
        raise ValueError("a decision about an incident was applied where none is open")
    return memory.incident


_APPLY: Dict[Do, Callable[[Service, Memory, Decision, Facts, float], Memory]] = {
    Do.WAIT: _same,
    Do.BLOCK: _block,
    Do.OPEN: _open,
    Do.FIRST_START: _first_start,
    Do.ATTEMPT: _attempt,
    Do.STEP_OVER: _step_over,
    Do.ATTEMPT_OVER: _attempt_over,
    Do.OBSERVE: _observe,
    Do.RELAPSE: _relapse,
    Do.RECOVER: _recover,
    Do.ESCALATE: _escalate,
    Do.PAGE: _page,
    Do.FORGET: _forget,
}


__all__ = ["action_ended", "apply", "forgotten", "noticed", "published"]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do next about one service: a pure function of its contract, what is remembered, the facts, and now.

Two rules. Fail over on suspicion, restart on proof: nothing disruptive happens before failure was unbroken for ``failing_for``
seconds or death is certain. Every answer carries its reason, also the answer "wait".
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Callable, Dict, Optional

from .guards import Asked, Block, Facts, forbids
from .health import Verdict, startup_budget
from .incident import Attempt, Incident, Phase, Previous
from .ladder import GROUND, settle, upcoming
from .memory import Memory
from .model import Rung, Service
from .reasons import Reason


class Do(str, enum.Enum):
    """What a decision asks of the engine."""

    WAIT = "wait"
    BLOCK = "block"
    OPEN = "open"
    FIRST_START = "first_start"
    ATTEMPT = "attempt"
    STEP_OVER = "step_over"
    ATTEMPT_OVER = "attempt_over"
    OBSERVE = "observe"
    RELAPSE = "relapse"
    RECOVER = "recover"
    ESCALATE = "escalate"
    PAGE = "page"
    FORGET = "forget"


@dataclass(frozen=True)
class Decision:
    """`until`: monotonic seconds at which to ask again (None: only news can change the answer). `since`: see the kind.

    OPEN: since = when the failure began. ATTEMPT: rung, number, window, retry. STEP_OVER, ATTEMPT_OVER: previous.
    WAIT: since = when something disruptive may follow, where it waits only for its proof.
    RECOVER: since = start of the unbroken health. BLOCK: block. WAIT: awaits = for an answer, whatever it says.
    """

    do: Do
    reason: Optional[Reason] = None
    detail: str = ""
    until: Optional[float] = None
    since: Optional[float] = None
    rung: Optional[str] = None
    number: int = 0
    window: float = 0.0
    retry: bool = False
    previous: Optional[Previous] = None
    block: Optional[Block] = None
    awaits: bool = False


def decide(service: Service, memory: Memory, facts: Facts, now: float) -> Decision:
    """The one thing to do now. The engine does it, takes it into the memory (see `apply`) and asks again until told to wait."""
    incident = memory.incident
    if incident is None:
        return _quiet(service, memory, facts, now)
    if incident.paged is None and not memory.flap_paged and memory.flapping(now):
        return Decision(Do.PAGE, Reason.FLAPPING, "six or more changes of state within 300 s")
    return _BY_PHASE[incident.phase](service, memory, incident, facts, now)


def _quiet(service: Service, memory: Memory, facts: Facts, now: float) -> Decision:
    verdict = facts.verdict
    if facts.stopped and service.desired != "always":
        return Decision(Do.WAIT, Reason.ADMIN_STOPPED, "stopped on purpose; it stays so until somebody starts it")
    if facts.never:
        block = forbids(Asked(service, memory, facts, now))
        if block is not None:
            return _blocked(block)
        return Decision(Do.FIRST_START, Reason.FIRST_START, rung="restart", number=0)
    if facts.dead or (facts.stopped and service.desired == "always"):
        since = min(at for at in (facts.dead_since, verdict.failing_since, now) if at is not None)
        return Decision(Do.OPEN, Reason.GONE, "the main process is gone", since=since)
    if facts.revived_since is not None:
        return Decision(Do.OPEN, Reason.GONE, "the main process died; its own supervisor starts it again", since=facts.revived_since)
    if verdict.failing is not None:
        return Decision(Do.OPEN, verdict.failing, verdict.probe or "", since=verdict.failing_since)
    if verdict.unready is not None:
        return Decision(Do.OPEN, Reason.READINESS_FAILED, verdict.unready, since=verdict.unready_since)
    if memory.last_incident is None and memory.position == GROUND and not memory.streak:
        return Decision(Do.WAIT, detail="nothing is wrong")
    if verdict.well_since is None:
        return Decision(Do.WAIT, detail="waiting for unbroken health")
    forget_at = max(verdict.well_since, memory.healthy_since or 0.0) + service.ladder_reset_after
    if now >= forget_at:
        return Decision(Do.FORGET, detail="healthy for %g s: the next failure begins at the first rung" % service.ladder_reset_after)
    return Decision(Do.WAIT, detail="healthy; a failure now would go on up the ladder", until=forget_at)


def _failing(service: Service, memory: Memory, incident: Incident, facts: Facts, now: float) -> Decision:
    verdict = facts.verdict
    only_readiness = incident.cause == Reason.READINESS_FAILED and incident.attempt is None and verdict.failing is None and not _gone(facts)
    if only_readiness:
        if verdict.well_since is not None:
            return Decision(Do.OBSERVE, since=verdict.well_since)
        return Decision(Do.WAIT, Reason.READINESS_FAILED, "alive but not ready: traffic stays away, no rung is climbed")
    if _answers(incident, facts):
        return Decision(Do.OBSERVE, since=verdict.alive_since)
    if facts.stopped and service.desired != "always":
        return _blocked(Block(Reason.ADMIN_STOPPED, "somebody stopped it on purpose, and desired is by_admin"))
    rung = upcoming(service.ladder, memory.position)
    if rung.rung == "page":
        return Decision(Do.ESCALATE, Reason.LADDER_EXHAUSTED, "every rung was tried")
    if rung.rung in facts.cannot:
        return _step_over(rung, facts.cannot[rung.rung])
    waiting = _unproven(service, incident, facts, now)
    if waiting is not None:
        return _overdue(service, memory, incident, facts, now) or waiting
    block = forbids(Asked(service, memory, facts, now))
    if block is not None:
        return _blocked(block)
    number = settle(service.ladder, memory.position).used + 1
    return Decision(
        Do.ATTEMPT, _cause(facts), facts.verdict.probe or "", rung=rung.rung, number=number, window=_window(service, memory, facts, rung)
    )


def _acting(service: Service, memory: Memory, incident: Incident, facts: Facts, now: float) -> Decision:
    attempt = incident.attempt
    if attempt is None or attempt.ended is None:
        return Decision(Do.WAIT, detail="the action runs")
    if attempt.outcome in ("failed", "cannot_help"):
        return _over(attempt.outcome, Reason(attempt.reason or Reason.ACTION_FAILED), attempt.detail)
    if facts.dead:
        return _over("died", Reason.DIED_AGAIN)
    if _answers(incident, facts):
        return Decision(Do.OBSERVE, since=facts.verdict.alive_since)
    end = _window_end(service, attempt, facts)
    if now < end:
        return Decision(Do.WAIT, detail="the attempt's window runs", until=end)
    if facts.pending:
        return Decision(Do.WAIT, detail="its own stop or start job is pending")
    known_by = facts.watched_since + service.retry_every
    if facts.watched_since > max(end, attempt.ended) and facts.verdict.failing is None and now < known_by:
        # Whoever takes up the attempt of a healer that is gone may find a service that has been well for long.
        return Decision(Do.WAIT, detail="nobody watched the attempt's window; waiting for what the probes say now", until=known_by)
    return _over("not_healed", Reason.WINDOW_OVER)


def _observing(service: Service, memory: Memory, incident: Incident, facts: Facts, now: float) -> Decision:
    verdict = facts.verdict
    if _gone(facts) or facts.revived_since is not None:
        return Decision(Do.RELAPSE, Reason.GONE, previous=Previous("relapsed", Reason.GONE.value))
    if verdict.failing is not None:
        return Decision(Do.RELAPSE, verdict.failing, verdict.probe or "", previous=Previous("relapsed", verdict.failing.value))
    if verdict.well_since is None:
        return Decision(Do.WAIT, detail="alive, not yet well without a break")
    proven_at = verdict.well_since + service.recovered_after
    if now < proven_at:
        return Decision(Do.WAIT, detail="healthy; waiting for %g s without a break" % service.recovered_after, until=proven_at)
    if not facts.observed:
        return Decision(Do.WAIT, detail="healthy when it was last asked; waiting for a first answer")
    if facts.asked_since is not None and facts.asked_since < proven_at:
        return Decision(Do.WAIT, detail="healthy for %g s; waiting for an answer that is due" % service.recovered_after, awaits=True)
    return Decision(Do.RECOVER, Reason.HEALED, since=verdict.well_since)


def _escalated(service: Service, memory: Memory, incident: Incident, facts: Facts, now: float) -> Decision:
    if _answers(incident, facts):
        return Decision(Do.OBSERVE, since=facts.verdict.alive_since)
    if all(each.rung == "page" for each in service.ladder):
        return Decision(Do.WAIT, Reason.LADDER_EXHAUSTED, "a person was told; the ladder has nothing else to try")
    retry_at = incident.entered + service.retry_every
    if now < retry_at:
        return Decision(Do.WAIT, Reason.LADDER_EXHAUSTED, "a person was told; next try of the first rung follows", until=retry_at)
    rung = next((each for each in service.ladder if each.rung != "page" and each.rung not in facts.cannot), None)
    if rung is None:
        return Decision(Do.WAIT, Reason.LADDER_EXHAUSTED, "a person was told; no rung can help")
    waiting = _unproven(service, incident, facts, now)
    if waiting is not None:
        return waiting
    block = forbids(Asked(service, memory, facts, now, retry=True))
    if block is not None:
        return _blocked(block)
    return Decision(Do.ATTEMPT, _cause(facts), rung=rung.rung, number=1, window=_window(service, memory, facts, rung), retry=True)


_BY_PHASE: Dict[Phase, Callable[[Service, Memory, Incident, Facts, float], Decision]] = {
    Phase.FAILING: _failing,
    Phase.ACTING: _acting,
    Phase.OBSERVING: _observing,
    Phase.ESCALATED: _escalated,
    Phase.RETRYING: _acting,
}


def _gone(facts: Facts) -> bool:
    return facts.dead or facts.never


def _answers(incident: Incident, facts: Facts) -> bool:
    """Good answers of the present instance, begun after the attempt; the reset to healthy at a restart is none."""
    since = facts.verdict.alive_since
    after = incident.attempt.begun if incident.attempt is not None else incident.failed_at
    return since is not None and since >= after and not _gone(facts) and not facts.stopped and facts.verdict.failing is None


def _unproven(service: Service, incident: Incident, facts: Facts, now: float) -> Optional[Decision]:
    """Why a disruptive step must still wait: failure has not been unbroken for long enough, or nothing is known."""
    verdict = facts.verdict
    if _gone(facts) or facts.stopped:
        return None
    if facts.pending:
        return Decision(Do.WAIT, detail="its own stop or start job is pending")
    if verdict.failing is Reason.STARTUP_FAILED and facts.observed:
        return None
    known = verdict.failing is not None or (incident.attempt is not None and verdict.failing_since is not None)
    since = _failing_since(verdict, incident.attempt)
    if known and since is not None and facts.observed:
        proof_at = since + service.failing_for
        if now >= proof_at:
            return None
        return Decision(
            Do.WAIT, detail="failing; a disruptive step needs %g s without a break" % service.failing_for, until=proof_at, since=proof_at
        )
    unproven_at = max(incident.entered, facts.watched_since) + service.retry_every
    if now >= unproven_at and incident.paged is None and incident.attempt is not None:
        return Decision(Do.PAGE, Reason.UNPROVEN, "no probe could tell for %g s whether it is healthy" % service.retry_every)
    until = unproven_at if now < unproven_at else None
    return Decision(Do.WAIT, detail="nothing disruptive before a probe has shown what is wrong now", until=until)


def _overdue(service: Service, memory: Memory, incident: Incident, facts: Facts, now: float) -> Optional[Decision]:
    """It died, and its own supervisor starts it without end or without an answer: nothing here may act, so a person should know."""
    if incident.cause != Reason.GONE or incident.paged is not None or incident.attempt is not None or facts.verdict.started is None:
        return None
    if now < incident.entered + max(service.retry_every, 2.0 * memory.longest_start):
        return None
    return Decision(
        Do.PAGE, Reason.UNPROVEN, "its own supervisor has been starting it for %.0f s, and it never answered" % (now - incident.entered)
    )


def _failing_since(verdict: Verdict, attempt: Optional[Attempt]) -> Optional[float]:
    """Start of the unbroken failure. An instance that came only after its attempt's window is judged for ``failing_for`` of its own."""
    late = attempt is not None and attempt.ended is not None and attempt.ended > attempt.begun + attempt.window
    if verdict.failing_since is None or verdict.unbroken_since is None or late:
        return verdict.failing_since
    return verdict.unbroken_since


def _cause(facts: Facts) -> Reason:
    if _gone(facts) or facts.stopped:
        return Reason.GONE
    return facts.verdict.failing or Reason.LIVENESS_FAILED


def _window(service: Service, memory: Memory, facts: Facts, rung: Rung) -> float:
    budget = startup_budget(service) if facts.verdict.failing is Reason.STARTUP_FAILED else 0.0
    return max(rung.timeout, facts.windows.get(rung.rung, 0.0), 2.0 * memory.longest_start, budget)


def _window_end(service: Service, attempt: Attempt, facts: Facts) -> float:
    end = attempt.begun + attempt.window
    if facts.verdict.started is None and attempt.ended is not None:
        return max(end, attempt.ended + startup_budget(service))
    return end


def _over(outcome: str, reason: Reason, detail: str = "") -> Decision:
    return Decision(Do.ATTEMPT_OVER, reason, previous=Previous(outcome, reason.value, detail))


def _step_over(rung: Rung, reason: Reason) -> Decision:
    return Decision(Do.STEP_OVER, reason, rung=rung.rung, previous=Previous("cannot_help", reason.value))


def _blocked(block: Block) -> Decision:
    return Decision(Do.BLOCK, block.reason, block.detail, until=block.until, block=block)


__all__ = ["Decision", "Do", "decide"]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many targets probed once, with retries and patience: what `health_probe` and ``selfheal probe`` do.

The order of results is that of the targets. A target that is healthy or degraded is not asked again.
"""

from __future__ import annotations

import heapq
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .._core.latency import milliseconds, slow_after, summary_ms
from .._core.target import Target
from .._host import Handle, Host, Outcome, Step
from .kinds import step_for

PAUSE = 0.25
PAUSE_CHILD = 1.0
"""Seconds from the end of a failed try to the next one; the longer where each try starts a program."""

STATUSES = ("healthy", "degraded", "unhealthy", "unknown")


class Ask(NamedTuple):
    """One target; timeout in seconds, in total for each try."""

    name: str
    target: Target
    timeout: float


class Found(NamedTuple):
    """The verdict on one target; seconds: of the last try."""

    name: str
    kind: str
    status: str
    seconds: float
    detail: str
    reason: Optional[str]

    def as_result(self) -> Dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "status": self.status,
            "latency_ms": milliseconds(self.seconds),
            "detail": self.detail,
            "reason": self.reason,
        }


class _Case:
    __slots__ = ("index", "ask", "step", "tries", "failures", "found")

    def __init__(self, index: int, ask: Ask) -> None:
        self.index = index
        self.ask = ask
        self.step: Step = step_for(ask.target)
        self.tries = 0
        self.failures = 0
        self.found: Optional[Found] = None


def judge(ask: Ask, outcome: Outcome, seconds: float) -> Found:
    """One try's outcome as a status: an answer slower than ``slow_after`` of its timeout is degraded."""
    limit = slow_after(ask.timeout)
    status, reason, detail = "healthy", None, outcome.detail
    if outcome.status == "unknown":
        status = "unknown"
    elif outcome.status == "bad":
        status = "unhealthy"
    elif seconds > limit:
        status, reason, detail = "degraded", "slow", "%s, but only after %.3g s (slow from %.3g s)" % (outcome.detail, seconds, limit)
    if status in ("unhealthy", "unknown") and outcome.reason is not None:
        reason = str(outcome.reason)
    return Found(ask.name, ask.target.kind, status, seconds, detail, reason)


def sweep(host: Host, asks: Sequence[Ask], retries: int = 0, wait_for: float = 0.0, concurrency: int = 100) -> List[Found]:
    """Probe every target, at most `concurrency` at a time; a failed one up to `retries` times more, and until `wait_for` seconds are over.

    Returns at the latest one timeout after the last try that `retries` and `wait_for` allow has begun.
    """
    began = host.monotonic()
    cases = [_Case(index, ask) for index, ask in enumerate(asks)]
    waiting: List[Tuple[float, int]] = [(began, index) for index in range(len(cases))]
    heapq.heapify(waiting)
    under_way = 0
    while waiting or under_way:
        now = host.monotonic()
        while waiting and under_way < concurrency and waiting[0][0] <= now:
            case = cases[heapq.heappop(waiting)[1]]
            case.tries += 1
            host.start(case.step, host.monotonic() + case.ask.timeout, case)
            under_way += 1
        until = waiting[0][0] if waiting and under_way < concurrency else now + 3600.0
        for handle in host.poll(until):
            under_way -= 1
            again = _take(handle, retries, began + wait_for)
            if again is not None:
                heapq.heappush(waiting, (again, handle.owner.index))
    return [case.found for case in cases if case.found is not None]


def _take(handle: Handle, retries: int, patience: float) -> Optional[float]:
    """Note the verdict of a try. Returns when to try again, or None."""
    case: _Case = handle.owner
    ended = handle.ended if handle.ended is not None else handle.started
    outcome = handle.outcome if handle.outcome is not None else Outcome("unknown")
    found = judge(case.ask, outcome, ended - handle.started)
    before, case.found = case.found, found
    if found.status in ("healthy", "degraded"):
        if before is not None:
            tries = "1 try" if case.failures == 1 else "%d tries" % case.failures
            case.found = found._replace(detail="%s, after %s that failed, the last with: %s" % (found.detail, tries, before.detail[:250]))
        return None
    case.failures += 1
    again = ended + (PAUSE_CHILD if found.kind in ("exec", "unit") else PAUSE)
    if case.tries <= retries or again <= patience:
        return again
    if case.failures > 1:
        case.found = found._replace(detail="%s (and %d tries before)" % (found.detail, case.failures - 1))
    return None


def summarise(found: Sequence[Found]) -> Dict[str, Any]:
    """Counts by status, and the latencies of the targets that answered (healthy or degraded), in ms."""
    summary: Dict[str, Any] = {status: sum(1 for one in found if one.status == status) for status in STATUSES}
    summary["latency_ms"] = summary_ms([one.seconds for one in found if one.status in ("healthy", "degraded")])
    return summary


__all__ = ["Ask", "Found", "PAUSE", "PAUSE_CHILD", "STATUSES", "judge", "summarise", "sweep"]

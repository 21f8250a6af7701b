# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A breaker in front of a dependency: closed, open, half-open, and what an operator forced.

Counters and their reset rules: failures: a success in closed, and every change of state. successes: every change of state.
Forced open and disabled last until an operator lifts them; nothing is asked meanwhile, no timer runs, no answer counts. Lifted, it begins
closed with fresh counters.
Source: the pattern as in resilience4j and opossum, with their users' faults answered: one trial at a time, several successes to
close, and a limit on half-open, so that a trial that never settles cannot keep it there.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

from .errors import IllegalTransition, RecordError
from .model import Dependency
from .shape import chosen, made


class Breaker(str, enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"

    def __str__(self) -> str:
        return self.value


class Cause(str, enum.Enum):
    THRESHOLD = "failure_threshold"
    RESET_TIMEOUT = "reset_timeout"
    TRIAL_FAILED = "trial_failed"
    HALF_OPEN_LIMIT = "half_open_limit"
    SUCCESSES = "success_threshold"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"
    FORCED_CLOSED = "forced_closed"
    LIFTED = "lifted"

    def __str__(self) -> str:
        return self.value


TRANSITIONS: Dict[Tuple[Breaker, Cause], Breaker] = {
    (Breaker.CLOSED, Cause.THRESHOLD): Breaker.OPEN,
    (Breaker.OPEN, Cause.RESET_TIMEOUT): Breaker.HALF_OPEN,
    (Breaker.HALF_OPEN, Cause.TRIAL_FAILED): Breaker.OPEN,
    (Breaker.HALF_OPEN, Cause.HALF_OPEN_LIMIT): Breaker.OPEN,
    (Breaker.HALF_OPEN, Cause.SUCCESSES): Breaker.CLOSED,
    (Breaker.CLOSED, Cause.FORCED_OPEN): Breaker.FORCED_OPEN,
    (Breaker.OPEN, Cause.FORCED_OPEN): Breaker.FORCED_OPEN,
    (Breaker.HALF_OPEN, Cause.FORCED_OPEN): Breaker.FORCED_OPEN,
    (Breaker.DISABLED, Cause.FORCED_OPEN): Breaker.FORCED_OPEN,
    (Breaker.CLOSED, Cause.DISABLED): Breaker.DISABLED,
    (Breaker.OPEN, Cause.DISABLED): Breaker.DISABLED,
    (Breaker.HALF_OPEN, Cause.DISABLED): Breaker.DISABLED,
    (Breaker.FORCED_OPEN, Cause.DISABLED): Breaker.DISABLED,
    (Breaker.OPEN, Cause.FORCED_CLOSED): Breaker.CLOSED,
    (Breaker.HALF_OPEN, Cause.FORCED_CLOSED): Breaker.CLOSED,
    (Breaker.FORCED_OPEN, Cause.FORCED_CLOSED): Breaker.CLOSED,
    (Breaker.DISABLED, Cause.FORCED_CLOSED): Breaker.CLOSED,
    (Breaker.FORCED_OPEN, Cause.LIFTED): Breaker.CLOSED,
    (Breaker.DISABLED, Cause.LIFTED): Breaker.CLOSED,
}

FORCED = {"open": (Breaker.FORCED_OPEN, Cause.FORCED_OPEN), "disabled": (Breaker.DISABLED, Cause.DISABLED)}
"""What an operator can keep a breaker in, and how it gets there."""
BINDING = frozenset((Breaker.OPEN, Breaker.HALF_OPEN, Breaker.FORCED_OPEN))
"""States in which restarts of what depends on it wait."""
ASKED = frozenset((Breaker.CLOSED, Breaker.HALF_OPEN))
"""States in which the dependency is asked."""

EVENTS = {Breaker.OPEN: "breaker_trip", Breaker.HALF_OPEN: "breaker_half_open", Breaker.CLOSED: "breaker_reset"}
"""The timeline event of entering a state by itself. What an operator forces is recorded where it is said (``breaker_forced``)."""


@dataclass(frozen=True)
class BreakerState:
    """`since`: when the present state began, monotonic seconds."""

    state: Breaker = Breaker.CLOSED
    failures: int = 0
    successes: int = 0
    since: float = 0.0
    cause: Optional[Cause] = None

    def move(self, cause: Cause, now: float) -> BreakerState:
        """The state after `cause`; raises IllegalTransition for one that is not in the table."""
        target = TRANSITIONS.get((self.state, cause))
        if target is None:
            raise IllegalTransition("breaker: %s is no transition from %s" % (cause, self.state))
        return BreakerState(target, since=now, cause=cause)


def forced(state: BreakerState, to: Optional[str], now: float) -> BreakerState:
    """What an operator's word makes of it: open, disabled, closed (once), or None, nothing (any more)."""
    if to == "closed":
        return state if state.state is Breaker.CLOSED else state.move(Cause.FORCED_CLOSED, now)
    if to is None:
        return state.move(Cause.LIFTED, now) if (state.state, Cause.LIFTED) in TRANSITIONS else state
    target, cause = FORCED[to]
    return state if state.state is target else state.move(cause, now)


def from_data(raw: Any) -> BreakerState:
    """Back from the state file, where `vars` of it stood. Raises RecordError."""
    if not isinstance(raw, Mapping):
        raise RecordError("reading a breaker's state: expected a mapping, found %.40r" % (raw,))
    values = {key: value for key, value in raw.items() if key != "traffic"}
    cause = raw.get("cause")
    return made(BreakerState, values, state=chosen(Breaker, raw.get("state")), cause=chosen(Cause, cause) if cause else None)


def own(failing: bool, proving: bool, to: Optional[str]) -> Breaker:
    """The breaker in front of the service itself. It follows the incident, so that there is one judgement and not two: open while it fails,
    half-open while its recovery is being proven; an operator's word comes first."""
    if to in FORCED:
        return FORCED[str(to)][0]
    if not failing:
        return Breaker.CLOSED
    return Breaker.HALF_OPEN if proving else Breaker.OPEN


def answered(rules: Dependency, state: BreakerState, good: bool, now: float) -> BreakerState:
    """Take one answer in. While open nothing is asked, so an answer then changes nothing."""
    if state.state is Breaker.CLOSED:
        if good:
            return state if not state.failures else BreakerState(since=state.since, cause=state.cause)
        failures = state.failures + 1
        if failures >= rules.failure_threshold:
            return state.move(Cause.THRESHOLD, now)
        return BreakerState(failures=failures, since=state.since, cause=state.cause)
    if state.state is Breaker.HALF_OPEN:
        if not good:
            return state.move(Cause.TRIAL_FAILED, now)
        successes = state.successes + 1
        if successes >= rules.success_threshold:
            return state.move(Cause.SUCCESSES, now)
        return BreakerState(Breaker.HALF_OPEN, successes=successes, since=state.since, cause=state.cause)
    return state


def passed(rules: Dependency, state: BreakerState, now: float) -> BreakerState:
    """What time alone changes."""
    if state.state is Breaker.OPEN and now >= state.since + rules.reset_timeout:
        return state.move(Cause.RESET_TIMEOUT, now)
    if state.state is Breaker.HALF_OPEN and now >= state.since + rules.half_open_limit:
        return state.move(Cause.HALF_OPEN_LIMIT, now)
    return state


def timer(rules: Dependency, state: BreakerState) -> Optional[float]:
    """When time alone will change it next."""
    if state.state is Breaker.OPEN:
        return state.since + rules.reset_timeout
    return state.since + rules.half_open_limit if state.state is Breaker.HALF_OPEN else None


__all__ = [
    "ASKED",
    "BINDING",
    "Breaker",
    "BreakerState",
    "Cause",
    "EVENTS",
    "FORCED",
    "TRANSITIONS",
    "answered",
    "forced",
    "from_data",
    "own",
    "passed",
    "timer",
]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The breaker: every step that exists and no other, and what answers and time make of it.

A course is a string of answers a second apart: ``o`` good, ``b`` bad, ``.`` nothing but time.
"""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from selfheal._core.breaker import TRANSITIONS, Breaker, BreakerState, Cause, answered, forced, own, passed, timer
from selfheal._core.errors import IllegalTransition
from selfheal._core.model import Dependency, HttpTarget, Probe

RULES = Dependency(
    "payments",
    Probe("payments", "dependency", HttpTarget("https://pay.example/ready")),
    failure_threshold=3,
    reset_timeout=5.0,
    success_threshold=2,
    half_open_limit=4.0,
)


def course(answers: str) -> BreakerState:
    state = BreakerState()
    for second, letter in enumerate(answers):
        state = passed(RULES, state, float(second))
        if letter != ".":
            state = answered(RULES, state, letter == "o", float(second))
    return state


@pytest.mark.parametrize("state,cause", list(itertools.product(Breaker, Cause)))
def test_every_transition_that_is_in_the_table_and_no_other(state: Breaker, cause: Cause) -> None:
    """C53 a legal one begins with fresh counters; any other raises and changes nothing."""
    before = BreakerState(state, failures=2, successes=1, since=3.0)
    copy = dataclasses.replace(before)
    if (state, cause) in TRANSITIONS:
        assert before.move(cause, 9.0) == BreakerState(TRANSITIONS[state, cause], since=9.0, cause=cause)
    else:
        with pytest.raises(IllegalTransition, match="%s is no transition from %s" % (cause, state)):
            before.move(cause, 9.0)
    assert before == copy


# answers -> (state, since when)
COURSES = [
    ("", Breaker.CLOSED, 0.0),
    ("bb", Breaker.CLOSED, 0.0),
    ("bbb", Breaker.OPEN, 2.0),
    ("bbobb", Breaker.CLOSED, 0.0),
    ("bbbooooo"[:7], Breaker.OPEN, 2.0),
    ("bbb....", Breaker.OPEN, 2.0),
    ("bbb.....", Breaker.HALF_OPEN, 7.0),
    ("bbb....o", Breaker.HALF_OPEN, 7.0),
    ("bbb....oo", Breaker.CLOSED, 8.0),
    ("bbb....b", Breaker.OPEN, 7.0),
    ("bbb....ob", Breaker.OPEN, 8.0),
    ("bbb....o.o", Breaker.CLOSED, 9.0),
    ("bbb........", Breaker.HALF_OPEN, 7.0),
    ("bbb.........", Breaker.OPEN, 11.0),
    ("bbb....o....", Breaker.OPEN, 11.0),
    ("bbb.............", Breaker.OPEN, 11.0),
    ("bbb..............", Breaker.HALF_OPEN, 16.0),
    ("bbb....oobb", Breaker.CLOSED, 8.0),
]


@pytest.mark.parametrize("answers,state,since", COURSES)
def test_course(answers: str, state: Breaker, since: float) -> None:
    """C53 C54 C55 opens at the threshold, tries after reset_timeout, closes after several successes, never stays half-open."""
    found = course(answers)
    assert (found.state, found.since) == (state, since)


def test_time_alone_is_announced() -> None:
    """C54 whoever waits knows until when; closed waits for nothing."""
    assert timer(RULES, course("bb")) is None
    assert timer(RULES, course("bbb")) == 7.0
    assert timer(RULES, course("bbb....o")) == 11.0


def test_an_answer_that_comes_while_open_changes_nothing() -> None:
    """C53 a trial that was begun before and ends late is nobody's."""
    opened = course("bbb")
    assert answered(RULES, opened, True, 3.0) is opened
    assert answered(RULES, opened, False, 3.0) is opened


FORCED_COURSES = [
    (Breaker.CLOSED, ["open"], Breaker.FORCED_OPEN),
    (Breaker.HALF_OPEN, ["open", "open"], Breaker.FORCED_OPEN),
    (Breaker.OPEN, ["disabled"], Breaker.DISABLED),
    (Breaker.OPEN, ["open", "disabled"], Breaker.DISABLED),
    (Breaker.OPEN, ["open", None], Breaker.CLOSED),
    (Breaker.OPEN, ["closed"], Breaker.CLOSED),
    (Breaker.CLOSED, ["closed"], Breaker.CLOSED),
    (Breaker.CLOSED, ["disabled", "closed"], Breaker.CLOSED),
    (Breaker.OPEN, [None], Breaker.OPEN),
    (Breaker.HALF_OPEN, [None], Breaker.HALF_OPEN),
]


@pytest.mark.parametrize("state,words,expected", FORCED_COURSES)
def test_an_operator_comes_first_and_lets_go(state: Breaker, words: list[str | None], expected: Breaker) -> None:
    """What is forced lasts until it is lifted, and begins closed afresh; a word said twice is said once."""
    found = BreakerState(state, failures=2, successes=1, since=3.0)
    for word in words:
        found = forced(found, word, 9.0)
    assert found.state is expected
    if expected is not state:
        assert (found.failures, found.successes, found.since) == (0, 0, 9.0)


@pytest.mark.parametrize("state", [Breaker.FORCED_OPEN, Breaker.DISABLED])
def test_what_is_forced_neither_time_nor_answers_change(state: Breaker) -> None:
    """No timer runs, and no answer counts, until somebody lifts it."""
    found = BreakerState(state, since=0.0)
    assert timer(RULES, found) is None and passed(RULES, found, 1e6) is found
    assert answered(RULES, found, True, 5.0) is found and answered(RULES, found, False, 5.0) is found


OWN = [
    (False, False, None, Breaker.CLOSED),
    (True, False, None, Breaker.OPEN),
    (True, True, None, Breaker.HALF_OPEN),
    (True, False, "disabled", Breaker.DISABLED),
    (False, False, "open", Breaker.FORCED_OPEN),
]


@pytest.mark.parametrize("failing,proving,to,expected", OWN)
def test_the_services_own_follows_its_incident(failing: bool, proving: bool, to: str | None, expected: Breaker) -> None:
    """Open while it fails, half-open while its recovery is proven, closed else; an operator's word before all."""
    assert own(failing, proving, to) is expected

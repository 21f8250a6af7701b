# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ladder's places and the incident's phases: every step that exists, and no other."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from selfheal._core.errors import IllegalTransition
from selfheal._core.incident import TRANSITIONS, Incident, Phase, Trigger
from selfheal._core.ladder import GROUND, Position, climb, settle, step_over, upcoming
from selfheal._core.model import Rung

LADDER = (Rung("restart", 3, 10.0), Rung("redeploy", 2, 120.0), Rung("rollback", 1, 60.0), Rung("page", 1, 0.0))
ONLY_PAGE = (Rung("page", 1, 0.0),)

# attempts begun so far -> (place, rung that comes next)
PLACES = [
    (0, Position(0, 0), "restart"),
    (1, Position(0, 1), "restart"),
    (2, Position(0, 2), "restart"),
    (3, Position(0, 3), "redeploy"),
    (4, Position(1, 1), "redeploy"),
    (5, Position(1, 2), "rollback"),
    (6, Position(2, 1), "page"),
    (7, Position(3, 0), "page"),
    (99, Position(3, 0), "page"),
]


@pytest.mark.parametrize("begun,position,following", PLACES)
def test_climbing(begun: int, position: Position, following: str) -> None:
    """C18 a rung has exactly its attempts; the page is the end, however often it is reached."""
    at = GROUND
    for _attempt in range(begun):
        at = climb(LADDER, at)
    assert at == position
    assert upcoming(LADDER, at).rung == following


# place -> place after the upcoming rung was passed over
PASSED_OVER = [
    (Position(0, 0), Position(1, 0)),
    (Position(0, 2), Position(1, 0)),
    (Position(0, 3), Position(2, 0)),
    (Position(1, 1), Position(2, 0)),
    (Position(2, 0), Position(3, 0)),
    (Position(3, 0), Position(3, 0)),
]


@pytest.mark.parametrize("position,after", PASSED_OVER)
def test_a_rung_that_cannot_help_is_passed_over_whole(position: Position, after: Position) -> None:
    """None of its attempts is made, those of the next are all left, and the page is never passed over."""
    assert step_over(LADDER, position) == after


def test_a_ladder_of_the_page_alone_is_exhausted_from_the_start() -> None:
    """A contract may ask for nothing but a person."""
    assert upcoming(ONLY_PAGE, GROUND).rung == "page"
    assert climb(ONLY_PAGE, GROUND) == settle(ONLY_PAGE, GROUND) == GROUND


def incident(phase: Phase) -> Incident:
    return Incident("web-1", "liveness_failed", 1000.0, 10.0, 18.5, 18.5, phase)


EVERY_PAIR = list(itertools.product(Phase, Trigger))


@pytest.mark.parametrize("phase,trigger", EVERY_PAIR)
def test_every_transition_that_is_in_the_table_and_no_other(phase: Phase, trigger: Trigger) -> None:
    """A legal one moves to the table's phase and remembers when; any other raises and changes nothing."""
    before = incident(phase)
    copy = dataclasses.replace(before)
    if (phase, trigger) in TRANSITIONS:
        assert before.move(trigger, 30.0) == dataclasses.replace(before, phase=TRANSITIONS[phase, trigger], entered=30.0)
    else:
        with pytest.raises(IllegalTransition, match="web-1.*%s is no transition from %s" % (trigger, phase)):
            before.move(trigger, 30.0)
    assert before == copy


def test_the_table_has_no_dead_end_but_closed() -> None:
    """From everywhere an incident can end; closed is final; every phase can be reached."""
    sources = {phase for phase, _trigger in TRANSITIONS}
    assert sources == set(Phase) - {Phase.CLOSED}
    assert set(TRANSITIONS.values()) == set(Phase)
    for phase in sources:
        assert TRANSITIONS[phase, Trigger.REBOOT] is Phase.CLOSED


def test_only_proof_or_a_reboot_closes() -> None:
    """C23 no attempt, answer or page closes an incident by itself."""
    closing = {(phase, trigger) for (phase, trigger), target in TRANSITIONS.items() if target is Phase.CLOSED}
    assert {trigger for _phase, trigger in closing} == {Trigger.PROVEN, Trigger.REBOOT}
    assert [phase for phase, trigger in closing if trigger is Trigger.PROVEN] == [Phase.OBSERVING]

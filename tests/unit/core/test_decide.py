# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision of each phase, row by row, and what taking it changes. The stories in tests/unit/simulate play whole incidents."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, NamedTuple, Optional

import pytest
from deciding import (
    BLIP,
    FAILED,
    FRESH,
    GIVEN_UP,
    JUST_FAILED,
    LADDER,
    NOW,
    SLOW_STARTER,
    STARTING,
    UNREADY,
    WEB,
    WELL,
    acting,
    attempt,
    facts,
    failing,
    incident,
)

from selfheal._core.apply import action_ended, apply
from selfheal._core.decide import Decision, Do, decide
from selfheal._core.errors import IllegalTransition
from selfheal._core.guards import Facts
from selfheal._core.health import State, Verdict
from selfheal._core.incident import Attempt, Phase, Previous
from selfheal._core.ladder import Position
from selfheal._core.memory import NOTHING, Memory
from selfheal._core.model import Service
from selfheal._core.reasons import Reason


class Row(NamedTuple):
    """`until` is seconds from now; None where only news can change the answer."""

    holds: str
    memory: Memory
    facts: Facts
    do: Do
    reason: Optional[Reason] = None
    until: Optional[float] = None
    more: Mapping[str, Any] = {}
    service: Service = WEB


ROWS = [
    # nothing open
    Row("nothing is wrong", NOTHING, facts(WELL), Do.WAIT),
    Row("below the threshold nothing opens", NOTHING, facts(BLIP), Do.WAIT),
    Row(
        "at the threshold it opens, since the first failed probe",
        NOTHING,
        facts(),
        Do.OPEN,
        Reason.LIVENESS_FAILED,
        more={"since": NOW - 9.0},
    ),
    Row("startup given up opens", NOTHING, facts(GIVEN_UP), Do.OPEN, Reason.STARTUP_FAILED, more={"since": NOW - 2.0}),
    Row(
        "readiness opens, since its own first failure", NOTHING, facts(UNREADY), Do.OPEN, Reason.READINESS_FAILED, more={"since": NOW - 3.0}
    ),
    Row("a death opens", NOTHING, facts(FRESH, dead=True, dead_since=NOW - 1.0), Do.OPEN, Reason.GONE, more={"since": NOW - 1.0}),
    Row(
        "C25 a death that its own supervisor mends is measured",
        NOTHING,
        facts(FRESH, revived_since=NOW - 1.0),
        Do.OPEN,
        Reason.GONE,
        more={"since": NOW - 1.0},
    ),
    Row(
        "C25 what is started again and again and never answers is told to a person",
        failing(cause="gone", entered=NOW - 300.0),
        facts(FRESH, pending=True),
        Do.PAGE,
        Reason.UNPROVEN,
    ),
    Row("not before retry_every", failing(cause="gone", entered=NOW - 299.0), facts(FRESH, pending=True), Do.WAIT),
    Row("nor once more", failing(cause="gone", entered=NOW - 300.0, paged="flapping"), facts(FRESH, pending=True), Do.WAIT),
    Row("C32 nor while startup has budget", failing(cause="gone", entered=NOW - 300.0), facts(STARTING, pending=True), Do.WAIT),
    Row(
        "C32 nor before twice the longest start seen",
        dataclasses.replace(failing(cause="gone", entered=NOW - 300.0), longest_start=200.0),
        facts(FRESH, pending=True),
        Do.WAIT,
    ),
    Row(
        "C25 another death while observing is a relapse, whoever starts it",
        failing(phase=Phase.OBSERVING),
        facts(WELL, revived_since=NOW),
        Do.RELAPSE,
        Reason.GONE,
    ),
    Row(
        "an earlier failed probe dates a death",
        NOTHING,
        facts(BLIP, dead=True, dead_since=NOW),
        Do.OPEN,
        Reason.GONE,
        more={"since": NOW - 9.0},
    ),
    Row("C01 stopped on purpose opens nothing", NOTHING, facts(FAILED, stopped=True), Do.WAIT, Reason.ADMIN_STOPPED),
    Row(
        "never started on this boot: the first start is no incident", NOTHING, facts(FRESH, never=True), Do.FIRST_START, Reason.FIRST_START
    ),
    Row("a first start asks the guards as well", NOTHING, facts(FRESH, never=True, hold="by ann"), Do.BLOCK, Reason.HOLD),
    Row(
        "C07 position forgotten after unbroken health",
        Memory(streak=1, healthy_since=NOW - 600.0),
        facts(Verdict(State.HEALTHY, alive_since=0.0, well_since=0.0)),
        Do.FORGET,
    ),
    Row(
        "not a second earlier",
        Memory(streak=1, healthy_since=NOW - 599.0),
        facts(Verdict(State.HEALTHY, alive_since=0.0, well_since=0.0)),
        Do.WAIT,
        until=1.0,
    ),
    # failing
    Row("failing_for not over: wait, by a timer", failing(), facts(JUST_FAILED), Do.WAIT, until=3.0),
    Row("failing_for over", failing(), facts(), Do.ATTEMPT, Reason.LIVENESS_FAILED, more={"rung": "restart", "number": 1, "window": 10.0}),
    Row("death waits for nothing", failing(), facts(FRESH, dead=True), Do.ATTEMPT, Reason.GONE),
    Row(
        "startup given up waits for no further failing_for",
        failing(),
        facts(GIVEN_UP),
        Do.ATTEMPT,
        Reason.STARTUP_FAILED,
        more={"window": 60.0},
        service=SLOW_STARTER,
    ),
    Row("a process that has just taken over has seen nothing yet", failing(), facts(observed=False), Do.WAIT, until=280.0),
    Row("good answers: observing", failing(), facts(WELL), Do.OBSERVE, more={"since": NOW - 5.0}),
    Row(
        "good answers from before the failure are none",
        failing(),
        facts(Verdict(State.HEALTHY, alive_since=NOW - 31.0)),
        Do.WAIT,
        until=280.0,
    ),
    Row(
        "readiness alone: wait, whatever the time",
        failing(cause="readiness_failed", entered=0.0),
        facts(UNREADY),
        Do.WAIT,
        Reason.READINESS_FAILED,
    ),
    Row("a guard says no", failing(), facts(hold="by ann", hold_until=NOW + 9.0), Do.BLOCK, Reason.HOLD, 9.0),
    Row(
        "a rung that cannot help is passed over",
        failing(),
        facts(cannot={"restart": Reason.UNSUPPORTED}),
        Do.STEP_OVER,
        Reason.UNSUPPORTED,
        more={"previous": Previous("cannot_help", "unsupported")},
    ),
    Row(
        "the ladder is exhausted: a person, whatever the guards say",
        Memory(incident=incident(), position=Position(3)),
        facts(hold="by ann"),
        Do.ESCALATE,
        Reason.LADDER_EXHAUSTED,
    ),
    Row(
        "twice the longest start is the window",
        Memory(incident=incident(), longest_start=25.0),
        facts(),
        Do.ATTEMPT,
        Reason.LIVENESS_FAILED,
        more={"window": 50.0},
    ),
    Row("flapping is told before anything else", Memory(incident=incident(), changes=(NOW,) * 6), facts(), Do.PAGE, Reason.FLAPPING),
    Row(
        "flapping is told once",
        Memory(incident=incident(paged="flapping"), changes=(NOW,) * 6),
        facts(),
        Do.ATTEMPT,
        Reason.LIVENESS_FAILED,
    ),
    # acting
    Row("the action runs: nobody waits by a timer", acting(attempt(3.0, None)), facts(), Do.WAIT),
    Row("the window runs", acting(attempt(3.0)), facts(), Do.WAIT, until=7.0),
    Row(
        "the window is over",
        acting(attempt(10.0)),
        facts(),
        Do.ATTEMPT_OVER,
        Reason.WINDOW_OVER,
        more={"previous": Previous("not_healed", "window_over")},
    ),
    Row(
        "a window that nobody watched, its healer being dead, proves nothing",
        acting(attempt(30.0)),
        facts(FRESH, watched_since=NOW - 1.0),
        Do.WAIT,
        until=299.0,
    ),
    Row(
        "but it is over once probes have shown that it did not help",
        acting(attempt(30.0)),
        facts(watched_since=NOW - 1.0),
        Do.ATTEMPT_OVER,
        Reason.WINDOW_OVER,
    ),
    Row("a pending job extends it", acting(attempt(10.0)), facts(pending=True), Do.WAIT),
    Row(
        "the action failed",
        acting(attempt(3.0, outcome="failed", reason="timeout")),
        facts(),
        Do.ATTEMPT_OVER,
        Reason.TIMEOUT,
        more={"previous": Previous("failed", "timeout")},
    ),
    Row("the action failed without a word", acting(attempt(3.0, outcome="failed")), facts(), Do.ATTEMPT_OVER, Reason.ACTION_FAILED),
    Row("an interrupted one has its window", acting(attempt(3.0, outcome="interrupted")), facts(), Do.WAIT, until=7.0),
    Row("it died again", acting(attempt(3.0)), facts(FRESH, dead=True), Do.ATTEMPT_OVER, Reason.DIED_AGAIN),
    Row("answers begun after it", acting(attempt(6.0)), facts(WELL), Do.OBSERVE),
    Row("C29 answers begun before it prove nothing", acting(attempt(4.0)), facts(WELL), Do.WAIT, until=6.0),
    Row("the reset to healthy at a restart proves nothing", acting(attempt(4.0)), facts(FRESH), Do.WAIT, until=6.0),
    Row(
        "C32 while startup has budget the window goes on", acting(attempt(30.0)), facts(STARTING), Do.WAIT, until=31.0, service=SLOW_STARTER
    ),
    # observing
    Row("healthy, not for long enough", Memory(incident=incident(Phase.OBSERVING)), facts(WELL), Do.WAIT, until=5.0),
    Row(
        "healthy for long enough",
        Memory(incident=incident(Phase.OBSERVING)),
        facts(Verdict(State.HEALTHY, alive_since=0.0, well_since=NOW - 10.0)),
        Do.RECOVER,
        Reason.HEALED,
        more={"since": NOW - 10.0},
    ),
    Row(
        "one who has just taken over looks first",
        Memory(incident=incident(Phase.OBSERVING)),
        facts(Verdict(State.HEALTHY, alive_since=0.0, well_since=NOW - 10.0), observed=False),
        Do.WAIT,
    ),
    Row(
        "an answer that is due is waited for",
        Memory(incident=incident(Phase.OBSERVING)),
        facts(Verdict(State.HEALTHY, alive_since=0.0, well_since=NOW - 11.0), asked_since=NOW - 1.5),
        Do.WAIT,
    ),
    Row(
        "a question put after the proof delays nothing",
        Memory(incident=incident(Phase.OBSERVING)),
        facts(Verdict(State.HEALTHY, alive_since=0.0, well_since=NOW - 11.0), asked_since=NOW - 0.5),
        Do.RECOVER,
        Reason.HEALED,
        more={"since": NOW - 11.0},
    ),
    Row("a threshold reached is a relapse", Memory(incident=incident(Phase.OBSERVING)), facts(), Do.RELAPSE, Reason.LIVENESS_FAILED),
    Row("below it, not yet", Memory(incident=incident(Phase.OBSERVING)), facts(BLIP), Do.WAIT),
    Row("a death is a relapse", Memory(incident=incident(Phase.OBSERVING)), facts(FRESH, dead=True), Do.RELAPSE, Reason.GONE),
    # escalated
    Row(
        "after the page it waits",
        Memory(incident=incident(Phase.ESCALATED), position=Position(3)),
        facts(),
        Do.WAIT,
        Reason.LADDER_EXHAUSTED,
        280.0,
    ),
    Row(
        "a ladder of a page alone has no rung to try again",
        Memory(incident=incident(Phase.ESCALATED, entered=NOW - 300.0)),
        facts(),
        Do.WAIT,
        Reason.LADDER_EXHAUSTED,
        more={"detail": "a person was told; the ladder has nothing else to try"},
        service=dataclasses.replace(WEB, ladder=WEB.ladder[-1:]),
    ),
    Row(
        "then the first rung again",
        Memory(incident=incident(Phase.ESCALATED, entered=NOW - 300.0), position=Position(3)),
        facts(),
        Do.ATTEMPT,
        Reason.LIVENESS_FAILED,
        more={"rung": "restart", "number": 1, "retry": True},
    ),
    Row(
        "outside the budget",
        Memory(
            incident=incident(Phase.ESCALATED, entered=NOW - 300.0),
            position=Position(3),
            actions=(NOW - 9.0,) * 10,
            streak=9,
            last_action=NOW,
        ),
        facts(),
        Do.ATTEMPT,
        Reason.LIVENESS_FAILED,
    ),
    Row(
        "but not against a person",
        Memory(incident=incident(Phase.ESCALATED, entered=NOW - 300.0), position=Position(3)),
        facts(hold="by ann"),
        Do.BLOCK,
        Reason.HOLD,
    ),
    Row("it healed while a person was told", Memory(incident=incident(Phase.ESCALATED), position=Position(3)), facts(WELL), Do.OBSERVE),
    Row("a retry's window", acting(attempt(10.0), Phase.RETRYING), facts(), Do.ATTEMPT_OVER, Reason.WINDOW_OVER),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.holds for row in ROWS])
def test_decision(row: Row) -> None:
    """What is done, why, when to ask again; and that taking it is legal and leaves the memory it came from alone."""
    before = dataclasses.replace(row.memory)
    decision = decide(row.service, row.memory, row.facts, NOW)
    assert (decision.do, decision.reason) == (row.do, row.reason)
    assert decision.until == (None if row.until is None else pytest.approx(NOW + row.until))
    assert {key: getattr(decision, key) for key in row.more} == row.more
    after = apply(row.service, row.memory, decision, row.facts, NOW)
    assert row.memory == before
    assert (after == before) is (row.do is Do.WAIT)


@pytest.mark.parametrize("phase", [Phase.ACTING, Phase.OBSERVING, Phase.RETRYING])
def test_an_illegal_transition_changes_nothing(phase: Phase) -> None:
    """An attempt cannot begin while another runs: the machine refuses, and the memory is as before."""
    memory = Memory(incident=incident(phase))
    before = dataclasses.replace(memory)
    with pytest.raises(IllegalTransition):
        apply(WEB, memory, Decision(Do.ATTEMPT, Reason.LIVENESS_FAILED, rung="restart", number=1), facts(), NOW)
    assert memory == before


def test_an_attempt_counts_against_the_budget_and_a_retry_does_not() -> None:
    """C05 what is begun is remembered with its moment; the retry after a page moves neither budget nor position."""
    tried = apply(WEB, failing(), Decision(Do.ATTEMPT, Reason.LIVENESS_FAILED, rung="restart", number=1, window=10.0), facts(), NOW)
    assert (tried.actions, tried.position, tried.streak) == ((NOW,), Position(0, 1), 1)
    told = Memory(incident=incident(Phase.ESCALATED), position=Position(3), actions=(1.0,))
    retried = apply(WEB, told, Decision(Do.ATTEMPT, Reason.LIVENESS_FAILED, rung="restart", number=1, retry=True), facts(), NOW)
    assert (retried.actions, retried.position) == ((1.0,), Position(3))


def test_only_a_running_action_ends() -> None:
    """The end of an action that nobody began, or that has ended, changes nothing."""
    assert action_ended(NOTHING, "ok", NOW) is NOTHING
    over = acting(attempt(5.0))
    assert action_ended(over, "failed", NOW) is over
    running = action_ended(acting(attempt(5.0, None)), "failed", NOW, Reason.TIMEOUT)
    assert running.incident is not None and running.last_action == NOW
    assert running.incident.attempt == Attempt("restart", 1, NOW - 5.0, 10.0, NOW, "failed", "timeout")


def test_the_first_start_seen_sets_the_window_of_the_next() -> None:
    """C32 what an attempt took until its first good answer is remembered, and only ever grows."""
    healed = apply(WEB, acting(attempt(8.0)), Decision(Do.OBSERVE, since=NOW - 2.0), facts(WELL), NOW)
    assert healed.longest_start == 6.0
    again = dataclasses.replace(acting(attempt(3.0)), longest_start=6.0)
    assert apply(WEB, again, Decision(Do.OBSERVE, since=NOW - 2.0), facts(WELL), NOW).longest_start == 6.0


def test_what_somebody_else_healed_hours_later_is_no_long_start() -> None:
    """C07 a window is at most twice `retry_every`: an outage of hours must not make every later attempt wait for hours."""
    mended = apply(WEB, acting(attempt(7200.0)), Decision(Do.OBSERVE, since=NOW - 2.0), facts(WELL), NOW)
    assert mended.longest_start == 0.0
    slow = apply(WEB, acting(attempt(302.0)), Decision(Do.OBSERVE, since=NOW - 2.0), facts(WELL), NOW)
    assert slow.longest_start == WEB.retry_every == 300.0


def test_a_place_beyond_a_shortened_ladder_is_its_end() -> None:
    """A contract reloaded in the middle of a climb breaks nothing: what is left is the page."""
    short = dataclasses.replace(WEB, ladder=(LADDER[0], LADDER[3]))
    high = Memory(incident=incident(), position=Position(2, 1))
    assert decide(short, high, facts(), NOW).do is Do.ESCALATE
    over = Decision(Do.ATTEMPT_OVER, Reason.UNSUPPORTED, previous=Previous("cannot_help", "unsupported"))
    tried = dataclasses.replace(acting(attempt(3.0)), position=Position(2, 1))
    assert decide(short, apply(short, tried, over, facts(), NOW), facts(), NOW).do is Do.ESCALATE

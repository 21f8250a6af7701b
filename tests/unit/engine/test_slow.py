# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slowness, seen and foretold, as the engine tells it: a state, an event, and never a restart."""

from __future__ import annotations

from typing import Any, Callable

from healing import Stage

from selfheal._engine import explain
from selfheal._engine.world import GOOD, Ask


class Timed(Ask):
    """A probe that takes as long as a function of the time says."""

    def __init__(self, stage: Stage, probe: Any, takes: Callable[[float], float]) -> None:
        super().__init__(stage.body, probe)
        self._takes = takes

    def plan(self, now: float, deadline: float) -> Any:
        return min(deadline, now + self._takes(now)), GOOD


def play(takes: Callable[[float], float], **changes: Any) -> Stage:
    stage = Stage(**changes).watch()
    stage.healer.watch._prober = lambda probe: Timed(stage, probe, takes)
    return stage


def rising(now: float) -> float:
    """From 1 s by 2 ms a second: beyond the limit of 3 s after 1,000 s, and at 3.5 s for good."""
    return min(3.5, 1.0 + now * 0.002)


PREDICTS = {"slow": {"predict": True}}


def test_it_is_told_before_the_breach_and_again_when_it_comes() -> None:
    """degrade says predicted, when, and how steep; the breach itself is a second one, and nothing else happens."""
    stage = play(rising, **PREDICTS).until(1500)
    degrades = [event for event in stage.records.events if event["type"] == "degrade"]
    assert len(degrades) == 2
    early, breach = degrades
    assert early["data"]["predicted"] is True and early["data"]["reason"] == "slow"
    assert 650 < early["at"] < 900 and abs(early["at"] + early["data"]["in_seconds"] - 1000) < 30
    assert 118 < early["data"]["slope_ms_per_minute"]["liveness"] < 122
    assert "predicted" not in breach["data"] and 1000 < breach["at"] < 1040
    assert str(stage.healer.state) == "degraded"


def test_without_predict_nothing_is_foretold() -> None:
    """The default tells of a breach when it is there."""
    stage = play(rising).until(1500)
    assert [event["data"].get("predicted") for event in stage.records.events if event["type"] == "degrade"] == [None]


def test_what_was_foretold_and_did_not_come_is_taken_back() -> None:
    """A rise that ends below the limit: degraded for a while, then healthy again."""
    stage = play(lambda now: 1.0 + min(now, 800.0) * 0.002, **PREDICTS).until(900)
    assert str(stage.healer.state) == "degraded"
    assert "soon will take longer than 3 s" in explain.sentence(stage.healer)
    stage.until(2500)
    assert str(stage.healer.state) == "healthy" and len([e for e in stage.records.events if e["type"] == "degrade"]) == 1


def test_a_new_instance_is_not_judged_by_the_old_one() -> None:
    """A restart by somebody else: nothing is foretold until the new one shows it."""
    stage = play(rising, **PREDICTS).until(900)
    assert str(stage.healer.state) == "degraded"
    stage.healer.watch._prober = lambda probe: Timed(stage, probe, lambda now: 0.5)
    stage.body.renew(stage.world.host, heals=False)
    stage.healer.look_again()
    stage.until(920)
    assert str(stage.healer.state) == "healthy"


def test_degraded_never_restarts_by_itself() -> None:
    """C26 slow for six hours, foretold or measured: no incident, no action, no page, no block."""
    for changes in ({}, PREDICTS):
        stage = play(rising, **changes).until(6 * 3600)
        assert {event["type"] for event in stage.records.events} == {"degrade"}
        assert str(stage.healer.state) == "degraded"

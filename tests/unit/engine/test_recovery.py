# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is called recovered is what stands there when its time is over, and not what stood there when it was last asked."""

from __future__ import annotations

from typing import Optional, Tuple

import pytest
from healing import Stage

from selfheal._actuators.base import Presence, State, Timed, Work
from selfheal._engine.world import GOOD, VirtualStep
from selfheal._host import Outcome


class Takes(VirtualStep):
    """An engine that is busy for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def plan(self, now: float, deadline: float) -> Tuple[float, Optional[Outcome]]:
        return now + self.seconds, GOOD


def observed(**changes: object) -> Stage:
    """It died at 5, was started, and has answered well since 6; it would be called recovered at 16."""
    stage = Stage(**changes).watch().until(5)
    stage.body.actions["start"] = type("Script", (), {"result": "ok", "takes": 1.0, "heals": True})()
    stage.body.alive = False
    stage.body.ends(stage.world.host)
    stage.until(15.5)
    assert [("failure", "gone"), ("start", "gone")] == [(type, reason) for _at, type, reason in stage.told("failure", "start", "recover")]
    return stage


def slowly(stage: Stage, seconds: float, *found: Presence) -> None:
    """What each look finds; the last of them from then on."""
    left = list(found)

    def look() -> Work[Presence]:
        yield Timed(Takes(seconds), 60.0)
        return left.pop(0) if len(left) > 1 else left[0]

    stage.actuator.look = look  # type: ignore[method-assign]


def test_it_died_again_and_its_engine_is_slow_to_say_so() -> None:
    """A death half a second before the proof is complete, told three seconds after it: a relapse of the same incident, and no recovery.

    A container that crashes again under its restart policy: its probe cannot tell (unknown) while the policy pauses, and the engine answers
    no inspection while it cleans up.
    """
    stage = observed()
    stage.body.results["liveness"] = "unknown"
    slowly(stage, 3.0, *(Presence(State.STARTING, None, "its policy starts it", 0.2, revived=revived) for revived in (True, False)))
    stage.body.ends(stage.world.host)
    stage.until(30)
    assert not stage.told("recover") and 1 == len(stage.told("failure"))
    del stage.actuator.look
    stage.body.renew(stage.world.host, heals=True)
    stage.until(60)
    recovered = stage.told("recover")
    assert 1 == len(recovered) and 40 <= recovered[0][0] < 44, stage.told()
    assert 1 == len(stage.told("failure")) and 1 == len(stage.told("start", "restart"))


@pytest.mark.parametrize("takes", [0.0, 2.0])
def test_a_death_that_nobody_heard(takes: float) -> None:
    """It is looked at once more when the time is over: another instance that has answered nothing yet is not what was proven."""
    stage = observed()
    stage.body.results["liveness"] = "unknown"
    stage.body.watchers.clear()
    stage.body.serial += 1
    stage.body.since = 15.6
    slowly(stage, takes, Presence(State.RUNNING, stage.body.instance))
    stage.until(25)
    assert not stage.told("recover")
    stage.answers("ok").until(60)
    # The health of the new instance begins with its first answer at 25 (a quarter of a second between two), and lasts for ten seconds.
    assert [35] == [int(at - takes) for at, _type, _reason in stage.told("recover")], stage.told()


def test_its_own_health_check_is_still_starting() -> None:
    """What runs and answers, and is still starting by its engine's word, is not called recovered until that is over."""
    stage = observed()
    stage.actuator.sees = Presence(State.RUNNING, stage.body.instance, pending=True)
    stage.until(40)
    assert not stage.told("recover")
    stage.actuator.sees = None
    stage.until(42)
    assert [40] == [round(at) for at, _type, _reason in stage.told("recover")]


def test_why_an_action_failed_is_told_with_the_next() -> None:
    """C66 "no space left" is said where a person looks: in the event of the next attempt, and in the page."""
    stage = Stage(ladder=[{"rung": "restart", "attempts": 2, "timeout": 10}]).watch().until(5)
    stage.actuator.fails = True
    stage.body.alive = False
    stage.body.ends(stage.world.host)
    stage.until(60)
    told = [(event["type"], event["data"]["previous"]) for event in stage.records.events if "previous" in event["data"]]
    failed = {"outcome": "failed", "reason": "action_failed", "detail": "it does not start"}
    assert [("start", failed), ("page", failed)] == told

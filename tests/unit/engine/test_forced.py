# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Breakers in the hands of people, as the engine follows them: of a dependency and of the service itself."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from healing import Stage

from selfheal._actuators.base import Work
from selfheal._engine.engine import Engine
from selfheal._engine.forced import ForcedBreakers
from selfheal._engine.surroundings import Wiring
from selfheal._engine.traffic import Fallback
from selfheal._engine.world import Reach
from selfheal._host import Outcome
from selfheal._records.breakers import Breakers

PAYMENTS = [{"name": "payments", "probe": {"http": {"url": "https://pay.example/ready"}, "period": 10}}]


class Moves(Fallback):
    def __init__(self) -> None:
        self.made: list[str] = []

    def open(self) -> Work[Outcome]:
        return self._move("away")

    def close(self) -> Work[Outcome]:
        return self._move("back")

    def _move(self, word: str) -> Work[Outcome]:
        yield from ()
        self.made.append(word)
        return Outcome("ok")


class Play:
    """A stage with a dependency, a fallback, and somebody who forces breakers."""

    def __init__(self, folder: pathlib.Path, **changes: Any) -> None:
        self.breakers = Breakers(str(folder))
        self.stage = Stage(dependencies=PAYMENTS, fallback={"command": {"argv_open": ["/bin/a"], "argv_close": ["/bin/b"]}}, **changes)
        self.reached: dict[str, str] = {}
        self.moves = Moves()
        self.begin()

    def begin(self) -> None:
        self.forced = ForcedBreakers(self.breakers)
        wiring = Wiring(ask_dependency=lambda rules: Reach(self.reached, rules.name), fallback=self.moves, forced=self.forced)
        self.stage.watch(wiring=wiring)
        self.stage.engine = Engine(self.stage.world.host, self.stage.engine.healers, [self.forced])

    def asked(self, at: float) -> Play:
        self.stage.until(at)
        return self

    @property
    def dependency(self) -> str:
        return str(self.stage.healer.around.dependencies[0].state.state)

    @property
    def own(self) -> str:
        return str(self.stage.healer.around.breaker())


@pytest.fixture
def play(tmp_path: pathlib.Path) -> Play:
    return Play(tmp_path)


def test_a_dependency_forced_open_makes_restarts_wait_until_it_is_lifted(play: Play) -> None:
    """Seen within a second, though the dependency answers well; lifted, the restart goes at once and the breaker begins closed."""
    play.asked(5)
    play.breakers.force("web", "payments", "open", "ann")
    play.asked(6.1)
    assert play.dependency == "forced_open"
    play.stage.answers("bad").until(40)
    assert play.stage.told("restart") == [] and play.stage.told("blocked")[0][2] == "dependency_down"
    assert "forced open" in play.stage.healer.decision.detail
    play.breakers.lift("web", "payments")
    play.asked(42)
    assert play.dependency == "closed" and [at for at, _type, _reason in play.stage.told("restart")] == [pytest.approx(41, abs=1.1)]


def test_a_disabled_breaker_binds_nobody(play: Play) -> None:
    """A dependency that is down keeps no restart waiting, and is not asked any more."""
    play.reached["payments"] = "bad"
    play.breakers.force("web", "payments", "disabled", "ann")
    play.asked(5).stage.answers("bad").until(16)
    assert play.dependency == "disabled" and len(play.stage.told("restart")) == 1
    assert play.stage.told("breaker_trip", "blocked") == []


def test_closing_is_done_once(play: Play) -> None:
    """An open breaker is closed with fresh counters by a word, which is then used up; it opens again by itself."""
    play.reached["payments"] = "bad"
    play.asked(45)
    assert play.dependency == "open"
    play.breakers.force("web", "payments", "closed", "ann")
    play.asked(47)
    assert play.dependency == "closed" and play.breakers.list() == []
    play.asked(100)
    assert [at for at, _type, _reason in play.stage.told("breaker_trip")] == [40, pytest.approx(86, abs=1.5)]


def test_what_is_forced_outlives_the_watchdog(play: Play) -> None:
    """A new process takes it up before it asks anything."""
    play.asked(5)
    play.breakers.force("web", "payments", "open", "ann")
    play.breakers.force("web", None, "open", "ann")
    play.begin()
    play.asked(8)
    assert (play.dependency, play.own, play.moves.made) == ("forced_open", "forced_open", ["away"])
    play.breakers.lift("web", "payments")
    play.breakers.lift("web", None)
    play.begin()
    play.asked(30)
    assert (play.dependency, play.own, play.moves.made) == ("closed", "closed", ["away", "back"])


def test_the_services_own_forced_open_moves_its_traffic_and_keeps_it_away(play: Play) -> None:
    """Its traffic leaves within a second, with a reason of its own, and is not given back by good answers."""
    play.asked(5)
    play.breakers.force("web", None, "open", "ann", "its disk is changed")
    play.asked(6.1)
    assert play.moves.made == ["away"] and play.stage.told("failover") == [(pytest.approx(6, abs=1.1), "failover", "forced")]
    play.asked(300)
    assert play.moves.made == ["away"] and play.own == "forced_open"
    play.breakers.lift("web", None)
    play.asked(320)
    assert play.moves.made == ["away", "back"] and play.own == "closed"


def test_the_services_own_disabled_moves_nothing(play: Play) -> None:
    """An incident climbs its ladder; traffic stays, and comes back where it had left before."""
    play.asked(5).stage.answers("bad").until(12)
    assert (play.moves.made, play.own) == (["away"], "open")
    play.breakers.force("web", None, "disabled", "ann")
    play.asked(40)
    assert (play.moves.made, play.own) == (["away", "back"], "disabled") and len(play.stage.told("restart")) > 1


def test_a_hold_stands_above_it(play: Play) -> None:
    """Hands off means traffic, too: said once, and followed when the hold is lifted."""
    from selfheal._engine.ports import Held

    play.stage.world.desk.holds["web"] = Held("held by bob")
    play.breakers.force("web", None, "open", "ann")
    play.asked(30)
    assert play.moves.made == [] and [reason for _at, _type, reason in play.stage.told("blocked")] == ["hold"]
    play.stage.world.desk.holds.clear()
    play.asked(45)
    assert play.moves.made == ["away"]


def test_a_host_with_nothing_to_force_is_not_woken(tmp_path: pathlib.Path) -> None:
    """An idle watchdog sleeps until its next probe."""
    forced = ForcedBreakers(Breakers(str(tmp_path)))
    Stage().watch(wiring=Wiring(forced=forced))
    forced.turn(5.0)
    assert forced.concerned == [] and forced.wake == float("inf")


def test_a_directory_that_cannot_be_read_changes_nothing(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was known goes on; it is read again as soon as that works."""
    from selfheal._core.errors import RecordError

    play.breakers.force("web", "payments", "open", "ann")
    play.asked(3)
    real = Breakers.list

    def broken(self: Breakers) -> Any:
        raise RecordError("EIO")

    monkeypatch.setattr(Breakers, "list", broken)
    play.breakers.lift("web", "payments")
    play.asked(10)
    assert play.dependency == "forced_open" and play.forced.problem == "EIO"
    monkeypatch.setattr(Breakers, "list", real)
    play.asked(12)
    assert play.dependency == "closed" and play.forced.problem is None

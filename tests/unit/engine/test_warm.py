# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""keep_warm: requests that keep a service warm, are no probes, and are in nobody's way."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from healing import Stage

from selfheal._actuators.base import Timed, Work
from selfheal._engine.surroundings import Wiring
from selfheal._engine.traffic import Fallback
from selfheal._engine.world import BAD, GOOD, Ask, VirtualStep
from selfheal._host import Outcome

WARM = {"keep_warm": {"http": {"url": "http://127.0.0.1:8080/front"}, "period": 30}}


class Play:
    """A stage that notes when a warm request began; it takes `takes` seconds."""

    def __init__(self, takes: float = 0.0, good: bool = True, moves: Optional[Fallback] = None, **changes: Any) -> None:
        if moves is not None:
            changes["fallback"] = {"command": {"argv_open": ["/bin/a"], "argv_close": ["/bin/b"]}}
        self.stage = Stage(**{**WARM, **changes})
        self.takes, self.good = takes, good
        self.begun: list[float] = []
        self.stage.watch(wiring=Wiring(ask_warm=lambda rules: Request(self), keeps_warm=True, fallback=moves))

    @property
    def counts(self) -> dict[str, int]:
        return self.stage.healer.around.warm.counts


class Request(VirtualStep):
    def __init__(self, play: Play) -> None:
        self.play = play

    def plan(self, now: float, deadline: float) -> Any:
        self.play.begun.append(now)
        return min(deadline, now + self.play.takes), GOOD if self.play.good else BAD


def test_it_is_asked_every_period_and_never_counted_as_a_probe() -> None:
    """Some 20 requests in 600 s, no more probes than without, and none of them in a tally."""
    play = Play()
    play.stage.until(600)
    plain = Stage().watch().until(600)
    assert play.counts == {"ok": 20, "bad": 0, "unknown": 0, "given_way": 0}
    assert play.stage.healer.watch.tally["liveness"].runs == plain.healer.watch.tally["liveness"].runs


def test_what_comes_of_it_changes_nothing() -> None:
    """A warm request that fails is no failed probe: no event, no state."""
    play = Play(good=False)
    play.stage.until(600)
    assert play.counts["bad"] == 20 and play.stage.told() == [] and str(play.stage.healer.state) == "healthy"


def test_a_probe_never_waits_for_one() -> None:
    """C13 one that hangs is let go of when a probe comes due; every probe runs at the second it would have run."""

    class Noted(Ask):
        times: list[float] = []

        def plan(self, now: float, deadline: float) -> Any:
            Noted.times.append(now)
            return super().plan(now, deadline)

    def run(play: Stage, until: float) -> list[float]:
        Noted.times = []
        play.until(until)
        return Noted.times

    play = Play(takes=1e6)
    plain = Stage().watch()
    for stage in (play.stage, plain):
        stage.healer.watch._prober = lambda probe, stage=stage: Noted(stage.body, probe)
    assert run(play.stage, 300) == run(plain, 300) != []
    assert play.counts["given_way"] >= 9 and play.counts["ok"] == 0


def test_none_is_begun_when_a_probe_is_about_to_run() -> None:
    """Probes run at full tens of seconds; no request begins in the fifth of a second before one, nor while one is under way."""
    play = Play(keep_warm={"http": {"url": "http://127.0.0.1:8080/front"}, "period": 1})
    play.stage.body.results["liveness"] = "slow"
    play.stage.until(100)
    assert play.begun
    for at in play.begun:
        assert at % 10 < 9.8 + 1e-6 and not 0 <= at % 10 < 3.4


def test_none_during_an_incident() -> None:
    """What fails is not bothered; when it is proven well it goes on."""
    play = Play()
    play.stage.until(5).answers("bad").until(400)
    incident = [at for at, _type, _reason in play.stage.told("failure")][0]
    assert [at for at in play.begun if at > incident] == []
    play.stage.answers("ok").until(800)
    assert len([at for at in play.begun if at > 420]) >= 10


@pytest.mark.parametrize("changes", [{"mode": "observe"}, {"keep_warm": None}])
def test_none_where_nothing_is_to_be_done(changes: dict[str, Any]) -> None:
    """A host that only observes makes no requests of its own; nor one whose contract does not ask for them."""
    play = Play(**changes)
    play.stage.until(300)
    assert play.begun == []


class Moves(Fallback):
    def __init__(self) -> None:
        self.back: list[float] = []
        self.stage: Any = None

    def open(self) -> Work[Outcome]:
        yield Timed(Now(), 1.0)
        return Outcome("ok")

    def close(self) -> Work[Outcome]:
        yield Timed(Now(), 1.0)
        self.back.append(self.stage.world.host.now)
        return Outcome("ok")


class Now(VirtualStep):
    def plan(self, now: float, deadline: float) -> Any:
        return now, GOOD


@pytest.mark.parametrize("good", [True, False])
def test_it_is_warmed_up_before_traffic_returns(good: bool) -> None:
    """Three requests after the recovery is proven and before traffic is given back, whatever comes of them."""
    moves = Moves()
    play = Play(takes=1.0, good=good, moves=moves)
    moves.stage = play.stage
    play.stage.until(5).answers("bad").until(12).answers("ok").until(60)
    recovered = play.stage.told("recover")[0][0]
    assert [at - recovered for at in play.begun if at >= recovered][:3] == [0.0, 1.0, 2.0]
    assert moves.back and moves.back[0] - recovered == pytest.approx(3.0)

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When traffic is moved, what is remembered of it, and what becomes of moves that were half done, undone or useless."""

from __future__ import annotations

from typing import Any, List, Optional

import pytest
from healing import Stage

from selfheal._actuators.base import Timed, Work
from selfheal._core.reasons import Reason
from selfheal._engine.ports import Held
from selfheal._engine.surroundings import Wiring
from selfheal._engine.traffic import Fallback
from selfheal._engine.world import VirtualStep
from selfheal._host import Outcome

GOOD = Outcome("ok")
PROBE = {"http": {"url": "http://127.0.0.1:9000/ready"}}


class Takes(VirtualStep):
    """A while."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def plan(self, now: float, deadline: float) -> Any:
        return now + self.seconds, GOOD


class Balancer(Fallback):
    """A balancer as it really is: `away` is where traffic goes, whoever changed that. A move takes half a second."""

    def __init__(self) -> None:
        self.away = False
        self.backup_up = True
        self.answers = True
        self.moves: List[str] = []
        self.warmed = 0

    def able(self) -> Work[Outcome]:
        yield from ()
        return GOOD if self.backup_up else Outcome("bad", Reason.NO_BACKUP, "b is DOWN")

    def open(self) -> Work[Outcome]:
        return self._move(True)

    def close(self) -> Work[Outcome]:
        return self._move(False)

    def _move(self, away: bool) -> Work[Outcome]:
        yield Timed(Takes(0.5), 10.0)
        if not self.answers:
            return Outcome("bad", Reason.TIMEOUT, "no answer")
        self.away = away
        self.moves.append("away" if away else "home")
        return GOOD

    def stands(self) -> Optional[Work[Outcome]]:
        return self._standing()

    def _standing(self) -> Work[Outcome]:
        yield from ()
        if not self.answers:
            return Outcome("unknown", Reason.TIMEOUT, "no answer")
        if not self.away:
            return Outcome("bad", Reason.TRAFFIC_RETURNED, "a is UP")
        return GOOD if self.backup_up else Outcome("bad", Reason.NO_BACKUP, "b is DOWN")

    def warm_up(self) -> Work[Any]:
        yield Timed(Takes(2.0), 10.0)
        self.warmed += 1
        return None


class Traffic(Stage):
    """A stage with a balancer in front of the service."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(fallback={"agent_check": {"port": 9878}}, ladder=[{"rung": "restart", "attempts": 1}], **changes)
        self.balancer = Balancer()
        self.warm = False

    def watch(self, **how: Any) -> Traffic:
        wiring = Wiring(fallback=self.balancer, warm_up=self.balancer.warm_up if self.warm else None)
        super().watch(wiring=wiring, **how)
        return self

    def said(self) -> list[tuple[float, str, Any]]:
        return self.told("failover", "failback", "blocked", "note")

    @property
    def remembered(self) -> str:
        return self.healer.memory.traffic


def failing(**changes: Any) -> Traffic:
    """A service that fails from 10 on; traffic goes at 10.5, at the threshold, long before anything is restarted."""
    stage = Traffic(**changes)
    stage.watch().until(5).answers("bad").until(12)
    return stage


def test_traffic_leaves_on_suspicion_before_any_restart() -> None:
    """At the threshold, half a second after the first failure; the restart waits for proof."""
    stage = failing()
    assert [(10.5, "failover", "liveness_failed")] == stage.said()
    assert (True, "backup") == (stage.balancer.away, stage.remembered)
    assert [15] == [at for at, _type, _reason in stage.until(16).told("restart")]


def test_traffic_returns_only_after_proof() -> None:
    """C55 one good answer is no proof: the service is well for recovered_after first, all that time."""
    stage = failing()
    stage.until(20).answers("ok").until(29.5)
    assert stage.balancer.away
    stage.until(40)
    assert (False, "primary") == (stage.balancer.away, stage.remembered)
    assert 30 <= [at for at, type, _reason in stage.said() if type == "failback"][0] <= 31


def test_no_backup_no_move_and_as_soon_as_there_is_one_it_is_made() -> None:
    """C56 C60 nothing is announced that is not done; why not is said once, and asked again every ten seconds."""
    stage = Traffic()
    stage.balancer.backup_up = False
    stage.watch().until(5).answers("bad").until(45)
    assert [(10.5, "blocked", "no_backup")] == stage.said()
    assert (False, "primary") == (stage.balancer.away, stage.remembered)
    stage.balancer.backup_up = True
    stage.until(56)
    assert stage.balancer.away and "failover" == stage.said()[-1][1]


def test_a_fault_that_passes_while_there_is_no_backup_leaves_no_trace() -> None:
    """No failback is told of a failover that never was."""
    stage = Traffic()
    stage.balancer.backup_up = False
    stage.watch().until(5).answers("bad").until(12).answers("ok").until(60)
    assert [(10.5, "blocked", "no_backup")] == stage.said()
    assert [] == stage.balancer.moves


def test_a_move_that_got_no_answer_is_made_again_until_it_is_read_back() -> None:
    """What is remembered is `to_backup` meanwhile: nobody believes a move that was not read back."""
    stage = Traffic()
    stage.balancer.answers = False
    stage.watch().until(5).answers("bad").until(15)
    assert "to_backup" == stage.remembered
    stage.balancer.answers = True
    stage.until(25)
    assert (True, "backup") == (stage.balancer.away, stage.remembered)
    assert [(10.5, "failover", "liveness_failed"), (11, "blocked", "timeout")] == stage.said()


@pytest.mark.parametrize("at", [10.6, 10.9])
def test_a_watchdog_killed_in_the_middle_of_a_move_takes_it_up(at: float) -> None:
    """C37 half applied is repaired at the next cycle, and told once."""
    stage = Traffic()
    stage.watch().until(5).answers("bad").until(at)
    assert "to_backup" == stage.remembered
    stage.watch().until(13)
    assert (True, "backup") == (stage.balancer.away, stage.remembered)
    assert 1 == len([each for each in stage.said() if each[1] == "failover"])


def test_a_balancer_that_forgot_is_told_again() -> None:
    """HAProxy started anew serves from the primary again: noticed within five seconds, said, and moved again."""
    stage = failing()
    stage.balancer.away = False
    stage.until(18)
    assert stage.balancer.away
    assert ["failover", "note", "failover"] == [type for _at, type, _reason in stage.said()]


def test_a_balancer_that_forgot_while_nobody_watched_is_told_at_once() -> None:
    """C37 a watchdog that starts looks first."""
    stage = failing()
    stage.balancer.away = False
    stage.watch().until(13.5)
    assert stage.balancer.away


def test_a_balancer_that_does_not_answer_is_not_taken_for_one_that_forgot() -> None:
    """C04 unknown is not failed: nothing is said or done while HAProxy is being restarted."""
    stage = failing()
    stage.balancer.answers = False
    stage.until(60)
    assert [(10.5, "failover", "liveness_failed")] == stage.said()
    assert "backup" == stage.remembered


def test_a_backup_that_dies_gives_the_traffic_back() -> None:
    """C56 never nobody: a primary under suspicion is better than no server at all, and traffic goes again when a backup is up."""
    stage = failing()
    stage.balancer.backup_up = False
    stage.until(20)
    assert not stage.balancer.away
    assert ("failback", "no_backup") in [each[1:] for each in stage.said()]
    stage.balancer.backup_up = True
    stage.until(40)
    assert (True, "backup") == (stage.balancer.away, stage.remembered)


def test_a_person_who_moved_traffic_by_hand_is_left_alone() -> None:
    """C60 without an incident nothing is looked at, and nothing is given back."""
    stage = Traffic()
    stage.watch().until(5)
    stage.balancer.away = True
    stage.until(300)
    assert stage.balancer.away and [] == stage.said()


def test_after_a_reboot_traffic_waits_for_proof() -> None:
    """C55 the incident is closed by the boot, and traffic still returns only to a service that was well for recovered_after."""
    stage = failing()
    stage.until(14)
    stage.records.boot_changed = True
    stage.body.results["liveness"] = "bad"
    stage.watch().until(14.4)
    assert stage.balancer.away and "failback" not in [type for _at, type, _reason in stage.said()]
    stage.until(60).answers("ok").until(69)
    assert stage.balancer.away
    stage.until(90)
    assert not stage.balancer.away


def test_a_first_good_answer_after_a_reboot_is_no_proof() -> None:
    """The service came up well with the host: its traffic returns after recovered_after, not before."""
    stage = failing()
    stage.until(14)
    stage.records.boot_changed = True
    stage.body.results["liveness"] = "ok"
    stage.watch().until(23)
    assert stage.balancer.away
    stage.until(40)
    assert not stage.balancer.away


def test_warm_up_comes_before_traffic() -> None:
    """Between proof and return; and one that fails meanwhile keeps its traffic away."""
    stage = Traffic()
    stage.warm = True
    stage.watch().until(5).answers("bad").until(20).answers("ok").until(31)
    assert (True, 0) == (stage.balancer.away, stage.balancer.warmed)
    stage.until(36)
    assert (False, 1) == (stage.balancer.away, stage.balancer.warmed)


def test_a_service_that_fails_while_it_is_warmed_up_keeps_its_traffic_away() -> None:
    """C55 no traffic is given back on the proof of before."""
    stage = Traffic(confirm_period=0.2)
    stage.warm = True
    stage.watch().until(5).answers("bad").until(20).answers("ok")
    while [type for _at, type, _reason in stage.told("recover")] == []:
        stage.until(stage.world.host.now + 0.25)
    stage.body.alive = False
    stage.body.ends(stage.world.host)
    stage.until(stage.world.host.now + 5)
    assert stage.balancer.away and "home" not in stage.balancer.moves


def test_a_hold_keeps_traffic_where_it_is() -> None:
    """Held means no rung and no traffic, also where it came back by itself."""
    stage = failing()
    stage.world.desk.holds["web"] = Held("mine", None)
    stage.balancer.away = False
    stage.until(60)
    assert not stage.balancer.away
    del stage.world.desk.holds["web"]
    stage.healer.nudge()
    stage.until(80)
    assert stage.balancer.away


def test_who_lifts_a_hold_lifts_it_for_the_traffic_too() -> None:
    """override: [hold] heals as if nobody held, traffic first."""
    stage = Traffic()
    stage.world.desk.holds["web"] = Held("mine", None)
    stage.watch(operated=True, override=frozenset([Reason.HOLD])).until(5).answers("bad").until(12)
    assert stage.balancer.away


# -- dependencies ---------------------------------------------------------------------------------------------------------------------


class Detour(Stage):
    """A service with a dependency, and a balancer that can go another way to it."""

    def __init__(self, **changes: Any) -> None:
        rules = {"name": "db", "probe": PROBE, "reset_timeout": 20, "fallback": {"command": {"argv_open": ["/a"], "argv_close": ["/b"]}}}
        super().__init__(dependencies=[rules], **changes)
        self.balancer = Balancer()
        self.world.reached["web/db"] = "ok"

    def watch(self, **how: Any) -> Detour:
        from selfheal._engine.world import Reach

        def ask(rules: Any) -> Reach:
            return Reach(self.world.reached, "web/db")

        super().watch(wiring=Wiring(ask_dependency=ask, dependency_fallback=lambda rules: self.balancer), **how)
        return self

    @property
    def events(self) -> list[tuple[str, Any, Any]]:
        types = ("breaker_trip", "breaker_half_open", "breaker_reset", "failover", "failback", "blocked")
        return [
            (event["type"], event["data"].get("dependency"), event["data"].get("reason"))
            for event in self.records.events
            if event["type"] in types
        ]


def test_a_breaker_that_opens_applies_the_fallback_and_one_that_closes_reverts_it() -> None:
    """C53 C55 half-open changes nothing: only a closed breaker gives the traffic back."""
    stage = Detour()
    stage.watch().until(5)
    stage.world.reached["web/db"] = "bad"
    stage.until(60)
    assert stage.balancer.away
    assert [("breaker_trip", "db", "failure_threshold"), ("failover", "db", "failure_threshold")] == stage.events[:2]
    stage.world.reached["web/db"] = "ok"
    stage.until(120)
    assert not stage.balancer.away
    assert [("breaker_reset", "db", "success_threshold"), ("failback", "db", "success_threshold")] == stage.events[-2:]
    assert ["away", "home"] == stage.balancer.moves


@pytest.mark.parametrize("boot_changed", [False, True])
def test_where_a_dependency_is_looked_for_outlives_the_watchdog(boot_changed: bool) -> None:
    """C37 killed, or with the host booted anew: what was moved is known, and given back when the breaker is closed."""
    stage = Detour()
    stage.watch().until(5)
    stage.world.reached["web/db"] = "bad"
    stage.until(60)
    stage.world.reached["web/db"] = "ok"
    stage.records.boot_changed = boot_changed
    stage.watch().until(130)
    assert not stage.balancer.away and ["away", "home"] == stage.balancer.moves


def test_a_hold_keeps_the_dependency_where_it_is() -> None:
    """Held means no traffic, whichever."""
    stage = Detour()
    stage.world.desk.holds["web"] = Held("mine", None)
    stage.watch().until(5)
    stage.world.reached["web/db"] = "bad"
    stage.until(100)
    assert [] == stage.balancer.moves
    assert ("blocked", "db", "hold") in stage.events

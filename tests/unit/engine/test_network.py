# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""own_network_down: a failure of something distant counts only while the network reference answers."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from healing import Stage

from selfheal._core.model import HttpTarget, Probe, TcpTarget, UnitTarget
from selfheal._engine.network import NetworkWatch, on_this_host
from selfheal._engine.surroundings import Wiring
from selfheal._engine.world import Reach

REFERENCE = Probe("network_reference", "reference", TcpTarget("192.0.2.1", 53), timeout=2.0)
DISTANT = {"probes": [{"role": "liveness", "http": {"url": "http://192.0.2.7/live"}}]}
PAYMENTS = {
    "dependencies": [{"name": "payments", "probe": {"http": {"url": "http://192.0.2.8/ready"}, "period": 5}, "failure_threshold": 2}]
}

TARGETS = [
    (HttpTarget("http://127.0.0.1:8080/"), True),
    (HttpTarget("http://[::1]:8080/"), True),
    (HttpTarget("http://localhost/"), True),
    (HttpTarget("http://web.localhost./"), True),
    (HttpTarget("http://127.9.9.9/"), True),
    (TcpTarget(socket.gethostname(), 80), True),
    (TcpTarget("0.0.0.0", 80), True),
    (UnitTarget("web.service"), True),
    (HttpTarget("https://pay.example/ready"), False),
    (HttpTarget("http://192.0.2.7/"), False),
    (TcpTarget("2001:db8::1", 5432), False),
    (HttpTarget("http://localhost.example/"), False),
]


@pytest.mark.parametrize("target,here", TARGETS, ids=lambda each: str(each)[:60])
def test_what_is_on_this_host(target: Any, here: bool) -> None:
    """Loopback, this host's own addresses and name, units and processes; whatever else has a name or an address is distant."""
    assert on_this_host(target) is here


class Play:
    """A stage whose network reference answers as `reached["net"]` says; `asked` counts the questions to it."""

    def __init__(self, **contract: Any) -> None:
        self.stage = Stage(**contract)
        self.reached = {"net": "ok"}
        self.asked = 0
        self.network = NetworkWatch(REFERENCE, self.stage.world.host, self._reference)
        wiring = Wiring(ask_dependency=lambda rules: Reach(self.reached, rules.name), network=self.network)
        self.stage.watch(wiring=wiring).until(5)

    def _reference(self) -> Reach:
        self.asked += 1
        return Reach(self.reached, "net")


def test_cut_off_nothing_distant_has_failed() -> None:
    """C59 no incident, no restart: the observations are unknown, and that is said once per change, with its reason."""
    play = Play(**DISTANT)
    play.reached["net"] = "hang"
    play.stage.answers("bad").until(300)
    assert [(type, reason) for _at, type, reason in play.stage.told() if type not in ("watchdog_start",)] == [
        ("blocked", "own_network_down")
    ]
    tally = play.stage.healer.watch.tally["liveness"]
    assert tally.bad == 0 and tally.unknown > 10 and str(tally.last.reason) == "own_network_down"
    assert str(play.stage.healer.state) == "healthy"


def test_connected_again_the_failure_counts_and_is_healed() -> None:
    """The guard lets go: with the reference back the next failures open the incident."""
    play = Play(**DISTANT)
    play.reached["net"] = "bad"
    play.stage.answers("bad").until(60)
    play.reached["net"] = "ok"
    play.stage.until(90)
    assert [type for _at, type, _reason in play.stage.told("failure", "restart")][:2] == ["failure", "restart"]
    play.reached["net"] = "bad"
    play.stage.until(120)
    assert len(play.stage.told("blocked")) == 2, "cut off again is said again"


def test_a_reference_that_answers_costs_a_failure_no_time() -> None:
    """With the network up the incident opens when it would have opened."""
    plain = Stage(**DISTANT).watch().until(5).answers("bad").until(30)
    play = Play(**DISTANT)
    play.stage.answers("bad").until(30)
    assert play.stage.told("failure", "restart") == plain.told("failure", "restart") != []


def test_nothing_is_asked_while_all_is_well() -> None:
    """The reference costs nothing until something distant fails, and nothing at all where everything is local."""
    play = Play(**DISTANT, **PAYMENTS)
    play.stage.until(600)
    assert play.asked == 0
    local = Play()
    local.reached["net"] = "bad"
    local.stage.answers("bad").until(30)
    assert local.asked == 0 and len(local.stage.told("failure")) == 1


def test_a_breaker_does_not_trip_while_we_are_cut_off() -> None:
    """A dependency that cannot be reached from here is not down; connected, its breaker trips as ever."""
    play = Play(**PAYMENTS)
    play.reached.update(net="bad", payments="bad")
    play.stage.until(60)
    assert [(type, reason) for _at, type, reason in play.stage.told("breaker_trip", "blocked")] == [("blocked", "own_network_down")]
    play.reached["net"] = "ok"
    play.stage.until(80)
    assert len(play.stage.told("breaker_trip")) == 1


def test_a_restart_is_not_kept_waiting_by_a_dependency_nobody_can_judge() -> None:
    """C59 unknown is not failed, also when it is asked once before the first disruptive step."""
    play = Play(**PAYMENTS)
    play.reached.update(net="bad", payments="bad")
    play.stage.answers("bad").until(30)
    assert len(play.stage.told("restart")) >= 1


def test_who_fails_together_shares_one_question() -> None:
    """Fifty distant failures at the same moment are one packet to the reference, not fifty; later failures ask anew."""
    play = Play()
    heard: list[Any] = []
    for _each in range(50):
        play.network.judge(5.0, heard.append)
    play.stage.until(6)
    assert (len(heard), play.asked, set(heard)) == (50, 1, {None})
    play.network.judge(5.0, heard.append)
    assert (len(heard), play.asked) == (51, 1)
    play.network.judge(6.0, heard.append)
    play.stage.until(7)
    assert (len(heard), play.asked) == (52, 2)


def test_an_answer_to_an_older_question_is_not_taken_for_a_newer_one() -> None:
    """Whoever failed after the question was put gets one of its own."""
    play = Play()
    play.reached["net"] = "hang"
    heard: list[Any] = []
    play.network.judge(5.0, heard.append)
    play.stage.until(6)
    play.network.judge(6.0, heard.append)
    play.stage.until(7.5)
    assert len(heard) == 1 and play.asked == 2
    play.stage.until(10)
    assert len(heard) == 2 and all("does not answer" in each for each in heard)


def test_a_failure_held_back_is_dropped_with_its_instance() -> None:
    """What was asked of an instance that is gone says nothing of the next."""
    play = Play(**DISTANT)
    play.reached["net"] = "hang"
    play.stage.answers("bad").until(10.5)
    play.stage.healer.watch.suspend()
    play.stage.until(15)
    assert play.stage.healer.watch.tally["liveness"].bad == 0

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine once, on a virtual host: when each outcome is settled, and what is left behind."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any, Dict, List, Optional

import pytest

from selfheal._actuators.base import Presence, Work
from selfheal._actuators.base import State as Standing
from selfheal._core import contract
from selfheal._core.model import Service
from selfheal._core.reasons import Reason
from selfheal._engine import once
from selfheal._engine.healer import Healer
from selfheal._engine.once import Ending, Once, Tape
from selfheal._engine.ports import Held
from selfheal._engine.simulation import MemoryRecords
from selfheal._engine.world import Ask, ScriptedActuator, World

WEB: Dict[str, Any] = {
    "name": "web",
    "resource": {"process": {"argv": ["/bin/web"]}},
    "probes": [{"role": "liveness", "http": {"url": "http://127.0.0.1:8080/live"}}],
    "ladder": [{"rung": "restart", "attempts": 2, "timeout": 10}],
}


class Shared(MemoryRecords):
    """State files that two processes see: `foreign` is what another has written since."""

    foreign: Optional[str] = None

    def overtaken(self, service: str) -> bool:
        return self.foreign is not None

    def load(self, service: str) -> Any:
        if self.foreign is not None:
            self._states[service], self.foreign = self.foreign, None
        return super().load(service)


class Unseen(ScriptedActuator):
    def look(self) -> Work[Presence]:
        yield from ()
        return Presence(Standing.UNKNOWN, None, "no permission to look")


class Pager:
    """Nobody to call."""

    wake = math.inf

    def turn(self, now: float) -> None:
        """Nothing is due."""

    def deliver(self, seconds: float) -> None:
        """Nothing waits."""


class Site:
    """What `Once` needs of a site: a host, and healers on it."""

    pager = Pager()
    companions: List[Any] = [pager]
    timeline = SimpleNamespace(directory="/nowhere")

    def __init__(self, *changes: Dict[str, Any]) -> None:
        self.services = contract.parse_services([{**WEB, **change} for change in changes or ({},)])
        self.world = World(self.services)
        self.host = self.world.host
        self.host.instant = self.world.happen
        self.records = Shared(self.host.monotonic)
        self.actuators = {name: ScriptedActuator(self.world, body) for name, body in self.world.bodies.items()}
        self.healers: List[Healer] = []

    @property
    def body(self) -> Any:
        return self.world.bodies["web"]

    def healer(self, service: Service, operated: bool = False, override: Any = frozenset()) -> Healer:
        body = self.world.bodies[service.name]
        made = Healer(
            service,
            self.host,
            self.actuators[service.name],
            self.world.desk,
            self.tape,
            lambda probe, _instance: Ask(body, probe),
            operated=operated,
            override=override,
            source="module",
        )
        self.healers.append(made)
        return made

    def heal(self, wait: float = 600, override: Any = (), rehearsal: bool = False) -> List[Ending]:
        self.host.forget()
        words = {"owner": "me", "reasons": sorted(override)} if override else None
        self.tape = Tape(self.records, self.host, words)
        return Once(self, self.tape, self.services, frozenset(Reason(each) for each in override), rehearsal).run(wait)

    def types(self) -> List[str]:
        return [event["type"] for event in self.records.events]


def test_what_is_well_is_left_alone_at_its_first_proof() -> None:
    """A healthy service costs one probe, changes nothing, and leaves no event; `recovered_after` is not waited for."""
    site = Site()
    ending = site.heal()[0]
    assert ("untouched", None, "none", False, ()) == (ending.outcome, ending.reason, ending.action, ending.changed, ending.steps)
    assert site.host.now < 1 and site.types() == []


def test_one_good_answer_proves_nothing_where_the_contract_asks_for_more() -> None:
    """A service is well after `success_threshold` good answers, not after one."""
    site = Site({"probes": [{**WEB["probes"][0], "success_threshold": 3, "period": 5}]})
    assert "untouched" == site.heal()[0].outcome
    assert site.host.now >= 10


def test_a_hung_service_is_restarted_on_proof_and_proven_well() -> None:
    """It is proven failing by threshold and `failing_for`, restarted once, and watched for `recovered_after`."""
    site = Site()
    site.body.results["liveness"] = "bad"
    site.world.later(12, lambda: _well(site))
    ending = site.heal()[0]
    assert ("recovered", "healed", "restart", True) == (ending.outcome, ending.reason, ending.action, ending.changed)
    assert ["failure", "restart", "recover"] == [step.type for step in ending.steps]
    restart = next(event for event in site.records.events if event["type"] == "restart")
    assert restart["at"] >= 5 and ending.found("recovery_duration_ms") >= 5000


def test_the_end_of_the_ladder_is_the_end() -> None:
    """C05 every attempt is made, one page is recorded, and the run ends without waiting for the retry after the page."""
    site = Site()
    site.body.results["liveness"] = "bad"
    ending = site.heal()[0]
    assert ("escalated", "ladder_exhausted", "restart") == (ending.outcome, ending.reason, ending.action)
    assert ["failure", "restart", "restart", "page"] == site.types()
    assert site.host.now < 60


def test_an_escalated_service_gets_one_more_try_when_somebody_asks() -> None:
    """Who runs it again after a page does not wait for `retry_every`: the first rung is tried at once, without a second page."""
    site = Site()
    site.body.results["liveness"] = "bad"
    site.heal()
    before = site.host.now
    ending = site.heal()[0]
    assert "escalated" == ending.outcome and site.host.now - before < 60
    assert ["failure", "restart", "restart", "page", "restart"] == site.types()


@pytest.mark.parametrize(
    ("until", "outcome"), [(None, "blocked"), (1000.0, "blocked"), (100.0, "recovered")], ids=["for ever", "too long", "ends in time"]
)
def test_a_hold_is_waited_for_only_if_it_ends_in_time(until: Optional[float], outcome: str) -> None:
    """A guard that does not lift itself within `wait` ends the run at once, with its reason and without an action."""
    site = Site()
    site.body.results["liveness"] = "bad"
    site.world.later(110, lambda: _well(site))
    site.world.desk.holds["web"] = Held("held by ann", until)
    ending = site.heal()[0]
    assert outcome == ending.outcome
    if outcome == "blocked":
        assert ("hold", False) == (ending.reason, ending.changed) and "restart" not in site.types() and site.host.now < 20


def test_an_override_is_recorded_before_what_it_allows_and_only_then() -> None:
    """A lifted guard stands in the timeline once, with its owner, before the attempt; a service that was well leaves no word of it."""
    site = Site()
    site.heal(override=("hold",))
    assert [] == site.types()
    site.world.desk.holds["web"] = Held("held by ann", None)
    site.body.results["liveness"] = "bad"
    site.heal(override=("hold",))
    assert ["failure", "override", "restart", "restart", "page"] == site.types()
    assert {"owner": "me", "reasons": ["hold"]} == site.records.events[1]["data"]


def test_somebody_elses_lease_is_waited_for_until_time_is_over() -> None:
    """Who acts elsewhere is waited for; when time is over the outcome is blocked, and nothing was done."""
    site = Site()
    site.body.results["liveness"] = "bad"
    site.world.desk.leases["web"] = Held("held by a deployment", None)
    ending = site.heal(wait=30)[0]
    assert ("blocked", "lease_held", False) == (ending.outcome, ending.reason, ending.changed)
    assert 30 <= site.host.now < 31 and "restart" not in site.types()


def test_what_another_healer_has_recovered_is_recovered_and_not_done_again() -> None:
    """Another healer closes the incident meanwhile: its word holds, nothing is restarted, nothing is recorded twice."""
    site = Site()
    site.body.results["liveness"] = "bad"
    site.world.later(4, lambda: _other_restarts(site))
    ending = site.heal()[0]
    assert ("recovered", False) == (ending.outcome, ending.changed)
    assert ["failure"] == site.types()


def _well(site: Any) -> None:
    """Its probes answer again."""
    site.body.results.clear()


def _other_restarts(site: Site) -> None:
    state = json.loads(site.records._states["web"])
    state["memory"].update(incident=None, last_incident=state["memory"]["incident"]["id"])
    site.records.foreign = json.dumps(state)
    site.body.results.clear()


def test_time_that_is_over_leaves_no_service_stopped() -> None:
    """An action under way is brought to its end when time is over, nothing new is begun, and the outcome says so."""
    site = Site()
    site.body.results["liveness"] = "bad"
    site.body.actions["restart"] = SimpleNamespace(result="ok", takes=20.0, heals=False)
    ending = site.heal(wait=10)[0]
    assert ("unfinished", "wait_over", True) == (ending.outcome, ending.reason, ending.changed)
    assert site.host.now >= 20 and ["failure", "restart"] == site.types()


def test_probes_that_cannot_run_say_nothing_and_end_the_run() -> None:
    """Unknown is not failed: nothing is done, and nobody waits for ten minutes to be told."""
    site = Site()
    site.body.results["liveness"] = "unknown"
    ending = site.heal()[0]
    assert ("unknown", False) == (ending.outcome, ending.changed) and ending.reason
    assert site.host.now < 20 and [] == site.types()


def test_what_cannot_be_seen_is_unknown() -> None:
    """Where nobody can tell what stands there, that is said, with the cause."""
    site = Site()
    site.actuators["web"] = Unseen(site.world, site.body)
    ending = site.heal()[0]
    assert "unknown" == ending.outcome and "no permission to look" in ending.detail and site.host.now < 20


def test_one_that_cannot_be_acted_on_does_not_keep_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unsupported resource is blocked with its reason, the rest is healed, and the order is that of the contracts."""
    monkeypatch.setattr(once, "unsupported", lambda service: "nothing here acts on it" if service.name == "box" else None)
    site = Site({"name": "box", "resource": {"container": "box"}}, {})
    endings = site.heal()
    assert [("box", "blocked", "unsupported"), ("web", "untouched", None)] == [(e.name, e.outcome, e.reason) for e in endings]


def test_a_rehearsal_ends_at_the_first_action() -> None:
    """In a rehearsal the first action is the end; nothing counts as changed."""
    site = Site()
    site.body.results["liveness"] = "bad"
    ending = site.heal(rehearsal=True)[0]
    assert ("planned", "liveness_failed", "restart", False) == (ending.outcome, ending.reason, ending.action, ending.changed)
    assert 1 == site.types().count("restart")


def test_a_place_on_the_ladder_is_forgotten_where_nobody_watched() -> None:
    """Between two runs on a host without a watchdog long health is not seen; the old place on the ladder does not count all the same."""
    site = Site()
    site.body.results["liveness"] = "bad"
    site.world.later(12, lambda: _well(site))
    site.heal()
    site.host.now += 10000
    site.body.results["liveness"] = "bad"
    site.heal()
    assert ["failure", "restart", "recover", "failure", "restart", "restart", "page"] == site.types()


def test_only_not_ready_is_no_reason_to_act() -> None:
    """A service that is alive and not ready is left alone, and said to be so."""
    ready = {"role": "readiness", "http": {"url": "http://127.0.0.1:8080/ready"}}
    site = Site({"probes": [*WEB["probes"], ready]})
    site.body.results["readiness"] = "bad"
    ending = site.heal()[0]
    assert ("untouched", "readiness_failed", "not_ready") == (ending.outcome, ending.reason, ending.state)

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""container_heal killed at everything that it does, before and after: the next run ends what it left, whatever is wanted then."""

from __future__ import annotations

import itertools
import types
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import pytest
from crash_engine import EPOCH, VOLUME, Dock, Healer, Killed

from selfheal._actuators.container_engine import ContainerEngine
from selfheal._actuators.container_state import Clock
from selfheal._core.containers import BUDGET_PERIOD, Rules, Want
from selfheal._core.reasons import Reason
from selfheal._engine.container_notes import Note, Notes
from selfheal._engine.container_one import Result, Surroundings, Terms
from selfheal._engine.container_run import Run
from selfheal._engine.container_survey import Survey, wish_of

DRIFT = {"colour": "blue"}
LATER = (0.1, 90.0)
"""Seconds until the next run: what was begun goes on meanwhile, or is over."""


class Memory(Notes):
    """What is remembered, without files."""

    def __init__(self, host: Healer, kept: Dict[str, Any]) -> None:
        Notes.__init__(self, "/nowhere", host.wall, None)
        self._host, self._kept = host, kept

    def read(self, name: str) -> Note:
        note: Note = self._kept.get(name, Note([]))
        return note._replace(undone=[at for at in note.undone if self._host.wall() - at < BUDGET_PERIOD])

    def _write(self, name: str, note: Note) -> None:
        self._host.effect("note of %s" % name, lambda: self._kept.update({name: note}))


class Around(Surroundings):
    def __init__(self, host: Healer, record: List[str]) -> None:
        self._host, self._record = host, record

    def forbids(self, name: str) -> Optional[Tuple[Reason, str]]:
        return None

    def take(self, name: str) -> Optional[str]:
        return None

    def give(self, name: str) -> None:
        return None

    def record(self, type: str, name: str, incident: Optional[str], data: Dict[str, Any]) -> None:
        self._host.effect("record %s" % type, lambda: self._record.append(type))

    def turn(self) -> bool:
        return True

    def over(self) -> None:
        return None


class Scene(NamedTuple):
    """What stands there, and what is wanted of it. heals: undisturbed it comes to be what is wanted. acted: actions of this hour before."""

    status: str
    want: Want
    code: int = 0
    health: str = ""
    heals: bool = True
    acted: int = 0

    @property
    def next_wishes(self) -> Dict[str, Want]:
        """What may be wanted by the next run."""
        name, desired = self.want.name, self.want.desired
        wishes = {"the same": self.want, "absent": Want(name, "absent", desired)}
        if self.want.state != "absent":
            wishes["stopped"] = Want(name, "stopped", desired)
        if self.want.state == "started" and (self.heals or self.status != "dead"):  # else there is nothing that was well
            wishes["as it was"] = Want(name, "started", desired)
        return wishes

    @property
    def lives(self) -> bool:
        return self.status in ("running", "paused") or self.heals


SCENES = {
    "drift of a running one": Scene("running", Want("web", labels=DRIFT)),
    "drift of an exited one": Scene("exited", Want("web", labels=DRIFT), code=3),
    "drift of a paused one": Scene("paused", Want("web", labels=DRIFT, desired="always")),
    "drift of a dead one": Scene("dead", Want("web", labels=DRIFT), code=3),
    "drift of one that never ran": Scene("created", Want("web", labels=DRIFT)),
    "a dead one": Scene("dead", Want("web"), code=3),
    "new one slow": Scene("running", Want("web", image="slow")),
    "new one ill": Scene("running", Want("web", image="ill"), heals=False),
    "new one ends at once": Scene("running", Want("web", image="crash"), heals=False),
    "new one ill, old one ended": Scene("exited", Want("web", image="ill"), code=3, heals=False),
    "unhealthy": Scene("running", Want("web"), health="unhealthy"),
    "ended": Scene("exited", Want("web"), code=3),
    "paused": Scene("paused", Want("web", desired="always")),
    "policy": Scene("running", Want("web", restart_policy="always")),
    "a dead one, new one ill": Scene("dead", Want("web", image="ill"), code=3, heals=False),
    "a loop": Scene("restarting", Want("web"), code=3, heals=False, acted=5),
    "stopped": Scene("running", Want("web", "stopped")),
    "absent": Scene("running", Want("web", "absent")),
    "paused and absent": Scene("paused", Want("web", "absent")),
}
CASES = [(name, wish) for name, scene in SCENES.items() for wish in scene.next_wishes]


class World:
    """One engine and what a host remembers, over several runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, flavour: str, scene: Scene) -> None:
        self.dock = Dock(flavour)
        self.kept: Dict[str, Any] = {}
        self.record: List[str] = []
        told = self.dock.add("web", scene.status, scene.code)
        if scene.health:
            told["State"]["Health"] = {"Status": scene.health, "Log": []}
        if scene.acted:
            self.kept["web"] = Note([EPOCH] * scene.acted)
        clock = types.SimpleNamespace(time=lambda: EPOCH + self.dock.now)
        monkeypatch.setattr("selfheal._actuators.container_past.time", clock)
        monkeypatch.setattr("selfheal._engine.container_survey.clock", lambda: Clock(self.dock.now, EPOCH + self.dock.now))

    def heal(self, want: Want, at: int = 0, when: str = "before", dry: bool = False) -> Tuple[Optional[Result], List[str]]:
        """The result, None of a run that was killed; and all that it did."""
        host = Healer(self.dock, at, when)
        rules = Rules(budget=5)
        around = Around(host, self.record)
        run = Run(host, Survey(ContainerEngine("unix:///nowhere")), Memory(host, self.kept), around, Terms(rules, stable_for=5.0, dry=dry))
        try:
            run.list()
            return run.heal([want])[0], host.effects
        except Killed:
            return None, host.effects

    def settled(self, want: Want, scene: Scene, where: Any) -> None:
        """A run that nobody disturbs has just ended: what it left is as it should be, and the next finds nothing to do."""
        dock = self.dock
        dock.advance(dock.now + 60.0)
        there = {name: told["State"]["Status"] for name, told in dock.named().items()}
        assert dock.volumes == {VOLUME}, where
        ends = {"absent": (), "stopped": ("exited", "created", "dead")}.get(want.state, ("running",))
        ends += () if scene.lives or not ends else ("exited",)
        assert list(there) == (["web"] if ends else []) and set(there.values()) <= set(ends), (there, where)
        for told in dock.named().values():
            assert {VOLUME} == {mount["Name"] for mount in told["Mounts"]}, where
            assert want.image in (None, told["Config"]["Image"]) or not scene.heals, where
            assert want.state == "stopped" or all(told["Config"]["Labels"].get(key) == want.labels[key] for key in want.labels), where
        result, effects = self.heal(want)
        assert result is not None
        if scene.acted and want.state == "started":
            assert ("failed", "budget_spent", []) == (result.outcome, result.reason, effects), (result, effects, where)
        elif scene.heals or want is not scene.want:
            assert ("unchanged", []) == (result.outcome, effects), (result, effects, where)


def undisturbed(monkeypatch: pytest.MonkeyPatch, flavour: str, scene: Scene) -> int:
    """How much it does when nobody kills it."""
    world = World(monkeypatch, flavour, scene)
    result, effects = world.heal(scene.want)
    assert result is not None and effects, result
    assert (result.outcome == "changed") is scene.heals, result
    world.settled(scene.want, scene, ("undisturbed", result, effects))
    return len(effects)


@pytest.mark.parametrize("flavour", ["docker", "podman"])
@pytest.mark.parametrize(("name", "wish"), CASES)
def test_killed_at_everything(monkeypatch: pytest.MonkeyPatch, name: str, wish: str, flavour: str) -> None:
    """C51: one container of that name in the end, which runs if it ran, with its data; and then there is nothing more to do."""
    scene = SCENES[name]
    want = scene.next_wishes[wish]
    total = undisturbed(monkeypatch, flavour, scene)
    for at, when, later in itertools.product(range(1, total + 1), ("before", "after"), LATER):
        world = World(monkeypatch, flavour, scene)
        killed, effects = world.heal(scene.want, at, when)
        assert killed is None and len(effects) == at
        world.dock.advance(world.dock.now + later)
        result, did = world.heal(want)
        if scene.health and want.state == "stopped":
            # A restart that is under way starts it after the stop: the run after that stops it.
            world.dock.advance(world.dock.now + 60.0)
            world.heal(want)
        world.settled(want, scene, "\n".join(map(str, (name, wish, flavour, at, when, later, effects, did, result))))


@pytest.mark.parametrize("flavour", ["docker", "podman"])
@pytest.mark.parametrize("wish", ["the same", "as it was", "stopped"])
@pytest.mark.parametrize("name", ["drift of a running one", "drift of a dead one", "new one ill"])
def test_killed_twice(monkeypatch: pytest.MonkeyPatch, name: str, wish: str, flavour: str) -> None:
    """C51: the run that puts right what a killed one left is killed as well, at everything that it does."""
    scene = SCENES[name]
    want = scene.next_wishes[wish]
    total = undisturbed(monkeypatch, flavour, scene)
    for first, later in itertools.product(range(1, total + 1), LATER):
        for second in itertools.count(1):
            world = World(monkeypatch, flavour, scene)
            assert world.heal(scene.want, first, "after")[0] is None
            world.dock.advance(world.dock.now + later)
            killed, did = world.heal(want, second, "after")
            world.dock.advance(world.dock.now + 1.0)
            result, then = world.heal(want)
            world.settled(want, scene, "\n".join(map(str, (name, wish, flavour, first, later, second, did, then, result))))
            if killed is not None:
                break


@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("flavour", ["docker", "podman"])
def test_a_restart_of_which_the_engine_did_half(monkeypatch: pytest.MonkeyPatch, flavour: str, later: float) -> None:
    """C01 C51: both were killed in the middle of it: that was a restart, and nobody's wish that it stays down."""
    scene = SCENES["unhealthy"]
    world = World(monkeypatch, flavour, scene)
    effects = world.heal(scene.want)[1]
    at = 1 + next(number for number, each in enumerate(effects) if each.endswith("/restart"))
    world = World(monkeypatch, flavour, scene)
    world.dock.halves = True
    assert world.heal(scene.want, at, "after")[0] is None
    world.dock.halves = False
    world.dock.advance(world.dock.now + later)
    result, did = world.heal(scene.want)
    assert result is not None and "changed" == result.outcome, (result, did)
    world.settled(scene.want, scene, (result, did))


@pytest.mark.parametrize("flavour", ["docker", "podman"])
@pytest.mark.parametrize("wish", ["the same", "as it was"])
def test_an_engine_that_takes_longer_than_anybody_waits(monkeypatch: pytest.MonkeyPatch, wish: str, flavour: str) -> None:
    """C04: the old one has been asked to stop and nobody knows whether it will: whatever comes of that, it is running in the end."""
    scene = SCENES["drift of a running one"]
    world = World(monkeypatch, flavour, scene)
    world.dock.stops_in = 90.0
    first, did = world.heal(scene.want)
    assert first is not None
    world.dock.stops_in = 2.0
    result, then = world.heal(scene.next_wishes[wish])
    world.settled(scene.next_wishes[wish], scene, (first, did, result, then))


def made_and_killed(monkeypatch: pytest.MonkeyPatch, last: str, name: str = "drift of a running one") -> World:
    """Killed right after the request that ends so."""
    scene = SCENES[name]
    effects = World(monkeypatch, "docker", scene).heal(scene.want)[1]
    world = World(monkeypatch, "docker", scene)
    at = max(number for number, each in enumerate(effects, 1) if each.endswith(last))
    assert world.heal(scene.want, at, "after")[0] is None
    world.dock.advance(world.dock.now + 10.0)
    return world


def test_somebody_stops_the_new_one_before_it_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """C01: it stays so, and the one before is not started in its place; when it runs again it is proven, and the one before goes."""
    want = SCENES["drift of a running one"].want
    world = made_and_killed(monkeypatch, "/start")
    world.dock._stop(world.dock.find("web"))
    world.dock.advance(world.dock.now + 10.0)
    result, effects = world.heal(want)
    assert result is not None and ("blocked", "admin_stopped", ["record note"]) == (result.outcome, result.reason, effects), result
    assert {"web": "exited", "web.selfheal-old": "exited"} == {name: told["State"]["Status"] for name, told in world.dock.named().items()}
    world.dock._start(world.dock.find("web"))
    result, _effects = world.heal(want)
    assert result is not None and "changed" == result.outcome
    world.settled(want, SCENES["drift of a running one"], result)


def test_somebody_stops_the_new_one_while_it_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """C01: that is no failure of the new one's: nothing is undone under the hands of whoever stopped it."""
    scene = SCENES["drift of a running one"]
    world = World(monkeypatch, "docker", scene)
    world.dock.after(3.0, lambda: world.dock._stop(world.dock.find("web")))
    result, effects = world.heal(scene.want)
    assert result is not None and ("blocked", "admin_stopped") == (result.outcome, result.reason), (result, effects)
    assert result.detail.endswith("the one before is kept as web.selfheal-old until it has proven itself")
    assert {"web": "exited", "web.selfheal-old": "exited"} == {name: told["State"]["Status"] for name, told in world.dock.named().items()}


def test_somebody_stops_the_old_one_long_after_a_run_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """C01: nobody had stopped it for the new one yet, so it was not stopped by us."""
    world = made_and_killed(monkeypatch, "/create")
    world.dock.advance(world.dock.now + 600.0)
    world.dock._stop(world.dock.find("web"))
    world.dock.advance(world.dock.now + 10.0)
    result, effects = world.heal(Want("web"))
    assert result is not None and ("blocked", "admin_stopped") == (result.outcome, result.reason), (result, effects)
    assert {"web": "exited"} == {name: told["State"]["Status"] for name, told in world.dock.named().items()}


def test_somebody_makes_another_one_between_the_renames(monkeypatch: pytest.MonkeyPatch) -> None:
    """C01 C51: what bears the name is somebody's: it is neither started nor renamed, and the one before stays beside it."""
    world = made_and_killed(monkeypatch, "/rename", "new one slow")
    world.dock._rename(world.dock.find("web"), {"name": "web.selfheal-new"}, None)
    theirs = world.dock.add("web", "exited", 0)
    world.dock._event(theirs, "kill", signal="15")
    result, effects = world.heal(Want("web"))
    assert result is not None and "admin_stopped" == result.reason, (result, effects)
    assert {"web": "exited", "web.selfheal-old": "exited"} == {name: told["State"]["Status"] for name, told in world.dock.named().items()}
    assert world.dock.find("web")["Id"] == theirs["Id"] and not [each for each in effects if each.endswith(("/start", "/rename"))]


@pytest.mark.parametrize(("wish", "action"), [("the same", "recreate"), ("stopped", "stop"), ("absent", "remove")])
def test_check_mode_after_a_run_was_killed(monkeypatch: pytest.MonkeyPatch, wish: str, action: str) -> None:
    """It foretells that what is left is put right, and does not call a container missing that stands there under another name."""
    world = made_and_killed(monkeypatch, "/rename", "new one slow")
    world.dock._rename(world.dock.find("web"), {"name": "web.selfheal-new"}, None)
    result, effects = world.heal(SCENES["new one slow"].next_wishes[wish], dry=True)
    assert result is not None and ("planned", "interrupted", action, []) == (result.outcome, result.reason, result.action, effects)


@pytest.mark.parametrize("image", ["ill", "crash", "unstartable"])
def test_made_anew_in_vain(monkeypatch: pytest.MonkeyPatch, image: str) -> None:
    """C05: a wish that does not do costs an outage with each try, so there are as many within an hour as the budget allows; the old one is
    still healed meanwhile, and another wish is tried at once."""
    world = World(monkeypatch, "docker", SCENES["new one ill"])
    results = [world.heal(Want("web", image=image)) for _run in range(7)]
    made = [any(each.endswith("/create") for each in effects) for _result, effects in results]
    assert [True] * 5 + [False] * 2 == made
    last = results[-1][0]
    assert last is not None and ("failed", "unproven", []) == (last.outcome, last.reason, last.actions), last
    assert "made so 5 times within 3600 s it was not well" in last.detail
    assert "running" == world.dock.find("web")["State"]["Status"] and "well" == world.dock.find("web")["Config"]["Image"]
    world.dock.find("web")["State"].update(Status="exited", ExitCode=3)
    started, effects = world.heal(Want("web", image=image))
    assert started is not None and ["start"] == started.actions and "running" == world.dock.find("web")["State"]["Status"], (
        started,
        effects,
    )
    other, _effects = world.heal(Want("web", image="slow"))
    assert other is not None and "changed" == other.outcome, other
    world.dock.advance(world.dock.now + 3600.0)
    assert "slow" == world.dock.find("web")["Config"]["Image"]


def test_made_anew_in_vain_is_forgotten_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a person may lift it at once."""
    world = World(monkeypatch, "docker", SCENES["new one ill"])
    world.kept["web"] = Note([], None, [EPOCH - 3590.0] * 5, wish_of(Want("web", image="ill"), "sha256:ill"))
    assert not [each for each in world.heal(Want("web", image="ill"))[1] if each.endswith("/create")]
    world.dock.advance(11.0)
    assert [each for each in world.heal(Want("web", image="ill"))[1] if each.endswith("/create")]

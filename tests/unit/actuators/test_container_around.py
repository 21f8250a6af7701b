# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""container_heal with the host's own holds, leases and timeline, and what it may clean up."""

from __future__ import annotations

import types
from typing import Any, Dict, List, Tuple

import pytest
from crash_engine import EPOCH, Dock, Healer

from selfheal._actuators.container_engine import ContainerEngine
from selfheal._actuators.container_state import Clock, Story, describe, health_said
from selfheal._core.containers import Want
from selfheal._core.model import WatchdogConfig
from selfheal._engine.container_notes import Notes
from selfheal._engine.container_one import Result, Terms
from selfheal._engine.container_run import Around, EngineAway, Run
from selfheal._engine.container_survey import Survey, selected
from selfheal._engine.local import Site


class Place:
    """One host with an engine."""

    def __init__(self, folder: Any) -> None:
        self.folder = folder
        self.dock = Dock()
        self.config = WatchdogConfig("testhost", state_dir=str(folder / "state"), run_dir=str(folder / "run"))
        self.host = Healer(self.dock)
        self.site = Site(str(folder / "etc"), self.config, self.host, "module")
        self.told: List[Tuple[str, str]] = []

    def run(self, **services: str) -> Run:
        def record(type: str, service: str, *more: Any) -> None:
            assert self.site.records.record(type, service, *more), self.site.recorder.problem
            self.told.append((type, service))

        around = Around(self.site.desk, services, record, frozenset())
        notes = Notes(str(self.folder / "notes"), self.host.wall, None)
        run = Run(self.host, Survey(ContainerEngine("unix:///nowhere")), notes, around, Terms(stable_for=1.0, wait=20.0))
        run.list()
        return run

    def clean(self, *owners: str, most: int = 10, **services: str) -> Dict[str, Result]:
        return {each.name: each for each in self.run(**services).clean(frozenset(owners), 0.0, most)[0]}


@pytest.fixture
def place(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    clock = types.SimpleNamespace(time=lambda: EPOCH + made.dock.now)
    monkeypatch.setattr("selfheal._actuators.container_past.time", clock)
    monkeypatch.setattr("selfheal._engine.container_survey.clock", lambda: Clock(made.dock.now, EPOCH + made.dock.now))
    monkeypatch.setattr("selfheal._engine.local.LocalDesk.maintenance", lambda self: None)
    return made


@pytest.mark.parametrize("name", ["My.App", "web.2", "A" * 120, "a_b-c.D"])
def test_a_name_that_no_service_could_bear(place: Place, name: str) -> None:
    """An engine allows capitals and dots: such a container is healed like any other, its lease taken, its story on record."""
    place.dock.add(name, "exited", 3)
    result = place.run().heal([Want(name)])[0]
    assert ("changed", ["start"]) == (result.outcome, result.actions), result
    assert [("failure", name), ("start", name), ("recover", name)] == place.told


def test_a_host_that_is_held(place: Place) -> None:
    """The red button and a hold of the whole host count for such a name, too."""
    place.dock.add("My.App", "exited", 3)
    place.site.desk.holds.set(None, "somebody", "hands off")
    result = place.run().heal([Want("My.App")])[0]
    assert ("blocked", "hold") == (result.outcome, result.reason), result


def labelled(place: Place, name: str, status: str = "exited", **labels: str) -> Dict[str, Any]:
    names = {"selfheal.%s" % key: value for key, value in labels.items()}
    return place.dock.add(name, status, Labels=names)


def test_what_a_gone_owner_has_left(place: Place) -> None:
    """Names with dots, too; each under its owner's lease, stopped before it goes, and what a stranger may have written on one line."""
    labelled(place, "web.selfheal-old", owner="web")
    labelled(place, "web.selfheal-failed", "running", owner="web")
    labelled(place, "other", owner="two\nlines\x1b[2J")
    place.dock.add("nobodys")
    results = place.clean()
    assert {"changed"} == {each.outcome for each in results.values()} and 3 == len(results), results
    assert ["nobodys"] == list(place.dock.named())
    assert "its owner two\\nlines\\x1b[2J is gone" == results["other"].detail
    assert not place.site.desk.leases.list()


@pytest.mark.parametrize("labels", [{"owner": "web"}, {}])
@pytest.mark.parametrize("more", [{}, {"deployment": "two"}])
def test_a_swap_that_was_cut_off_is_no_orphan(place: Place, labels: Dict[str, str], more: Dict[str, str]) -> None:
    """C51: for a moment, or since somebody was killed, nobody bears the name: both that could are left for whoever goes on."""
    old = labelled(place, "web.selfheal-old", **labels)
    labelled(place, "web.selfheal-new", "created", owner="web", replaces=old["Id"], **more)
    assert {} == place.clean() and 2 == len(place.dock.all)


def test_the_only_one_that_is_left_is_no_orphan(place: Place) -> None:
    """C51: the dead one is removed, and the next has not got its name yet: nobody else knows how it is made."""
    labelled(place, "web.selfheal-new", "created", owner="web", replaces="0" * 64)
    assert {} == place.clean() and ["web.selfheal-new"] == list(place.dock.named())


def test_an_orphan_whose_owner_is_held_or_leased(place: Place) -> None:
    """A hold of the owner, and whoever is at work on it, count for what belongs to it."""
    for name in ("held", "busy", "free"):
        labelled(place, name + ".selfheal-old", owner=name)
    place.site.desk.holds.set("held", "somebody", "hands off")
    other = Site(str(place.folder / "etc"), place.config, place.host, "operator")
    other.desk.needs("busy", ("container:busy",))
    assert other.desk.take("busy", "deploying") is None
    results = place.clean()
    told = {name: (each.outcome, each.reason) for name, each in results.items()}
    assert told["held.selfheal-old"] == ("blocked", "hold") and told["busy.selfheal-old"] == ("blocked", "lease_held"), told
    assert told["free.selfheal-old"] == ("changed", "orphaned") and 2 == len(place.dock.all), told


def test_an_orphan_that_has_got_a_name_meanwhile(place: Place) -> None:
    """The list is a moment old: what bears another name now is in use."""
    told = labelled(place, "web.selfheal-new", owner="web", deployment="two")
    run = place.run()
    told["Name"] = "/web"
    (result,), left = run.clean(frozenset(), 0.0, 10)
    assert ("unchanged", "none", 0) == (result.outcome, result.action, left) and "web" in place.dock.named(), result


def test_no_more_than_allowed_in_one_run(place: Place) -> None:
    """The rest is counted, and left for the next run."""
    for number in range(5):
        labelled(place, "helper%d" % number, owner="gone")
    results, left = place.run().clean(frozenset(), 0.0, 2)
    assert (2, 3, 3) == (len(results), left, len(place.dock.all))


def test_absent_with_rm(place: Place) -> None:
    """The engine is at it already when it has stopped, and says so: that is no failure."""
    place.dock.add("job")["HostConfig"]["AutoRemove"] = True
    result = place.run().heal([Want("job", "absent")])[0]
    assert ("changed", ["remove"]) == (result.outcome, result.actions) and not place.dock.all, result


@pytest.mark.parametrize("flavour", ["docker", "podman"])
def test_a_container_whose_network_others_share(place: Place, flavour: str) -> None:
    """It is not made anew under them, since they would be cut off for good; a dead one has nothing to lose. Podman's list does not tell."""
    place.dock.flavour = flavour
    place.dock.add("alone")
    web = place.dock.add("web", "running")
    for name, target in (("by-id", web["Id"]), ("by-name", "web")):
        place.dock.add(name)["HostConfig"]["NetworkMode"] = "container:%s" % target
    result = place.run().heal([Want("web", labels={"colour": "blue"})])[0]
    assert ("failed", "unsupported", []) == (result.outcome, result.reason, result.actions), result
    assert "that of by-id, by-name, too" in result.detail
    web["State"]["Status"] = "dead"
    assert "changed" == place.run().heal([Want("web", labels={"colour": "blue"})])[0].outcome


@pytest.mark.parametrize("listed", ["[]x", [1, 2], [{"Names": ["/web"]}], {"message": "no"}])
def test_a_list_that_is_none(place: Place, monkeypatch: pytest.MonkeyPatch, listed: Any) -> None:
    """What an engine answers is not trusted to be what was asked for: that is one error with a reason."""
    monkeypatch.setattr(place.dock, "_get", lambda parts, query: listed)
    with pytest.raises(EngineAway, match="is no list of containers"):
        place.run()


@pytest.mark.parametrize("broken", [{"Id": None}, {"State": "running"}])
def test_an_inspection_that_is_none(place: Place, broken: Dict[str, Any]) -> None:
    """One container of which nothing is known keeps nobody else from being healed."""
    place.dock.add("odd", "exited", 3).update(broken)
    place.dock.add("web", "exited", 3)
    list(place.dock.all.values())[0]["Id"] = broken.get("Id", "1")
    run = place.run
    place.dock._listed = lambda told: {"Id": "1", "Names": [told["Name"]], "State": "exited", "Status": ""}  # type: ignore[method-assign]
    results = {each.name: each for each in run().heal([Want("odd"), Want("web")])}
    assert ("failed", "engine_down") == (results["odd"].outcome, results["odd"].reason), results
    assert "changed" == results["web"].outcome


def test_events_that_break_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """C01: half an answer tells nothing, and in doubt somebody stopped it."""
    place.dock.add("web", "exited", 137)
    real = place.dock._get
    monkeypatch.setattr(place.dock, "_get", lambda parts, query: '{"Type": "conta' if parts == ["events"] else real(parts, query))
    result = place.run().heal([Want("web")])[0]
    assert ("blocked", "admin_stopped") == (result.outcome, result.reason), result


def test_words_of_a_container_play_no_tricks(place: Place) -> None:
    """Its engine's error and its own health check's output are read on terminals."""
    told = place.dock.add("web")
    told["State"].update(Status="exited", Error="no \x1b[2J such \u202e file")
    assert describe(told).isprintable() and "\\x1b[2J" in describe(told)
    told["State"]["Health"] = {"Status": "unhealthy", "Log": [{"Output": "\x1b]0;root\x07 late", "ExitCode": 1}]}
    assert health_said(told).isprintable() and health_said(told).endswith("late")


def test_an_engine_that_cannot_change_a_policy(place: Place) -> None:
    """Podman 4 has no such request: it is said to be so, and not that the container is missing."""
    place.dock.add("web")
    place.dock.updates = False
    result = place.run().heal([Want("web", restart_policy="always")])[0]
    assert ("failed", "unsupported", []) == (result.outcome, result.reason, result.actions), result
    assert "cannot change the restart policy" in result.detail


def test_selected_by_a_label(place: Place) -> None:
    """C51: what stands beside is not meant; a name that nobody bears, as a run was killed between its renames, is, and is put right."""
    shop = {"shop": "yes", "selfheal.owner": ""}
    for name in ("web", "half"):
        old = place.dock.add(name + ".selfheal-old", "exited", 143, Labels={"shop": "yes"})
        new = place.dock.add(name + ".selfheal-new", "created", Labels={**shop, "selfheal.owner": name, "selfheal.replaces": old["Id"]})
        new["Created"] = old["State"]["FinishedAt"]
    place.dock._rename(new, {"name": "half"}, None)
    place.dock._start(new)
    place.dock.add("kept", Labels=shop)
    place.dock.add("kept.selfheal-old", "exited", Labels={**shop, "selfheal.owner": "kept", "selfheal.release": "one"})
    place.dock.add("other")
    run = place.run()
    names = selected(run.there.values(), {"shop": "yes"})
    assert ["half", "kept", "web"] == names
    results = run.heal([Want(name) for name in names])
    assert {"changed", "unchanged"} == {each.outcome for each in results}, results
    assert {"half", "kept", "kept.selfheal-old", "other", "web"} == set(place.dock.named())


@pytest.mark.parametrize("odd", ["\u00b2", "9" * 5000, "-1", "", "SIG_DFL"])
def test_labels_in_events(odd: str) -> None:
    """Docker mixes a container's labels into its events: one that is called like what the engine tells is no number to rely on."""
    story = Story().after("kill", {"signal": odd}, 1.0).after("die", {"exitCode": odd}, 2.0)
    assert (0, None, 2.0) == (story.killed, story.code, story.died_at)
    assert ContainerEngine("unix:///nowhere").take({"Actor": "web", "Action": "die"}) is None

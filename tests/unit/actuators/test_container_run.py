# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of container_heal against an engine that keeps its containers in a dictionary."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest
from container_helpers import Engine, answer

from selfheal._actuators.container_engine import ContainerEngine
from selfheal._core.containers import Rules, Want
from selfheal._core.reasons import Reason
from selfheal._engine.container_notes import Notes
from selfheal._engine.container_one import Result, Surroundings, Terms
from selfheal._engine.container_run import EngineAway, Run
from selfheal._engine.container_survey import Survey
from selfheal._probes.engine import LocalHost


def stamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".%09dZ" % (time.time_ns() % 10**9)


class Containers:
    """The engine. takes: seconds that a start takes. crashes: names of containers that end at once. refuses: how often not to start it."""

    def __init__(self, folder: str) -> None:
        self.all: Dict[str, Dict[str, Any]] = {}
        self.posts: List[str] = []
        self.busy = self.busiest = 0
        self.takes = 0.0
        self.crashes: List[str] = []
        self.refuses: Dict[str, int] = {}
        self._lock = threading.Lock()
        self.server = Engine(folder, self._handle)

    def add(self, name: str, status: str = "running", code: int = 0, **more: Any) -> None:
        identity = (name.encode().hex() + "0" * 64)[:64]
        state = {"Status": status, "Pid": 0, "ExitCode": code, "StartedAt": stamp(), "FinishedAt": stamp(), "Error": "", "OOMKilled": False}
        self.all[name] = {
            "Id": identity,
            "Name": "/" + name,
            "Created": "2026-01-01T00:00:00Z",
            "State": state,
            "Config": {"Labels": {}, "Image": "x", "StopTimeout": 1},
            "HostConfig": {"RestartPolicy": {"Name": "no"}},
            "Image": "sha256:a",
            "RestartCount": 0,
            **more,
        }

    podman = False

    def _handle(self, connection: socket.socket, line: str) -> None:
        verb, path = line.split()[:2]
        path, _mark, query = path.partition("?")
        if path == "/containers/json":
            listed = [
                {
                    "Id": each["Id"],
                    "Names": [each["Name"]],
                    "State": each["State"]["Status"],
                    "Status": "Up 2 hours",
                    "Labels": each["Config"]["Labels"],
                    "Created": 1,
                }
                for each in self.all.values()
            ]
            head = b"\r\nLibpod-API-Version: 4.3.1\r\n" if self.podman else b"\r\n"
            connection.sendall(answer(listed).replace(b"\r\n", head, 1))
        elif path == "/events":
            connection.sendall(answer(None))
        else:
            parts = path.split("/")
            found = next((each for each in self.all.values() if parts[2] in (each["Id"], each["Name"][1:])), None)
            if found is None:
                connection.sendall(answer({"message": "No such container"}, 404))
            elif verb == "GET":
                connection.sendall(answer(found))
            elif verb == "DELETE":
                del self.all[found["Name"][1:]]
                connection.sendall(answer(None, 204))
            elif parts[3] == "rename":
                del self.all[found["Name"][1:]]
                found["Name"] = "/" + query.partition("=")[2]
                self.all[found["Name"][1:]] = found
                connection.sendall(answer(None, 204))
            elif parts[3] == "start" and self.refuses.get(found["Name"][1:]):
                self.refuses[found["Name"][1:]] -= 1
                connection.sendall(answer({"message": "no such mount"}, 500))
            else:
                self._post(found, parts[3])
                connection.sendall(answer(None, 204))

    def _post(self, told: Dict[str, Any], action: str) -> None:
        name = told["Name"][1:]
        with self._lock:
            self.posts.append("%s %s" % (action, name))
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        time.sleep(self.takes)
        with self._lock:
            self.busy -= 1
            ends = action == "stop" or name in self.crashes
            told["State"].update(Status="exited" if ends else "running", StartedAt=stamp(), ExitCode=3 if ends else 0)


class Around(Surroundings):
    def __init__(self) -> None:
        self.events: List[Tuple[str, str]] = []
        self.no: Dict[str, Tuple[Reason, str]] = {}
        self.held: Dict[str, int] = {}
        self.mine: List[str] = []
        self._acting = 0

    def forbids(self, name: str) -> Optional[Tuple[Reason, str]]:
        return self.no.get(name)

    def take(self, name: str) -> Optional[str]:
        left = self.held.get(name, 0)
        self.held[name] = left - 1
        if left > 0:
            return "the watchdog"
        self.mine.append(name)
        return None

    def give(self, name: str) -> None:
        self.mine.remove(name)

    def record(self, type: str, name: str, incident: Optional[str], data: Dict[str, Any]) -> None:
        json.dumps(data)
        self.events.append((type, name))

    def turn(self) -> bool:
        if self._acting >= 8:
            return False
        self._acting += 1
        return True

    def over(self) -> None:
        self._acting -= 1


class Bed:
    def __init__(self, folder: Any, host: LocalHost) -> None:
        self.engine = Containers(str(folder))
        self.around = Around()
        self.notes = Notes(str(folder / "notes"), host.wall, lambda *told: self.resets.append(told))
        self.resets: List[Any] = []
        self._host = host

    def heal(self, *names: str, wants: Tuple[Want, ...] = (), **terms: Any) -> Dict[str, Result]:
        given = {"stable_for": 0.2, "wait": 20.0, **terms}
        survey = Survey(ContainerEngine(self.engine.server.address))
        run = Run(self._host, survey, self.notes, self.around, Terms(**given))
        run.list()
        results = {each.name: each for each in run.heal([Want(name) for name in names] + list(wants))}
        assert not self.around.mine, "every lease is given back"
        return results


@pytest.fixture
def bed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    monkeypatch.setattr("selfheal._engine.container_one.POLL", 0.05)
    monkeypatch.setattr("selfheal._engine.container_one.RESTS", (0.01, 0.01))
    with LocalHost() as host:
        made = Bed(tmp_path, host)
        yield made
    made.engine.server.down()


def test_a_hundred_of_which_twenty_are_down(bed: Bed) -> None:
    """One list; only those that are down are asked about; at most eight at a time, each once, in their order."""
    names = ["c%02d" % number for number in range(100)]
    for number, name in enumerate(names):
        bed.engine.add(name, *(("exited", 3) if number % 5 == 0 else ()))
    bed.engine.takes = 0.05
    results = bed.heal(*names)
    asked = bed.engine.server.asked
    assert 1 == sum("/containers/json" in line for line in asked)
    assert 20 == len({line for line in asked if line.startswith("GET /containers/c")})
    assert ["start " + name for name in names[::5]] == sorted(bed.engine.posts) and bed.engine.busiest <= 8
    assert 20 == sum(each.outcome == "changed" and each.actions == ["start"] for each in results.values())
    assert 80 == sum(each.outcome == "unchanged" for each in results.values())


def test_podmans_list_does_not_tell_of_health(bed: Bed) -> None:
    """Its list says "Up 2 hours" of what its own health check calls unhealthy: there every container is asked about."""
    bed.engine.podman = True
    bed.engine.add("ill")
    bed.engine.all["ill"]["State"]["Health"] = {"Status": "unhealthy", "Log": []}
    bed.engine.add("well")
    results = bed.heal("ill", "well", dry=True)
    assert ("planned", "restart") == (results["ill"].outcome, results["ill"].action)
    assert "unchanged" == results["well"].outcome


def test_what_is_recorded(bed: Bed) -> None:
    """A failure, its action, and the recovery with its times, each before what follows from it."""
    bed.engine.add("web", "exited", 3)
    result = bed.heal("web")["web"]
    assert [("failure", "web"), ("start", "web"), ("recover", "web")] == bed.around.events
    assert "healed" == result.reason and result.took_ms is not None and result.took_ms >= 0


def left_by_a_run_that_was_killed(bed: Bed, status: str = "running", **labels: str) -> str:
    """The new one has the name and was never proven, the old one waits; the id of the old one."""
    bed.engine.add("web.selfheal-old", "exited", 0, Config={"Labels": labels, "Image": "x", "StopTimeout": 1})
    old = str(bed.engine.all["web.selfheal-old"]["Id"])
    bed.engine.add("web", status, Config={"Labels": {"selfheal.replaces": old}, "Image": "x", "StopTimeout": 1})
    return old


def test_killed_between_swap_and_proof(bed: Bed) -> None:
    """C51 the next run proves what a killed one has made anew, and only then the old one goes."""
    left_by_a_run_that_was_killed(bed)
    result = bed.heal("web")["web"]
    assert ("changed", ["recreate"]) == (result.outcome, result.actions)
    assert ["web"] == list(bed.engine.all) and not bed.engine.posts


@pytest.mark.parametrize("status", ["running", "exited"])
def test_killed_between_swap_and_proof_of_one_that_does_not_do(bed: Bed, status: str) -> None:
    """C51 what is not well is taken back: the old one has its name again, and runs."""
    old = left_by_a_run_that_was_killed(bed, status)
    bed.engine.all["web"]["State"]["Health"] = {"Status": "unhealthy", "Log": []}
    result = bed.heal("web")["web"]
    assert [old] == [told["Id"] for told in bed.engine.all.values()] and ["web"] == [told["Name"][1:] for told in bed.engine.all.values()]
    assert "running" == bed.engine.all["web"]["State"]["Status"]
    assert result.outcome == ("failed" if status == "running" else "changed")


def beside(bed: Bed, name: str, replaces: str, **labels: str) -> None:
    config = {"Labels": {"selfheal.replaces": replaces, "selfheal.owner": "web", **labels}, "Image": "x"}
    bed.engine.add(name, "created", Config=config, Created=stamp())


@pytest.mark.parametrize("name", ["web", "web.selfheal-old"])
def test_killed_before_the_new_one_had_the_name(bed: Bed, name: str) -> None:
    """C51 the old one was stopped by us and by nobody else: it has its name, and runs again."""
    bed.engine.add(name, "exited", 0)
    beside(bed, "web.selfheal-new", str(bed.engine.all[name]["Id"]))
    result = bed.heal("web")["web"]
    assert ("changed", ["start"], "interrupted") == (result.outcome, result.actions, result.reason), result
    assert [("note", "web")] == bed.around.events
    assert "running" == bed.engine.all["web"]["State"]["Status"] and ["start web"] == bed.engine.posts
    assert ["web"] == list(bed.engine.all)


@pytest.mark.parametrize(("status", "posts"), [("stopping", ["stop web", "start web"]), ("running", ["start web"])])
def test_killed_while_the_old_one_was_being_stopped(bed: Bed, status: str, posts: List[str]) -> None:
    """C51 an engine goes on with a stop when whoever asked for it is dead: it is waited for, or the service would end after its start."""
    bed.engine.add("web", status)
    beside(bed, "web.selfheal-new", str(bed.engine.all["web"]["Id"]))
    result = bed.heal("web")["web"]
    assert ("changed", posts) == (result.outcome, bed.engine.posts), result
    assert ["web"] == list(bed.engine.all) and "running" == bed.engine.all["web"]["State"]["Status"]


@pytest.mark.parametrize("tries", [1, 2])
def test_killed_and_the_old_one_is_refused(bed: Bed, tries: int) -> None:
    """C51 it was stopped by us: it is not taken for somebody's wish that it stays down, by this run nor by the next."""
    bed.engine.add("web", "exited", 0)
    beside(bed, "web.selfheal-new", str(bed.engine.all["web"]["Id"]))
    bed.engine.refuses["web"] = 2 * tries - 1
    results = [bed.heal("web")["web"] for _try in range(tries)]
    assert ["failed"] * (tries - 1) + ["changed"] == [each.outcome for each in results], results
    assert "running" == bed.engine.all["web"]["State"]["Status"] and not bed.engine.refuses["web"]
    assert "unchanged" == bed.heal("web")["web"].outcome or ["web"] == list(bed.engine.all)


def test_killed_after_what_was_dead_had_been_removed(bed: Bed) -> None:
    """C51 the new one is all that there is: it gets the name, and serves."""
    beside(bed, "web.selfheal-new", "0" * 64)
    result = bed.heal("web")["web"]
    assert ("changed", ["start web"]) == (result.outcome, bed.engine.posts), result
    assert ["web"] == list(bed.engine.all)


def test_drift_of_what_somebody_is_stopping(bed: Bed) -> None:
    """C01 it is not made anew under the hands of whoever stops it: its end is waited for."""
    bed.engine.add("web", "stopping")
    result = bed.heal(wants=(Want("web", labels={"colour": "blue"}),), wait=0.3)["web"]
    assert ("failed", "not_running", []) == (result.outcome, result.reason, bed.engine.posts), result


def test_what_a_deployment_left_in_the_middle_is_its_own(bed: Bed) -> None:
    """Between its two renames nobody bears the name: a deployment goes on with it, and nobody else renames anything."""
    bed.engine.add("web.selfheal-old")
    beside(bed, "web.selfheal-new", str(bed.engine.all["web.selfheal-old"]["Id"]), **{"selfheal.deployment": "two"})
    result = bed.heal("web")["web"]
    assert "no_such_container" == result.reason and not bed.engine.posts
    assert ["web.selfheal-new", "web.selfheal-old"] == sorted(bed.engine.all)


def test_a_loop_ends_with_the_budget(bed: Bed) -> None:
    """C05 as often as the budget allows, over all runs; then it is left alone, and so by the next run."""
    bed.engine.add("web", "exited", 3)
    bed.engine.crashes = ["web"]
    first = bed.heal("web", rules=Rules(budget=3))["web"]
    assert ["start"] * 3 == first.actions and ("failed", "budget_spent") == (first.outcome, first.reason)
    second = bed.heal("web", rules=Rules(budget=3))["web"]
    assert [] == second.actions and "budget_spent" == second.reason and 3 == len(bed.engine.posts)


def test_a_hold_and_somebody_elses_lease(bed: Bed) -> None:
    """A hold blocks at once; a lease is waited for, and then it is looked again."""
    bed.engine.add("held", "exited", 3)
    bed.engine.add("leased", "exited", 3)
    bed.around.no["held"] = Reason.HOLD, "hands off"
    bed.around.held["leased"] = 2
    results = bed.heal("held", "leased")
    assert ("blocked", "hold") == (results["held"].outcome, results["held"].reason)
    assert "changed" == results["leased"].outcome and ["start leased"] == bed.engine.posts


def test_a_lease_that_is_never_given_back(bed: Bed) -> None:
    """Time ends the wait, and nothing was done."""
    bed.engine.add("web", "exited", 3)
    bed.around.held["web"] = 10**6
    result = bed.heal("web", wait=0.3)["web"]
    assert ("blocked", "lease_held") == (result.outcome, result.reason) and not bed.engine.posts


def test_check_mode_does_nothing(bed: Bed) -> None:
    """What would be done is told; no lease, no event, no request but questions."""
    bed.engine.add("web", "exited", 3)
    result = bed.heal("web", dry=True)["web"]
    assert ("planned", "start") == (result.outcome, result.action)
    assert not bed.engine.posts and not bed.around.events and not bed.around.held


def test_one_fault_keeps_nobody_else(bed: Bed) -> None:
    """A container that is not there, and one that the engine cannot start, fail alone."""
    bed.engine.add("web", "exited", 3)
    results = bed.heal("nowhere", "web")
    assert ("failed", "no_such_container") == (results["nowhere"].outcome, results["nowhere"].reason)
    assert "changed" == results["web"].outcome


@pytest.mark.parametrize(("state", "action"), [("stopped", "stop"), ("absent", "remove")])
def test_what_should_not_run(bed: Bed, state: str, action: str) -> None:
    """Stopped is stopped, and what is to be absent is stopped before it is removed."""
    bed.engine.add("web")
    result = bed.heal(wants=(Want("web", state),))["web"]
    assert [action] == result.actions and ["stop web"] == bed.engine.posts
    assert ("web" in bed.engine.all) is (state == "stopped")


def test_a_busy_engine_that_answers_too_late(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for and not answered in time may come about all the same: it is waited for, and not asked for again."""
    monkeypatch.setattr("selfheal._engine.container_deeds.MARGIN", -0.7)  # the container's own second, less than the engine takes
    bed.engine.add("web", "exited", 3)
    bed.engine.takes = 1.0
    result = bed.heal("web")["web"]
    assert ("changed", ["start"]) == (result.outcome, result.actions) and ["start web"] == bed.engine.posts


def test_an_engine_that_is_not_there(bed: Bed) -> None:
    """One error, and not one for each container."""
    bed.engine.server.down()
    with pytest.raises(EngineAway):
        bed.heal("web")
    bed.engine.server.up()


@pytest.mark.parametrize("broken", [b"{", b'{"schema": 9}', b"[]"])
def test_notes_that_cannot_be_read(bed: Bed, tmp_path: Any, broken: bytes) -> None:
    """They are set aside and told; the container is healed all the same."""
    folder = tmp_path / "notes"
    folder.mkdir(mode=0o700)
    (folder / "web.json").write_bytes(broken)
    bed.engine.add("web", "exited", 3)
    assert "changed" == bed.heal("web")["web"].outcome and 1 == len(bed.resets)


def test_notes_forget_after_an_hour(tmp_path: Any) -> None:
    """An action counts for an hour; a clock that was set back makes none count longer than that from now."""
    now = [10000.0]
    notes = Notes(str(tmp_path / "notes"), lambda: now[0], None)
    notes.acted("web")
    assert 1 == len(notes.read("web").actions)
    now[0] = 9000.0
    assert [9000.0] == notes.read("web").actions
    now[0] = 13601.0
    assert [] == notes.read("web").actions

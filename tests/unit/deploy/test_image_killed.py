# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment of an image killed at every request to the engine, or whose engine goes away: the old or the proven one serves."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import tempfile

import pytest
from deploy_helpers import LocalHost
from harbour import ILL, NAME, Engine, Harbour
from killing import Counted, kill_at

DEEP = bool(os.environ.get("SELFHEAL_DEEP"))
STRIDE = 1 if DEEP else 11
LASTING = 0.3
"""Seconds for which a stop goes on."""


def deploys(harbour):
    return harbour.deploy


def fails_by_itself(harbour):
    return lambda stage: harbour.deploy(stage, "v2", version="ill")


def fails_for_others(harbour):
    return lambda stage: harbour.deploy(stage, "v2", health=ILL)


def goes_back(harbour):
    return lambda stage: stage.rollback()


ACTS = {
    "deploy": (deploys, ("v1", "v2")),
    "ill": (fails_by_itself, ("v1",)),
    "judged": (fails_for_others, ("v1",)),
    "rollback": (goes_back, ("v1", "v2")),
}
SCENES = [(kind, act) for kind in ("route", "alias", "swap") for act in sorted(ACTS)]


@pytest.fixture(scope="module", params=SCENES, ids="-".join)
def scene(request):
    """A harbour in memory, what happens in it, and what may serve in the end."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    place = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-dock-", dir=where))
    engine = Engine(place)
    before = os.environ.get("DOCKER_HOST")
    os.environ["DOCKER_HOST"] = "unix://" + engine.path
    try:
        kind, act = request.param
        harbour = Harbour(place, engine, kind)
        make, endings = ACTS[act]
        if act == "rollback":
            with LocalHost() as host:
                harbour.reset()
                assert harbour.deploy(harbour.stage(host)).outcome == "changed"
            harbour.keep()
        yield harbour, make(harbour), endings
    finally:
        if before is None:
            del os.environ["DOCKER_HOST"]
        else:
            os.environ["DOCKER_HOST"] = before
        engine.end()
        shutil.rmtree(place)


def changes_of(harbour, act):
    """How many requests of it change something when nobody disturbs it."""
    harbour.reset()
    harbour.engine.harm(0, "", "")
    with LocalHost() as host:
        act(harbour.stage(host))
    return harbour.engine.state()["changes"]


def settle(harbour, endings, by_next, version="v3"):
    """Whoever comes next: a resume, or the next deployment, of `version`."""
    harbour.holds_at_any_time()
    with LocalHost() as host:
        stage = harbour.stage(host)
        if by_next:
            told = harbour.deploy(stage, "v3", version=version)
            if version == "ill":
                assert told.outcome == "failed" and harbour.holds_at_rest(stage) in endings, told
                return
            assert told.outcome == "changed", told
            assert harbour.holds_at_rest(stage) == "v3"
            return
        for told in stage.resume():
            assert told.outcome in ("changed", "failed"), told
        assert harbour.holds_at_rest(stage) in endings
        assert stage.resume() == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_request(scene, when):
    """C51: before each request that changes something, and after it was done and before the answer; then a resume, or the next one."""
    harbour, act, endings = scene
    total = changes_of(harbour, act)
    assert total >= 3
    for number in range(1, total + 1):
        for by_next in (False, True) if DEEP else ((number + len(when)) % 2 == 0,):
            harbour.reset()
            harbour.engine.harm(number, "kill", when)
            assert os.waitpid(harbour.child(act), 0)[1] == signal.SIGKILL, number
            settle(harbour, endings, by_next)


@pytest.mark.parametrize("podman", [False, True], ids=["docker", "podman"])
def test_killed_while_something_is_being_stopped(scene, podman):
    """C51: an engine goes on with a stop when whoever asked for it is dead; what is to serve is not taken for one that runs meanwhile."""
    harbour, act, endings = scene
    changes_of(harbour, act)
    stops = [number for number, done in enumerate(harbour.engine.state()["log"], 1) if done.split()[1] == "stop"]
    assert stops or harbour.kind == "swap", "an image that fails its rehearsal costs nobody a stop"
    for number in stops:
        for by_next, version in ((False, ""), (True, "ill")):
            harbour.reset()
            harbour.engine.harm(number, "kill", "after")
            harbour.engine.put(**{**harbour.engine.state(), "lasting": LASTING, "podman": podman})
            assert os.waitpid(harbour.child(act), 0)[1] == signal.SIGKILL, number
            settle(harbour, endings, by_next, version)


def test_killed_at_a_rehearsal_and_nobody_serves_any_more(scene):
    """C51: there is nobody beside whom it could be tried again: the try goes all the same, and so does the policy of the one before."""
    harbour, act, endings = scene
    changes_of(harbour, act)
    tries = [number for number, done in enumerate(harbour.engine.state()["log"], 1) if done == "POST create web.selfheal-try"]
    assert bool(tries) is (harbour.kind == "swap")
    for number in (each + more for each in tries for more in (0, 1)):
        harbour.reset()
        harbour.engine.harm(number, "kill", "after")
        assert os.waitpid(harbour.child(act), 0)[1] == signal.SIGKILL, number
        state = harbour.engine.state()
        ended = next(told for told in state["containers"].values() if told["Name"] == "/" + NAME)
        ended["State"]["Status"] = "exited"
        harbour.engine.put(**state)
        with LocalHost() as host:
            harbour.stage(host).resume()
        there = harbour.engine.by_name()
        assert NAME + ".selfheal-try" not in there, sorted(there)
        old = there.get(NAME + ".selfheal-old")
        assert old is None or old["HostConfig"]["RestartPolicy"]["Name"] == "no", old


def test_killed_before_changes_of_files(scene):
    """The same at the calls that write files, among them the journal between two requests."""
    harbour, act, endings = scene
    harbour.reset()
    reading, writing = os.pipe()
    real = os.write

    def counting(stage):
        counted = Counted(("mkdir", "rename", "link", "symlink", "unlink", "write", "fsync"), lambda count: None)
        act(stage)
        real(writing, b"%d" % counted.count)

    pid = harbour.child(counting)
    os.close(writing)
    with os.fdopen(reading) as answer:
        total = int(answer.read())
    assert os.waitpid(pid, 0)[1] == 0 and total > 20
    for number in range(1, total + 1, STRIDE):
        harbour.reset()
        pid = harbour.child(act, lambda number=number: kill_at(number))
        if os.waitpid(pid, 0)[1] == signal.SIGKILL:
            settle(harbour, endings, by_next=number % 2 == 0)


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_engine_goes_away_at_every_request(scene, when, monkeypatch):
    """C04: an engine that is restarted costs a moment: what was begun is ended as if it had been there, and nothing is done twice."""
    monkeypatch.setattr("selfheal._engine.image_engine.ASK_AGAIN", 0.01)
    harbour, act, endings = scene
    total = changes_of(harbour, act)
    with LocalHost() as host:
        harbour.reset()
        expected = act(harbour.stage(host)).outcome
    for number in range(1, total + 1):
        harbour.reset()
        harbour.engine.harm(number, "drop", when)
        with LocalHost() as host:
            stage = harbour.stage(host)
            told = act(stage)
            assert told.outcome == expected, (number, told)
            assert harbour.holds_at_rest(stage) in endings

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment killed anywhere, or on a full disk: what serves is the old good release or the new proven one, always.

SELFHEAL_DEEP=1 kills at every change and at 1,000 random instants of each scene; without it a spread of both is tried.
"""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
from deploy_helpers import LocalHost
from killing import ILL, Theatre, changes_of, full_at, kill_at

DEEP = bool(os.environ.get("SELFHEAL_DEEP"))
RANDOM = 1000 if DEEP else 60
STRIDE = 1 if DEEP else 5


def deploys(theatre):
    return theatre.deploy


def deploys_ill(theatre):
    return lambda stage: theatre.deploy(stage, health=ILL)


def goes_back(theatre):
    return lambda stage: stage.rollback()


SCENES = {"deploy": (deploys, ("v1", "v2")), "ill": (deploys_ill, ("v1",)), "rollback": (goes_back, ("v1", "v2"))}


@pytest.fixture(scope="module", params=sorted(SCENES))
def scene(request, tmp_path_factory):
    """A theatre in memory, what is played in it, and what may serve in the end."""
    import pathlib
    import shutil
    import tempfile

    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else str(tmp_path_factory.getbasetemp())
    place = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-kill-", dir=where))
    theatre = Theatre(place)
    act, endings = SCENES[request.param]
    if request.param == "rollback":
        with LocalHost() as host:
            theatre.reset()
            assert theatre.deploy(theatre.stage(host)).outcome == "changed"
            shutil.rmtree(theatre.template)
            shutil.copytree(place / "www", theatre.template / "www", symlinks=True)
            shutil.copytree(place / "state", theatre.template / "state")
    yield request.param, theatre, act(theatre), endings
    shutil.rmtree(place)


def reset(name, theatre):
    theatre.reset()
    if name == "rollback":
        theatre.route.write_text("v2")


def settle(theatre, endings, by_next):
    """Whoever comes next: a resume, or the next deployment."""
    theatre.holds_at_any_time()
    with LocalHost() as host:
        stage = theatre.stage(host)
        if by_next:
            assert theatre.deploy(stage, "v3").outcome == "changed"
            assert theatre.holds_at_rest(stage) == "v3"
            return
        for told in stage.resume():
            assert told.outcome in ("changed", "failed"), told
        ended = theatre.holds_at_rest(stage)
        assert ended in endings
        assert stage.resume() == []


def test_killed_before_any_change(scene):
    """C46, C47, C51: at each call that writes, and whoever comes next, it ends in the old good release or the new proven one."""
    name, theatre, act, endings = scene
    total, _room = changes_of(theatre, act)
    assert total > 50
    for number in range(1, total + 1, STRIDE):
        reset(name, theatre)
        pid = theatre.child(act, lambda number=number: kill_at(number))
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL, number
        settle(theatre, endings, by_next=number % 2 == 0)


def test_killed_at_random_instants(scene):
    """The same at any instant, also between two calls and while a child works for us."""
    name, theatre, act, endings = scene
    chance = random.Random(20261121)
    reset(name, theatre)
    began = time.monotonic()
    assert os.waitpid(theatre.child(act), 0)[1] == 0
    longest = time.monotonic() - began
    cut = 0
    for number in range(RANDOM):
        reset(name, theatre)
        pid = theatre.child(act)
        time.sleep(chance.uniform(0, longest))
        os.kill(pid, signal.SIGKILL)
        cut += os.waitpid(pid, 0)[1] == signal.SIGKILL
        settle(theatre, endings, by_next=number % 3 == 0)
    assert cut > RANDOM // 4


@pytest.mark.parametrize("ever_after", [False, True], ids=["once", "ever_after"])
def test_the_disk_is_full_at_any_step(scene, ever_after):
    """A full disk fails a deployment cleanly, or leaves it to the next who comes when there is room again."""
    name, theatre, act, endings = scene
    _total, room = changes_of(theatre, act)
    for number in range(1, room + 1, STRIDE):
        reset(name, theatre)

        def on_full_disk(stage):
            from selfheal._core.errors import SelfhealError

            try:
                act(stage)
            except SelfhealError:
                return  # refused before anything was begun, or the journal itself could not be written

        pid = theatre.child(on_full_disk, lambda number=number: full_at(number, ever_after))
        assert os.waitpid(pid, 0)[1] == 0, number
        settle(theatre, endings, by_next=False)

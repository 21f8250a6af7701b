# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The spool of pages: whole files, one owner, and the pure arithmetic of when."""

from __future__ import annotations

import os
import pathlib
import threading
from typing import List, Optional

import pytest

from selfheal._core import pages as core
from selfheal._core.model import Notify
from selfheal._records.files import Owner, process_start_time
from selfheal._records.pages import Page, Pages, Told, free

TARGETS = [
    Notify("webhook", {"url": "https://h.example/x", "token_file": "/t", "hmac_file": None}),
    Notify("alertmanager", {"url": "http://127.0.0.1:9093"}),
    Notify("command", {"argv": ("/bin/mail", "ops")}),
]


def page(incident: str = "web-1", service: Optional[str] = "web", **more: object) -> Page:
    message = core.firing("h1", service, incident, {"reason": "ladder_exhausted"}, "2026-11-21T21:03:30.001Z", 3)
    return Page(incident, service, 1700000000.5, message, [Told(notify) for notify in TARGETS], **more)  # type: ignore[arg-type]


def store(folder: pathlib.Path) -> Pages:
    return Pages(str(folder), lambda *words: pytest.fail("damaged: %r" % (words,)))


def parent() -> Owner:
    """Another process that is certainly alive."""
    start = process_start_time(os.getppid())
    assert start is not None
    return Owner(os.getppid(), start, Owner.current().boot_id)


def test_what_was_saved_is_what_is_read(tmp_path: pathlib.Path) -> None:
    """Every field of a page survives, for every kind of target and also for a name that is no file name."""
    for incident in ("web-20261121T210330.001Z", "storm-1", "a/../b", "x" * 240):
        saved = page(incident, None if incident == "storm-1" else "web", owner=Owner.current(), closed=1700000100.25)
        saved.closing = core.resolved(saved.message, "it has recovered", "2026-11-21T21:05:00.000Z", 4, {"recovery_time": "x"})
        saved.told[0].delivered, saved.told[1].reminders, saved.told[1].failed, saved.told[2].over = 1700000001.5, 2, True, True
        store(tmp_path).save(saved)
        assert saved == store(tmp_path).load(incident)
    assert 4 == len(store(tmp_path).others(())) and 3 == len(store(tmp_path).others(["storm-1"]))
    for incident in ("web-20261121T210330.001Z", "storm-1", "a/../b", "x" * 240):
        store(tmp_path).acknowledge(incident, "ann", "")
        store(tmp_path).remove(incident)
    assert [] == [path.name for path in (tmp_path / "pages").iterdir() if path.name != ".lock"]


@pytest.mark.parametrize("of", ["nobody", "us", "another", "dead"])
def test_a_page_is_taken_only_from_nobody_or_the_dead(tmp_path: pathlib.Path, of: str) -> None:
    """Its owner keeps it as long as it may be alive."""
    us, another = Owner.current(), parent()
    owner = {"nobody": None, "us": us, "another": another, "dead": Owner(another.pid, another.start_time + 1, another.boot_id)}[of]
    spool = store(tmp_path)
    spool.save(page(owner=owner))
    claimed = spool.claim("web-1", us)
    found = spool.load("web-1")
    assert found is not None and (found.owner == us) is (of != "another") is (claimed is not None) is free(page(owner=owner), us)


def test_of_two_that_claim_a_page_one_gets_it(tmp_path: pathlib.Path) -> None:
    """Fifty times two at once: never both, never none."""
    for number in range(50):
        incident = "web-%d" % number
        store(tmp_path).save(page(incident))
        got: List[Optional[Page]] = []
        barrier = threading.Barrier(2)

        def claim(owner: Owner, incident: str, barrier: threading.Barrier, got: List[Optional[Page]]) -> None:
            barrier.wait(5)
            got.append(store(tmp_path).claim(incident, owner))

        threads = [threading.Thread(target=claim, args=(owner, incident, barrier, got)) for owner in (Owner.current(), parent())]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert 1 == sum(1 for each in got if each is not None)


def test_claiming_what_is_not_there_finds_nothing(tmp_path: pathlib.Path) -> None:
    """Neither a missing page nor a missing directory is an error, and none is made."""
    assert store(tmp_path).claim("web-1", Owner.current()) is None
    assert (None, [], 0) == (store(tmp_path).load("web-1"), store(tmp_path).others(()), store(tmp_path).version())
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "data",
    [
        None, [], {}, {"pager": {"url": "x"}}, {"webhook": {}}, {"webhook": {"url": 3}}, {"webhook": None}, {"command": {"argv": []}},
        {"command": {"argv": "ls"}}, {"command": {"argv": [1]}}, {"webhook": {"url": "x"}, "command": {"argv": ["x"]}},
    ],
)  # fmt: skip
def test_a_target_that_is_none_is_refused(data: object) -> None:
    """Table: what a damaged file may hold in place of a target."""
    with pytest.raises(ValueError):
        core.from_data(data)


def test_targets_survive_their_file() -> None:
    """Each kind reads as it was written."""
    assert TARGETS == [core.from_data(core.to_data(notify)) for notify in TARGETS]


@pytest.mark.parametrize(
    "since, now, left", [(100.0, 100.0, 60.0), (100.0, 130.0, 30.0), (100.0, 500.0, 0.0), (100.0, 50.0, 60.0), (1e12, 0.0, 60.0)]
)
def test_a_wall_clock_that_jumps_costs_at_most_the_span(since: float, now: float, left: float) -> None:
    """Between nothing and the whole span is left, whatever the clock says."""
    assert left == core.remaining(since, 60.0, now)


def test_pauses_grow_and_stay_below_a_minute() -> None:
    """1, 2, 4 … 60 s for the host whose share is nothing, three quarters of it for the other extreme; also after years of failures."""
    assert [1, 2, 4, 8, 16, 32, 60, 60] == [core.pause(tries, 0.0) for tries in range(1, 9)]
    assert [0.75, 45.0] == [core.pause(tries, 1.0) for tries in (1, 100000)]

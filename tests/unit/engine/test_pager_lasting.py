# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages outlive what carries them: a killed watchdog, a run that is gone, another configuration, a full disk."""

from __future__ import annotations

import json
import os
import pathlib

import pytest
from paging import HOOK, MAIL, OTHER, REFUSED, WEB, Stage

from selfheal._core.model import Notify
from selfheal._engine import pager as pagers
from selfheal._engine.post import REMIND_EVERY
from selfheal._host import Outcome
from selfheal._records.files import Owner


@pytest.fixture
def stage(tmp_path: pathlib.Path) -> Stage:
    return Stage(tmp_path, OTHER)


@pytest.mark.parametrize("answered", [False, True])
def test_killed_while_a_message_is_under_way(stage: Stage, answered: bool) -> None:
    """C45 pending notifications survive a restart: unanswered, it is sent again; answered and noted, never."""
    stage.clock.answer = lambda sent: Outcome("ok") if answered else None
    stage.page()
    stage.run(2)
    stage.killed()
    stage.clock.answer = lambda sent: Outcome("ok")
    stage.page()  # the healer died before its own state was saved, and decides the page again
    stage.run(100)
    assert (1 if answered else 2) == len(stage.clock.sent)
    stage.resolve()
    stage.run(101)
    assert ("resolved", []) == (stage.clock.sent[-1].status, stage.files())


def test_reminders_and_the_hour_go_on_across_a_restart(stage: Stage) -> None:
    """Neither a reminder comes early nor an old page lives for ever because the watchdog was restarted."""
    stage.page()
    stage.run(REMIND_EVERY / 2)
    stage.killed()
    stage.run(REMIND_EVERY - 10)
    assert 1 == len(stage.clock.sent)
    stage.run(REMIND_EVERY + 10)
    assert 2 == len(stage.clock.sent)
    stage.clock.answer = lambda sent: REFUSED
    stage.resolve()
    stage.run(stage.clock.now + 3000)
    stage.killed()
    stage.run(stage.clock.now + 700)
    assert [] == stage.files()


def test_an_incident_closed_by_others_closes_its_page(stage: Stage) -> None:
    """C45: after a reboot, or a heal by hand, whoever was called hears the end though nobody said page_resolved here."""
    stage.page()
    stage.run(1)
    stage.killed()
    stage.open.clear()
    stage.run(3)
    assert [(0.0, "x", "firing"), (1.0, "x", "resolved")] == stage.said()
    assert [] == stage.files()


def test_what_a_run_leaves_is_taken_up_when_the_run_is_gone(tmp_path: pathlib.Path) -> None:
    """A page of `selfheal heal`: the run tries for its ten seconds, then the watchdog goes on; nobody is told twice."""
    stage = Stage(tmp_path, OTHER, HOOK)
    stage.born(resident=False)
    stage.clock.answer = lambda sent: REFUSED if "SECRET" in sent.to else Outcome("ok")
    stage.page()
    stage.pager.deliver(10.0)
    assert 10.0 == stage.clock.now and [WEB + ".json"] == stage.files()
    assert 1 == sum(1 for sent in stage.clock.sent if sent.to.endswith("x")) and 4 <= len(stage.clock.sent)
    stage.born()
    stage.clock.answer = lambda sent: Outcome("ok")
    before = len(stage.clock.sent)
    stage.run(12)
    assert ["SECRETPATH"] == [each[1] for each in stage.said(before)]


def test_a_run_that_delivers_does_not_wait(stage: Stage) -> None:
    """Nothing to say, or all said: the end of a run costs nothing."""
    stage.born(resident=False)
    stage.pager.deliver(10.0)
    assert 0.0 == stage.clock.now
    stage.born(resident=False)
    stage.page()
    stage.pager.deliver(10.0)
    assert (0.0, 1) == (stage.clock.now, len(stage.clock.sent))


def test_a_page_whose_owner_may_be_alive_is_left_to_it(stage: Stage) -> None:
    """Two processes never deliver the same page: it is taken over only from one that is provably gone."""
    stage.page()
    path = stage.folder / "pages" / (WEB + ".json")
    data = json.loads(path.read_text())
    data["owner"] = {**Owner.current().as_data(), "pid": os.getppid()}
    from selfheal._records.files import process_start_time

    data["owner"]["start_time"] = process_start_time(os.getppid())
    path.write_text(json.dumps(data))
    stage.clock.running.clear()
    stage.clock.sent.clear()
    stage.born()
    stage.page()
    stage.run(20)
    assert [] == stage.clock.sent
    data["owner"]["start_time"] += 1
    path.write_text(json.dumps(data))
    stage.run(30)
    assert 1 == len(stage.clock.sent)


def test_a_storm_is_one_page_though_the_watchdog_is_restarted_in_it(stage: Stage) -> None:
    """C19 a storm pages once, without a service, and is taken back when it is over; a restart does not page anew."""
    stage.page(None, "storm-1", reason="storm", detail="5 of 6 services of this host failed within 60 s", services=["a", "b"])
    stage.run(1)
    stage.killed()
    stage.page(None, "storm-2", reason="storm")
    stage.run(50)
    assert 1 == len(stage.clock.sent)
    body = stage.clock.sent[0].body
    assert (None, ["a", "b"]) == (body["service"], body["services"])
    assert body["sentence"].startswith("web1 needs a person: 5 of 6 services")
    stage.told.record("page_resolved", None, "storm-2", data={"reason": "storm"})
    stage.run(51)
    assert ("resolved", "storm-1", []) == (stage.clock.sent[-1].status, stage.clock.sent[-1].body["incident"], stage.files())


def test_open_pages_follow_a_changed_configuration(tmp_path: pathlib.Path) -> None:
    """A corrected target gets the open page; one taken out hears only the end of what it knows."""
    stage = Stage(tmp_path, OTHER, HOOK)
    stage.clock.answer = lambda sent: REFUSED if "SECRET" in sent.to else Outcome("ok")
    stage.page()
    stage.run(10)
    stage.targets["web"] = (MAIL,)
    stage.pager.retarget()
    before = len(stage.clock.sent)
    stage.run(2 * REMIND_EVERY)
    assert {"mail"} == {each[1] for each in stage.said(before)} and 1 == sum(
        1 for s in stage.clock.sent[before:] if "reminder" not in s.body
    )
    stage.killed()
    before = len(stage.clock.sent)
    stage.resolve()
    stage.run(2 * REMIND_EVERY + 60)
    assert [("mail", "resolved"), ("x", "resolved")] == sorted(each[1:] for each in stage.said(before))


def test_a_page_of_a_service_nobody_watches_is_closed(stage: Stage) -> None:
    """Taken out of the contracts: the page is closed at once; found so at a start: when acknowledged, or after a day."""
    stage.page()
    stage.run(1)
    stage.pager.unwatched("web")
    stage.run(2)
    assert "it is no longer watched" in stage.clock.sent[-1].body["sentence"] and [] == stage.files()
    for number, acknowledged in enumerate((True, False)):
        stage.page(incident="web-%d" % number)
        stage.run(stage.clock.now + 1)
        stage.targets.pop("web")
        stage.killed()
        since = stage.clock.now
        stage.run(since + 60)
        assert ["web-%d.json" % number] == stage.files()
        if acknowledged:
            stage.store.acknowledge("web-%d" % number, "ann", "")
        stage.run(since + (120 if acknowledged else pagers.UNWATCHED_FOR + 60))
        assert [] == stage.files()
        stage.targets["web"] = (OTHER,)


def test_without_room_on_the_disk_it_is_delivered_from_memory(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spool cannot be written: people are called all the same, it is said once, and written when that works again."""
    blocked = stage.folder / "pages"
    blocked.write_text("a file where the directory should be")
    stage.page()
    stage.page("db", "db-1")
    stage.run(30)
    assert 2 == len(stage.clock.sent)
    notes = stage.records.of("note")
    assert ["records_unwritable"] == [note["data"]["reason"] for note in notes] and "memory" in notes[0]["data"]["text"]
    blocked.unlink()
    stage.run(40)
    assert [WEB + ".json", "db-1.json"] == sorted(stage.files(), key=lambda name: name[0] != "w")
    stage.killed()
    stage.open.add("db-1")
    stage.run(60)
    assert 2 == len(stage.clock.sent), "what was delivered from memory is not delivered again"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema": 1}', b"\0" * 100, b'{"schema": 2, "incident": "x"}', b"[" * 5000])
def test_a_damaged_page_is_set_aside_and_said(stage: Stage, damage: bytes) -> None:
    """A file that cannot be understood stops nothing: it is kept beside, recorded, and the others are delivered."""
    stage.page()
    stage.run(1)
    (stage.folder / "pages" / "bad.json").write_bytes(damage)
    stage.killed() if damage.startswith(b"\xff") else stage.born()
    stage.run(5)
    assert 1 == len(stage.records.of("state_reset"))
    assert [True] == [name.startswith("bad.json.bad-") for name in stage.files() if name.startswith("bad")]
    assert 1 == len(stage.clock.sent)


def test_nobody_to_tell_is_no_fault(tmp_path: pathlib.Path) -> None:
    """`notify: []` calls nobody: the page can be acknowledged, waits for nothing, and is gone at its end."""
    stage = Stage(tmp_path)
    stage.page()
    stage.run(10)
    assert (0, [WEB + ".json"]) == (stage.pager.waiting, stage.files())
    stage.resolve()
    stage.run(11)
    assert [] == stage.files()


def test_two_targets_of_one_host_have_two_names() -> None:
    """Names in events and metrics tell targets apart without showing a path."""
    from selfheal._core.pages import names_of

    twin = Notify("webhook", {"url": "https://hooks.example/other", "token_file": None, "hmac_file": None})
    assert ["webhook hooks.example", "command /bin/mail", "webhook hooks.example (2)"] == names_of([HOOK, MAIL, twin])


def test_counters_begin_at_zero_for_everybody_who_could_be_told(tmp_path: pathlib.Path) -> None:
    """Prometheus sees the first delivery as an increase."""
    stage = Stage(tmp_path, OTHER)
    assert {("web", "webhook other.example", "delivered"): 0, ("web", "webhook other.example", "failed"): 0} == stage.pager.tally(["web"])

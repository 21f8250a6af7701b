# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pager on a virtual clock: who is told what, when it is tried again, and what survives a death between any two lines."""

from __future__ import annotations

import json
import pathlib
from typing import Any, List

import pytest
from paging import ALERTS, FAILED, HOOK, MAIL, OTHER, REFUSED, WEB, Stage, alert_time

from selfheal._core.model import Notify
from selfheal._core.reasons import Reason
from selfheal._engine import pager as pagers
from selfheal._engine.post import GIVE_UP_AFTER, REMIND_EVERY
from selfheal._host import Handle, Outcome


@pytest.fixture
def stage(tmp_path: pathlib.Path) -> Stage:
    return Stage(tmp_path, OTHER)


def test_a_page_is_kept_before_it_is_sent_and_until_everybody_knows_that_it_is_over(stage: Stage) -> None:
    """C45 grafana/alerting#156: the spool holds a page from before the first message until after the last."""
    kept: List[List[str]] = []
    stage.clock.answer = lambda sent: kept.append(stage.files()) or Outcome("ok")  # type: ignore[func-returns-value]
    stage.page()
    stage.run(100)
    assert ([[WEB + ".json"]], [(0.0, "x", "firing")], [WEB + ".json"]) == (kept, stage.said(), stage.files())
    assert 0o600 == (stage.folder / "pages" / (WEB + ".json")).stat().st_mode & 0o777
    stage.resolve()
    stage.run(101)
    assert ([(0.0, "x", "firing"), (100.0, "x", "resolved")], []) == (stage.said(), stage.files())


def test_the_message_says_all_a_receiver_needs(stage: Stage) -> None:
    """The payload as docs/paging.md describes it; resolved says how long it took."""
    stage.page(previous={"outcome": "failed", "reason": "died_again"}, held="held by ann: migration")
    stage.run(1).resolve()
    stage.run(2)
    firing, resolved = (sent.body for sent in stage.clock.sent)
    assert firing == {
        "version": 1,
        "status": "firing",
        "host": "web1",
        "service": "web",
        "incident": WEB,
        "severity": "critical",
        "reason": "ladder_exhausted",
        "failure_time": FAILED,
        "held": "held by ann: migration",
        "previous": {"outcome": "failed", "reason": "died_again"},
        "timeline": {"seq": 1},
        "sentence": "web on web1 needs a person: nothing helped (ladder_exhausted). It has been failing since %s. "
        "Nothing is done about it: held by ann: migration." % FAILED,
    }
    assert resolved == {
        "version": 1,
        "status": "resolved",
        "host": "web1",
        "service": "web",
        "incident": WEB,
        "severity": "critical",
        "reason": "ladder_exhausted",
        "failure_time": FAILED,
        "recovery_time": FAILED,
        "timeline": {"seq": 3},
        "sentence": "web on web1 needs nobody any more: it has recovered after 90.5 s.",
    }


def test_documented_keys_are_those_that_are_sent(stage: Stage, repository: pathlib.Path) -> None:
    """docs/paging.md lists every key of every message and no other."""
    stage.page(previous={"outcome": "failed"}, held="x", services=["a"], probable_cause="disk_full", probable_detail="/var is full")
    stage.run(REMIND_EVERY + 1).resolve()
    stage.run(REMIND_EVERY + 2)
    sent = {key for each in stage.clock.sent for key in each.body}
    assert "Probable cause: /var is full (disk_full)." in stage.clock.sent[0].body["sentence"]
    table = (repository / "docs" / "paging.md").read_text().partition("## webhook")[2].partition("```json")[0]
    documented = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert documented == sent


def test_one_page_for_each_incident_whatever_the_reasons(stage: Stage) -> None:
    """C45 alertmanager#3846: a second reason to page for the same incident reaches nobody twice."""
    stage.page()
    stage.run(5).page(reason="budget_spent")
    stage.run(3600).page(reason="flapping")
    stage.run(7200)
    assert [(0.0, "x", "firing")] == stage.said()


def test_resolved_is_said_once_and_only_to_those_who_had_the_page(tmp_path: pathlib.Path) -> None:
    """C45 alertmanager#844 #2474: no repeated resolved; a target that never had the page gets both in order, or neither."""
    stage = Stage(tmp_path, OTHER, HOOK)
    stage.clock.answer = lambda sent: REFUSED if "SECRET" in sent.to and sent.at < 500 else Outcome("ok")
    stage.page()
    stage.run(200).resolve()
    stage.resolve()
    stage.run(400)
    assert [(0.0, "x", "firing"), (200.0, "x", "resolved")] == [each for each in stage.said() if each[1] == "x"]
    before = len(stage.clock.sent)
    stage.run(1000)
    assert ["firing", "resolved"] == [each[2] for each in stage.said(before) if each[0] >= 500]
    assert [] == stage.files()


def test_it_is_tried_again_with_growing_pauses_until_it_works(tmp_path: pathlib.Path) -> None:
    """1, 2, 4 … 60 s, each a little less by the host's share; page_failed once, and a note when it got through after all."""
    stage = Stage(tmp_path, HOOK)
    stage.clock.answer = lambda sent: REFUSED if sent.at < 300 else Outcome("ok")
    stage.page()
    stage.run(500)
    times = [sent.at for sent in stage.clock.sent]
    pauses = [after - before for before, after in zip(times, times[1:])]
    share = pauses[0]
    assert 0.75 <= share <= 1.0
    assert pytest.approx([share * pause for pause in (1, 2, 4, 8, 16, 32, *[60] * 9)][: len(pauses)]) == pauses
    failed, note = stage.records.of("page_failed", "note")
    assert ("page_failed", "connection_refused", "webhook hooks.example") == (
        failed["type"],
        failed["data"]["reason"],
        failed["data"]["notify"],
    )
    assert note["data"]["attempts"] == len(times) and WEB == note["incident"]
    key = ("web", "webhook hooks.example")
    assert {(*key, "failed"): len(times) - 1, (*key, "delivered"): 1} == stage.pager.counts


def test_hosts_do_not_call_in_step() -> None:
    """The pauses of different hosts differ, those of one host and target are always the same."""
    from selfheal._engine.post import Task
    from selfheal._records.pages import Told

    def pause(seed: str) -> float:
        task = Task(Told(HOOK), "x", 0.0)
        task.failed(0.0, seed)
        return task._next_at

    assert len({pause("host%d x" % number) for number in range(50)}) == 50
    assert pause("a") == pause("a")


def test_no_secret_is_recorded(tmp_path: pathlib.Path) -> None:
    """A webhook's path, its token and credentials in URLs are in no event, no metric and no name."""
    stage = Stage(
        tmp_path, HOOK, Notify("webhook", {"url": "http://u:pw1234@h.example/?k=SECRETPATH", "token_file": None, "hmac_file": None})
    )
    stage.clock.answer = lambda sent: Outcome("bad", Reason.BAD_STATUS, "POST %s: expected HTTP 200-299, got 'x %s'" % (sent.to, sent.to))
    stage.page()
    stage.run(10)
    told = json.dumps(stage.records.events) + repr(stage.pager.counts)
    assert 2 == len(stage.records.of("page_failed")) and "/***" in told
    assert "SECRETPATH" not in told and "pw1234" not in told


def test_a_target_that_hangs_delays_no_other(tmp_path: pathlib.Path) -> None:
    """C58 gatus#786: every target has its own deadline (10 s, a command 30 s), and the others are told at once."""
    stage = Stage(tmp_path, HOOK, MAIL, OTHER)
    stage.clock.answer = lambda sent: None if "SECRET" in sent.to else Outcome("ok")
    stage.page()
    assert [] == stage.clock.sent, "nothing leaves before whoever pages has saved that it did"
    stage.pager.turn(stage.clock.monotonic())
    assert [0.0, 0.0, 0.0] == [sent.at for sent in stage.clock.sent]
    assert [10.0, 30.0, 10.0] == [sent.limit for sent in stage.clock.sent]
    stage.run(60)
    assert {"timeout"} == {event["data"]["reason"] for event in stage.records.of("page_failed")}
    assert 1 == stage.pager.waiting


def test_many_pages_to_a_hanging_target_are_few_at_a_time(tmp_path: pathlib.Path) -> None:
    """At most four messages are under way to one target; the pages to others are not held up by the rest."""
    stage = Stage(tmp_path, HOOK, OTHER)
    stage.clock.answer = lambda sent: None if "SECRET" in sent.to else Outcome("ok")
    most = 0
    start = stage.clock.start

    def counted(*args: Any) -> Handle:
        nonlocal most
        handle = start(*args)
        most = max(most, sum(1 for each in stage.clock.running if each.outcome is None))
        return handle

    stage.clock.start = counted  # type: ignore[method-assign]
    for number in range(20):
        stage.page(incident="web-%d" % number)
    stage.run(5)
    assert pagers.AT_ONCE == most
    assert 20 == sum(1 for sent in stage.clock.sent if sent.to.endswith("x") and sent.at < 1)
    stage.run(120)
    assert 20 == len({sent.body["incident"] for sent in stage.clock.sent if "SECRET" in sent.to})


def test_an_alertmanager_hears_every_minute_until_it_is_over(tmp_path: pathlib.Path) -> None:
    """SelfhealEscalated with host, service and severity; endsAt in 5 minutes, sent again every 60 s, at the end endsAt now."""
    stage = Stage(tmp_path, ALERTS)
    stage.page(held="held by ann")
    stage.run(200).resolve()
    stage.run(1000)
    assert [0.0, 60.0, 120.0, 180.0, 200.0] == [sent.at for sent in stage.clock.sent]
    bodies = [sent.body[0] for sent in stage.clock.sent]
    assert {"http://127.0.0.1:9093/api/v2/alerts"} == {sent.to for sent in stage.clock.sent}
    labels = {"alertname": "SelfhealEscalated", "host": "web1", "service": "web", "severity": "critical"}
    assert all(labels == body["labels"] for body in bodies)
    assert [alert_time(sent.at + (300 if sent.at < 200 else 0)) for sent in stage.clock.sent] == [body["endsAt"] for body in bodies]
    assert (WEB, "held by ann") == (bodies[0]["annotations"]["incident"], bodies[0]["annotations"]["held"])
    assert {("web", "alertmanager 127.0.0.1:9093", "delivered"): 2} == stage.pager.counts, "repeats are no messages to people"


def test_the_end_of_one_incident_does_not_end_the_alert_of_the_next(tmp_path: pathlib.Path) -> None:
    """Both have the same labels: while the second is open, the end of the first stays unsaid."""
    stage = Stage(tmp_path, ALERTS)
    stage.page()
    stage.run(1)
    stage.clock.answer = lambda sent: REFUSED
    stage.resolve()
    stage.run(2)
    stage.clock.answer = lambda sent: Outcome("ok")
    stage.page(incident="web-next")
    before = len(stage.clock.sent)
    stage.run(100)
    assert {"firing"} == {sent.status for sent in stage.clock.sent[before:]}
    assert ["web-next.json"] == stage.files()


def test_who_does_not_answer_is_reminded_until_somebody_acknowledges(stage: Stage) -> None:
    """Every 4 h, numbered; an acknowledgement ends the reminders and not the resolved note."""
    stage.page()
    stage.run(2.5 * REMIND_EVERY)
    assert [None, 1, 2] == [sent.body.get("reminder") for sent in stage.clock.sent]
    assert [0.0, REMIND_EVERY, 2 * REMIND_EVERY] == [sent.at for sent in stage.clock.sent]
    stage.store.acknowledge(WEB, "ann", "on it")
    stage.run(6 * REMIND_EVERY)
    assert 3 == len(stage.clock.sent)
    stage.resolve()
    stage.run(6 * REMIND_EVERY + 1)
    assert ("resolved", []) == (stage.clock.sent[-1].status, stage.files())


def test_after_an_hour_without_reaching_anybody_it_is_given_up(stage: Stage) -> None:
    """What nobody took within an hour after the end is told to nobody, and the timeline says so."""
    stage.clock.answer = lambda sent: REFUSED
    stage.page()
    stage.run(7200).resolve()
    stage.run(7200 + GIVE_UP_AFTER - 60)
    assert [WEB + ".json"] == stage.files() and 7200 + GIVE_UP_AFTER - 130 < stage.clock.sent[-1].at
    stage.run(7200 + GIVE_UP_AFTER + 60)
    assert [] == stage.files() and 1 == stage.pager.counts[("web", "webhook other.example", "given_up")]
    assert "was not told of it" in stage.records.of("note")[-1]["data"]["text"]
    assert 1 == len(stage.records.of("page_failed")), "once for each page and target"

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pager on a virtual clock: who is told what, when it is tried again, and what survives a death between any two lines."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import pytest

from selfheal._core.model import Notify
from selfheal._core.reasons import Reason
from selfheal._engine import pager as pagers
from selfheal._engine.paged import PagedRecords
from selfheal._engine.pager import Pager
from selfheal._engine.ports import Records
from selfheal._engine.post import GIVE_UP_AFTER, REMIND_EVERY
from selfheal._host import Handle, Host, Outcome, Step
from selfheal._records.files import Owner
from selfheal._records.pages import Page, Pages

HOOK = Notify("webhook", {"url": "https://hooks.example/services/T0/SECRETPATH", "token_file": None, "hmac_file": None})
OTHER = Notify("webhook", {"url": "http://other.example/x", "token_file": None, "hmac_file": None})
ALERTS = Notify("alertmanager", {"url": "http://127.0.0.1:9093"})
MAIL = Notify("command", {"argv": ("/bin/mail", "ops")})
FAILED = "2026-11-21T21:03:30.001Z"
PAGE = {"reason": "ladder_exhausted", "detail": "nothing helped", "failure_time": FAILED}
WEB = "web-20261121T210330.001Z"
REFUSED = Outcome("bad", Reason.CONNECTION_REFUSED, "POST https://hooks.example/services/T0/SECRETPATH: refused")


class Sent:
    """One message that was begun."""

    def __init__(self, at: float, step: Any, limit: float) -> None:
        self.at = at
        self.step = step
        self.limit = limit
        if hasattr(step, "argv"):
            self.to, body = step.argv[0], step.stdin
        else:
            self.to, body = step.target.url, step.target.body
        self.body = json.loads(body)
        alert = self.body[0] if isinstance(self.body, list) else None
        self.status = self.body["status"] if alert is None else ("resolved" if alert["endsAt"] <= alert_time(at) else "firing")


def alert_time(at: float) -> str:
    from selfheal._core.times import format_time

    return format_time(1e9 + at)


class Clock(Host):
    """Steps end as `answer` says, at once; None: they hang until their deadline."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sent: List[Sent] = []
        self.answer: Callable[[Sent], Optional[Outcome]] = lambda sent: Outcome("ok")
        self.running: List[Handle] = []

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1e9 + self.now

    def start(self, step: Step, deadline: float, owner: Any = None) -> Handle:
        handle = Handle(step, owner, self.now, deadline)
        sent = Sent(self.now, step, deadline - self.now)
        self.sent.append(sent)
        handle.outcome = self.answer(sent)
        self.running.append(handle)
        return handle

    def cancel(self, handle: Handle) -> None:
        self.running.remove(handle)

    def poll(self, until: float) -> List[Handle]:
        ended = [handle for handle in self.running if handle.outcome is not None]
        if not ended:
            self.now = max(self.now, min([until] + [handle.deadline for handle in self.running]))
            ended = [handle for handle in self.running if handle.deadline <= self.now]
            for handle in ended:
                handle.outcome = Outcome("bad", Reason.TIMEOUT, "no answer")
        self.running = [handle for handle in self.running if handle not in ended]
        return ended


class Noted(Records):
    """Events in a list, with their seq."""

    def __init__(self) -> None:
        self.events: List[Dict[str, Any]] = []

    def record(self, type: str, service: Any = None, incident: Any = None, source: str = "watchdog", data: Any = None) -> Any:
        event = {"seq": len(self.events) + 1, "timestamp": FAILED, "service": service, "incident": incident, "type": type, "data": data}
        self.events.append(event)
        return event

    def save(self, service: str, data: Dict[str, Any]) -> None:
        raise AssertionError("a pager saves no service's state")

    def load(self, service: str) -> Any:
        raise AssertionError("a pager loads no service's state")

    def of(self, *types: str) -> List[Dict[str, Any]]:
        return [event for event in self.events if event["type"] in types]


class Stage:
    """One host's pager, which can be killed and born again; `open` are the incidents the healers know."""

    def __init__(self, folder: pathlib.Path, *targets: Notify) -> None:
        self.folder = folder
        self.clock = Clock()
        self.records = Noted()
        self.targets: Dict[Optional[str], Sequence[Notify]] = {None: targets, "web": targets, "db": targets}
        self.open = {WEB}
        self.born()

    def born(self, resident: bool = True) -> None:
        self.store = Pages(str(self.folder), lambda *words: self.records.record("state_reset", data={"what": words}), self.clock.wall)
        self.pager = Pager(
            self.clock,
            "web1",
            self.store,
            self.records,
            self.targets.get,
            "watchdog",
            self._stands if resident else None,
        )
        self.told = PagedRecords(self.records, self.pager)

    def killed(self, resident: bool = True) -> None:
        """No line of the old process runs any more; nobody takes its pid for alive."""
        self.clock.running.clear()
        for path in self.folder.glob("pages/*.json"):
            data = json.loads(path.read_text())
            if data["owner"]:
                data["owner"]["start_time"] += 1
            path.write_text(json.dumps(data))
        self.born(resident)

    def _stands(self, page: Page) -> Optional[bool]:
        return page.incident in self.open if page.service in self.targets else None

    def page(self, service: Optional[str] = "web", incident: str = WEB, **more: Any) -> None:
        self.open.add(incident)
        self.told.record("page", service, incident, data={**PAGE, **more})

    def resolve(self, incident: str = WEB, service: Optional[str] = "web") -> None:
        self.open.discard(incident)
        self.told.record("recover", service, incident, data={"recovery_time": FAILED, "recovery_duration_ms": 90500})
        self.told.record("page_resolved", service, incident, data={"reason": "ladder_exhausted"})

    def run(self, until: float) -> "Stage":
        """As an engine turns it."""
        while True:
            self.pager.turn(self.clock.now)
            if self.clock.now >= until and not any(handle.outcome for handle in self.clock.running):
                return self
            for handle in self.clock.poll(min(self.pager.wake, until)):
                assert handle.owner.healer is self.pager
                handle.owner.ended(handle)
                handle.owner.healer.wake = -1e18

    def files(self) -> List[str]:
        return sorted(path.name for path in self.folder.glob("pages/*") if not path.name.startswith("."))

    def said(self, since: int = 0) -> List[Tuple[float, str, str]]:
        return [(round(sent.at, 2), sent.to.rpartition("/")[2], sent.status) for sent in self.clock.sent[since:]]


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

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One healer on a virtual host, driven by hand: what no scenario can script."""

from __future__ import annotations

import json
from typing import List

import pytest
from healing import Stage

from selfheal._actuators.base import Presence, State, Timed
from selfheal._core.reasons import Reason
from selfheal._engine.world import Reach, ScriptedActuator


def test_a_death_that_its_own_supervisor_mends() -> None:
    """C25 systemd's own restart is an incident with its times, without any action of ours, and traffic is away meanwhile."""
    stage = Stage().watch().until(5)
    stage.body.alive = False
    stage.actuator.sees = Presence(State.STARTING, None, "restarting by itself", 0.1, revived=True)
    stage.body.ends(stage.world.host)
    stage.healer.nudge()
    stage.until(8)
    stage.body.alive = True
    stage.body.serial += 1
    stage.body.since = 8.0
    stage.actuator.sees = None
    stage.until(60)
    assert [(5, "failure", "gone"), (18, "recover", None)] == [
        (round(at), *rest) for at, *rest in stage.told("failure", "recover", "start", "restart", "page")
    ]


def test_its_own_supervisor_never_gets_it_up() -> None:
    """C25 systemd restarting it without end is no secret: after retry_every a person is told, once."""
    stage = Stage().watch().until(5)
    stage.body.alive = False
    stage.actuator.sees = Presence(State.STARTING, None, "restarting by itself", 0.1, revived=True)
    stage.body.ends(stage.world.host)
    stage.until(2000)
    assert [(5, "failure", "gone"), (305, "page", "unproven")] == [
        (round(at), *rest) for at, *rest in stage.told("failure", "recover", "start", "restart", "page")
    ]


def test_a_package_manager_that_has_just_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds for a second is asked anew right before an action: a death in an upgrade that began a moment ago is left alone."""
    stage = Stage().watch().until(5)
    answers = ["", "packages are being changed"]
    monkeypatch.setattr(stage.world.desk, "maintenance", lambda: answers[0] or None, raising=False)
    monkeypatch.setattr(stage.world.desk, "refresh", lambda: answers.__setitem__(0, answers[1]), raising=False)
    stage.body.alive = False
    stage.body.ends(stage.world.host)
    stage.until(20)
    assert ["failure", "blocked"] == [type for _at, type, _reason in stage.told("failure", "blocked", "start", "restart")]
    answers[:] = ["", ""]
    stage.healer.nudge()
    stage.until(30)
    assert "start" in [type for _at, type, _reason in stage.told("start")]


def test_a_reboot_closes_the_open_incident_and_keeps_the_budget() -> None:
    """C37 another boot: the incident ends as host_rebooted, no attempt goes on, what was spent is spent."""
    stage = Stage().watch().until(5).answers("bad").until(40)
    incident = stage.healer.memory.incident
    assert incident is not None
    stage.records.boot_changed = True
    stage.body.results.clear()
    stage.watch()
    assert stage.healer.memory.incident is None
    assert len(stage.healer.memory.actions) == 3
    reset = stage.records.events[-1]
    assert (reset["type"], reset["incident"], reset["data"]["reason"]) == ("state_reset", incident.id, "host_rebooted")
    assert str(stage.until(100).healer.state) == "healthy"
    assert stage.told("recover", "start") == []


def test_an_action_that_was_cut_off_is_told_to_the_resource_by_whoever_takes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had asked for may still be done, and is then nobody else's doing; one that had ended is not told."""
    told: List[float] = []
    monkeypatch.setattr(ScriptedActuator, "interrupted", lambda _self, at: told.append(at))
    stage = Stage().watch().until(5).answers("bad")
    while not stage.healer.acting:
        stage.until(stage.world.host.monotonic() + 0.01)
        assert stage.world.host.monotonic() < 60
    incident = stage.healer.memory.incident
    assert incident is not None and incident.attempt is not None and not told
    begun = incident.attempt.begun + stage.world.host.wall() - stage.world.host.monotonic()
    stage.watch()
    assert [begun] == told
    told.clear()
    stage = Stage().watch().until(5).answers("bad")
    while not (stage.healer.memory.incident and stage.healer.memory.incident.attempt) or stage.healer.acting:
        stage.until(stage.world.host.monotonic() + 0.01)
        assert stage.world.host.monotonic() < 60
    stage.watch()
    assert not told


def test_an_unreadable_state_is_said_and_set_aside() -> None:
    """C37 nothing is guessed from a broken state file, and the watch goes on."""
    stage = Stage()
    stage.records.save("web", json.loads('{"memory": {"incident": 7}}'))
    stage.watch()
    assert [(kind, reason) for _at, kind, reason in stage.told()] == [("state_reset", "unreadable")]
    assert str(stage.until(20).healer.state) == "healthy"


def test_an_action_that_breaks_is_a_failed_action() -> None:
    """C03 a bug in an actuator costs its attempt and is named; the next comes after the backoff, for failure was unbroken."""
    stage = Stage(release=None).watch().until(5).answers("bad").until(10.6)
    stage.actuator.broken = RuntimeError("no such method")
    stage.until(15)
    stage.actuator.broken = None
    incident = stage.healer.memory.incident
    assert incident is not None and incident.attempt is not None
    assert (incident.attempt.outcome, incident.attempt.reason) == ("failed", "action_failed")
    assert stage.until(20).told("restart") == [(15, "restart", "liveness_failed"), (16, "restart", "liveness_failed")]


def test_a_look_that_breaks_is_unknown_and_is_asked_again() -> None:
    """C04 what cannot be found out is not failed: nothing is done, a second later it is asked again."""
    stage = Stage()
    stage.actuator.broken = OSError("bus is gone")
    stage.watch().until(3)
    assert stage.healer.presence.state is State.UNKNOWN
    assert "bus is gone" in stage.healer.presence.detail
    stage.actuator.broken = None
    assert str(stage.until(20).healer.state) == "healthy"
    assert stage.told() == []


def test_one_action_per_retry_every_when_nothing_can_be_written() -> None:
    """C66 with a full disk the first action is still taken, the second waits, and the reason is said."""
    stage = Stage().watch().until(5).answers("bad")
    stage.records.full = "no space left on device"
    stage.until(320)
    assert stage.told("restart", "blocked") == [
        (15, "restart", "liveness_failed"),
        (25, "blocked", "records_unwritable"),
        (316, "restart", "liveness_failed"),
    ]


def test_an_operator_is_not_bound_by_mode() -> None:
    """observe and approve bind the watchdog; who asks for healing gets it, under his own name."""
    stage = Stage(mode="observe").watch(operated=True, source="operator").until(5).answers("bad").until(16)
    assert stage.told("restart", "blocked", "page") == [(15, "restart", "liveness_failed")]
    assert {event["source"] for event in stage.records.events if event["type"] == "restart"} == {"operator"}


def test_an_override_lifts_one_guard_and_is_recorded() -> None:
    """A person may lift a guard by its reason; the event says so, and the other guards hold."""
    stage = Stage(guard={"actions": 1, "per": 3600}).watch(override=frozenset([Reason.BUDGET_SPENT])).until(5).answers("bad").until(26)
    restarts = [event for event in stage.records.events if event["type"] == "restart"]
    assert [event["at"] for event in restarts] == [15, 25]
    assert [event["data"]["override"] for event in restarts] == [["budget_spent"]] * 2


def test_a_lease_taken_by_somebody_else_in_the_last_moment_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    """C46 between the question and the taking somebody was quicker: nothing begins, that is said, and it is tried a second later."""
    stage = Stage().watch().until(5).answers("bad")
    monkeypatch.setattr(stage.world.desk, "take", lambda service, purpose: "held by a deployment")
    stage.until(16)
    assert stage.told("restart", "blocked") == [(15, "blocked", "lease_held")]
    monkeypatch.undo()
    stage.healer.nudge()
    assert stage.until(18).told("restart") == [(17, "restart", "liveness_failed")]


def test_an_approval_used_up_by_somebody_else_begins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One approval is one action, also when two healers read it at the same moment."""
    stage = Stage(mode="approve").watch().until(5)
    stage.world.desk.approvals["web"] = 3600.0
    monkeypatch.setattr(stage.world.desk, "consume_approval", lambda service: stage.world.desk.approvals.clear() or False)
    stage.answers("bad").until(20)
    assert stage.told("restart") == []
    assert stage.told("blocked") == [(15, "blocked", "awaiting_approval")]


def test_decisions_that_undo_each_other_end_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A desk that contradicts itself for ever does not hold up the loop: it is asked again a second later."""
    stage = Stage(mode="approve").watch().until(5)
    stage.world.desk.approvals["web"] = 3600.0
    asked: list[float] = []
    monkeypatch.setattr(stage.world.desk, "consume_approval", lambda service: asked.append(stage.world.host.now))
    stage.answers("bad").until(17)
    assert sorted(set(asked)) == [15, 16, 17]
    assert "undo each other" in stage.healer.decision.detail


def test_a_rung_that_cannot_help_is_passed_over_without_an_attempt() -> None:
    """C39 the page says why nothing was tried."""
    stage = Stage()
    stage.actuator.useless = Reason.UNSUPPORTED
    stage.watch().until(5).answers("bad").until(20)
    assert stage.told("restart", "redeploy", "rollback") == []
    pages = [event for event in stage.records.events if event["type"] == "page"]
    assert [page["data"]["previous"] for page in pages] == [{"outcome": "cannot_help", "reason": "unsupported"}]


def test_never_started_on_this_boot_is_started_without_an_incident() -> None:
    """The first start of a process resource is no failure: one start event, outside any incident, then its probes."""
    stage = Stage()
    stage.body.alive = False
    stage.actuator.sees = Presence(State.NEVER)
    stage.watch().until(0.5)
    stage.actuator.sees = None
    assert stage.until(30).told() == [(0, "start", "first_start")]
    assert "incident" not in stage.records.events[0]
    assert str(stage.healer.state) == "healthy"


def test_what_nobody_started_is_never_called_healthy() -> None:
    """In observe nothing is started, so nothing answers: the state is unknown, also while it is looked for anew."""
    stage = Stage(mode="observe")
    stage.body.alive = False
    stage.actuator.sees = Presence(State.NEVER)
    looking = stage.actuator.look
    seen: set[str] = set()

    def look():  # type: ignore[no-untyped-def]
        seen.add(str(stage.healer.state))
        yield Timed(Reach({"it": "hang"}, "it"), 0.5)
        seen.add(str(stage.healer.state))
        return (yield from looking())

    stage.actuator.look = look  # type: ignore[method-assign]
    stage.watch().until(10)
    stage.healer.look_again()
    stage.until(20)
    assert stage.told("start") == []
    assert seen == {"unknown"}


def test_a_pending_job_of_its_own_is_waited_for() -> None:
    """C02 what is already restarting is not restarted: the window goes on while the resource's job is pending."""
    stage = Stage().watch().until(5).answers("bad").until(16)
    stage.actuator.sees = Presence(State.STARTING)
    stage.healer.look_again()
    stage.until(60)
    assert stage.told("restart") == [(15, "restart", "liveness_failed")]
    stage.actuator.sees = None
    assert stage.until(61).told("restart") == [(15, "restart", "liveness_failed"), (60.25, "restart", "liveness_failed")]


def test_stopping_lets_go_of_everything() -> None:
    """A healer taken out of service cancels its probes, its watch and its work, and gives the lease back."""
    stage = Stage().watch().until(5).answers("bad").until(15.5)
    assert stage.healer.acting
    released: list[str] = []
    stage.world.desk.release = released.append  # type: ignore[method-assign]
    stage.engine.remove(stage.healer)
    assert released == ["web"]
    before = len(stage.records.events)
    stage.until(300)
    assert len(stage.records.events) == before
    assert stage.engine.healers == []


def test_words_on_a_service_do_not_disturb_its_probes() -> None:
    """C57 a nudge, a look and a hold every second: the probe under way ends when it would have ended."""
    stage = Stage().watch().until(5).answers("hang")
    for second in range(6, 19):
        stage.until(second)
        stage.healer.look_again()
    assert stage.until(20).told("failure") == [(18.5, "failure", "liveness_failed")]


def test_a_probe_that_ends_in_the_cycle_in_which_it_is_cancelled() -> None:
    """A death and a probe's answer can come out of the kernel together; the answer of what is dead is then nobody's."""
    stage = Stage().watch().until(5)
    watch, host = stage.healer.watch, stage.world.host
    watch.press(host.monotonic())
    watch.start_due(host.monotonic())
    (under_way,) = watch._flying.values()
    runs = watch.tally["liveness"].runs
    watch.suspend()
    watch.ended(under_way)
    assert runs == watch.tally["liveness"].runs
    assert [] == stage.told("failure", "note")


def test_a_start_that_fails_after_a_stop_on_purpose_failed_then_and_not_at_the_stop() -> None:
    """C01 an admin stops it, changes something, and starts it in vain: the failure begins with that, not with the stop hours before."""
    stage = Stage().watch().until(5)
    stage.body.stopped, stage.body.alive = True, False
    stage.body.ends(stage.world.host)
    stage.until(500)
    assert str(stage.healer.state) == "stopped" and stage.told("failure") == []
    stage.body.stopped = False
    stage.healer.look_again()
    stage.until(501)
    incident = stage.healer.memory.incident
    assert incident is not None and incident.failed_at == 500

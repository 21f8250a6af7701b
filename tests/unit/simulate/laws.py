# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold whatever happened: laws over a timeline, checked against an independent witness of the same world.

Every law is a function `(of one service) -> None` that raises AssertionError; `LAWS` lists them by the sentence they hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Sequence

from witness import Witness

from selfheal._core import model
from selfheal._core.health import startup_budget
from selfheal._core.times import parse_time
from selfheal._engine.world import EPOCH

ACTIONS = ("start", "restart", "redeploy", "rollback")
APPROVAL = 3600.0
PEER_AGE = 9.0
"""An answer of a peer is at most so old when it is believed: asked again every 5 s, each time for up to 4 s."""
SETTLED = 1e-6


@dataclass
class Case:
    """One service in one run. `events` are its own, `all_events` the whole timeline."""

    service: model.Service
    events: List[Dict[str, Any]]
    all_events: List[Dict[str, Any]]
    seen: Witness
    until: float
    state: str
    slowest: float = 40.0
    """Seconds of the longest scripted action."""

    def of(self, *types: str) -> List[Dict[str, Any]]:
        return [event for event in self.events if event["type"] in types]

    @property
    def actions(self) -> List[Dict[str, Any]]:
        return self.of(*ACTIONS)


def every_deed_is_told_before(case: Case) -> None:
    """What is done stands in the timeline, one event a deed, with rung and reason."""
    told = [(event["at"], event["type"] if event["type"] != "start" else "start") for event in case.actions]
    assert told == [(round(deed.begun, 3), deed.rung) for deed in case.seen.deeds], "told: %s" % told
    assert all(event["data"]["reason"] for event in case.actions)


def one_at_a_time(case: Case) -> None:
    """Never two actions at once on a service, also over a crash of the watchdog."""
    for before, after in zip(case.seen.deeds, case.seen.deeds[1:]):
        assert before.ends <= after.begun, "%s began while %s ran" % (after, before)


def never_under_a_hold(case: Case) -> None:
    """No action and no move of traffic while a person holds the service or the host."""
    assert [deed for deed in case.seen.deeds if deed.held] == []
    assert [move for move in case.seen.moves if move.held] == []


def never_beside_another_healer(case: Case) -> None:
    """No action while somebody else has the lease."""
    assert [deed for deed in case.seen.deeds if deed.leased] == []


def never_in_maintenance(case: Case) -> None:
    """No action while the host is in no state to be healed."""
    assert [deed for deed in case.seen.deeds if deed.upkeep] == []


def seldom_without_records(case: Case) -> None:
    """While events cannot be written, one action a `retry_every`."""
    for before, after in zip(case.seen.deeds, case.seen.deeds[1:]):
        if after.unwritable and not any(before.begun <= crash <= before.ends for crash in case.seen.crashes):
            assert after.begun >= before.begun + case.service.retry_every - SETTLED, (before, after)


def never_beyond_the_mode(case: Case) -> None:
    """observe: nothing is done. approve: no more actions than approvals."""
    if case.service.mode == "observe":
        assert case.seen.deeds == [] and case.seen.moves == []
    if case.service.mode == "approve":
        for number, deed in enumerate(case.seen.deeds, 1):
            assert number <= deed.approvals, "action %d of %d approvals" % (number, deed.approvals)


def never_against_an_admin(case: Case) -> None:
    """What somebody stopped on purpose stays stopped, unless the contract says otherwise."""
    if case.service.desired != "always":
        assert [deed for deed in case.seen.deeds if deed.stopped] == []


def within_the_budget(case: Case) -> None:
    """Never more than `guard.actions` in any `guard.per` seconds; only the one attempt a `retry_every` after the page is outside."""
    limits = case.service.guard
    counted = [event["at"] for event in case.actions if not event["data"].get("retry")]
    for at in counted:
        assert len([other for other in counted if at - limits.per + 0.0005 < other <= at]) <= limits.actions, "at %g" % at
    retries = [event["at"] for event in case.actions if event["data"].get("retry")]
    for before, after in zip(retries, retries[1:]):
        assert after >= before + case.service.retry_every - 0.001


def rests_between_actions(case: Case) -> None:
    """`guard.cooldown` passes from the end of one action to the next."""
    for before, after in zip(case.seen.deeds, case.seen.deeds[1:]):
        killed = any(before.begun <= crash <= before.ends for crash in case.seen.crashes)
        if not killed:
            assert after.begun >= before.ends + case.service.guard.cooldown - SETTLED, (before, after)


def never_the_last_available(case: Case) -> None:
    """What still serves is neither restarted nor drained while fewer than `min_available` peers are known to be ready."""
    limits, seen = case.service.guard, case.seen
    if not limits.peers:
        return
    settle = max((probe.period + probe.timeout) * probe.failure_threshold for probe in case.service.probes) + PEER_AGE
    for deed in seen.deeds:
        if deed.serves_since is None or deed.serves_since > deed.begun - settle:
            continue
        assert _ready(case, deed.moment, deed.begun) >= limits.min_available, deed
    for move in seen.moves:
        if move.way == "failover":
            assert _ready(case, move.moment, move.at) >= limits.min_available, move


def _ready(case: Case, before: int, at: float) -> int:
    """How many peers had, when last asked, answered well, and not too long ago."""
    found = 0
    for url in case.service.guard.peers:
        known = [each for each in case.seen.told if each.name == url and each.moment < before and each.ended <= at]
        if known and known[-1].status == "ok" and known[-1].ended >= at - PEER_AGE:
            found += 1
    return found


def only_on_evidence(case: Case) -> None:
    """No disruptive step without `failing_for` seconds of unbroken failure of what runs now, or its death."""
    first_in: set[Any] = set()
    for event, deed in zip(case.actions, case.seen.deeds):
        first = event.get("incident") not in first_in
        first_in.add(event.get("incident"))
        reason = event["data"]["reason"]
        if reason == "gone":
            assert not deed.alive, "%s of what runs" % (deed,)
            continue
        role = {"liveness_failed": "liveness", "startup_failed": "startup"}[reason]
        runs = [(each, case.seen.run_of_failures(each.name, deed.moment)) for each in case.service.probes if each.role == role]
        assert any(run for _probe, run in runs), "%s at %g without a failed probe of what runs now" % (event["type"], deed.begun)
        if role == "startup":
            continue
        unbroken = [case.seen.unbroken(probe.name, deed.moment) for probe, run in runs if run]
        proven = [run for run in unbroken if run[0].started <= deed.begun - case.service.failing_for + SETTLED]
        assert proven, "%s at %g without %g s of unbroken failure" % (event["type"], deed.begun, case.service.failing_for)
        if first:
            assert any(case.seen.fails(probe, deed.moment) for probe, _run in runs), "below the threshold"


def climbs_in_order(case: Case) -> None:
    """As `in_the_ladders_order`."""
    in_the_ladders_order(case.service, case)


def in_the_ladders_order(service: model.Service, told: Any) -> None:
    """From one action to the next of one climb: the same rung's next attempt, or the first of a higher rung."""
    attempts = {rung.rung: rung.attempts for rung in service.ladder}
    rungs = [rung.rung for rung in service.ladder]
    at: Any = None
    for event in told.of("failure", *ACTIONS):
        data = event["data"]
        if event["type"] == "failure":
            at = at if "continues" in data else None
            continue
        rung, number = data["rung"], data["attempt"]
        assert 1 <= number <= attempts[rung]
        if data.get("retry"):
            assert number == 1 and rung == rungs[0]
            continue
        if at is not None and rung == at[0]:
            assert number == at[1] + 1, "%s %d after %s %d" % (rung, number, *at)
        else:
            assert number == 1 and (at is None or rungs.index(rung) > rungs.index(at[0]))
        at = rung, number


def one_page_an_incident(case: Case) -> None:
    """As `pages_once`."""
    pages_once(case)


def pages_once(told: Any) -> None:
    """A person is told once an incident, and told when it is over."""
    paged = [event["incident"] for event in told.of("page")]
    assert len(paged) == len(set(paged)), paged
    assert all(event["data"]["reason"] for event in told.of("page"))
    resolved = [event["incident"] for event in told.of("page_resolved")]
    closed = [event["incident"] for event in told.of("recover")]
    assert resolved == [incident for incident in closed if incident in paged]


def one_incident_at_a_time(case: Case) -> None:
    """An incident opens before it closes, and closes once."""
    opened = [event["incident"] for event in case.of("failure")]
    closed = [event["incident"] for event in case.of("recover")]
    assert len(closed) == len(set(closed)) and len(opened) == len(set(opened))
    assert closed == opened[: len(closed)] and len(opened) - len(closed) in (0, 1), (opened, closed)


def recovers_on_proof(case: Case) -> None:
    """From `recovery_time` on for `recovered_after` every liveness and readiness probe of one instance answered well, and nothing died."""
    for event in case.of("recover"):
        data = event["data"]
        began, ended = parse_time(data["recovery_time"]) - EPOCH, event["at"]
        assert data["recovery_duration_ms"] >= 0 and parse_time(data["failure_time"]) - EPOCH <= began + SETTLED
        assert ended >= began + case.service.recovered_after - 0.002, event
        bad = [answer for answer in case.seen.answers if answer.status == "bad" and began + 0.002 < answer.started < ended - 0.002]
        tolerated = {probe.name: probe.failure_threshold for probe in case.service.probes}
        assert not [answer for answer in bad if tolerated[answer.probe] == 1], bad
        assert any(answer.status == "ok" and began - 0.002 <= answer.started for answer in case.seen.answers)


def traffic_returns_on_proof(case: Case) -> None:
    """Traffic leaves in an incident only, and comes back only when one is closed."""
    open_incident = False
    for event in case.of("failure", "recover", "failover", "failback"):
        if event["type"] in ("failure", "recover"):
            open_incident = event["type"] == "failure"
        elif event["type"] == "failover":
            assert open_incident, event
        else:
            assert not open_incident, event
            last = case.of("recover")[-1] if case.of("recover") else None
            assert last is not None
    for move in case.seen.moves:
        if move.way == "failback":
            proven = [event for event in case.of("recover") if event["at"] <= move.at + 0.001]
            assert proven, move
            assert move.at >= parse_time(proven[-1]["data"]["recovery_time"]) - EPOCH + case.service.recovered_after - 0.002


def blocked_once_a_change(case: Case) -> None:
    """A guard's no is told when it changes, and not every cycle; a watchdog that was killed may say it once more."""
    for way in (None, "failover", "failback"):
        types = ("blocked", "recover", "failure", "failover", "failback", "watchdog_start", *ACTIONS)
        steps = [event for event in case.all_events if event["type"] in types]
        steps = [event for event in steps if event.get("service", case.service.name) == case.service.name]
        steps = [event for event in steps if event["type"] != "blocked" or event["data"].get("action") == way]
        for before, after in zip(steps, steps[1:]):
            if before["type"] == after["type"] == "blocked":
                assert before["data"]["reason"] != after["data"]["reason"], "blocked twice: %s" % (after,)


WAITING = (
    "hold",
    "lease_held",
    "dependency_down",
    "last_available",
    "storm",
    "not_started",
    "admin_stopped",
    "maintenance",
    "records_unwritable",
)
"""Guards that wait for something which is not a matter of time."""


def never_silent(case: Case) -> None:
    """Every incident ends recovered, paged or held; or waits for something that was told; or its promised seconds are not over."""
    opened = case.of("failure")
    closed = {event["incident"] for event in case.of("recover")}
    if not opened or opened[-1]["incident"] in closed or case.state in ("stopped", "not_ready"):
        return
    incident = opened[-1]["incident"]
    mine = [event for event in case.events if event.get("incident") == incident]
    if any(event["type"] == "page" for event in mine):
        return
    steps = [event for event in mine if event["type"] in ("failure", "blocked", *ACTIONS) and "action" not in event["data"]]
    if steps[-1]["type"] == "blocked" and steps[-1]["data"]["reason"] in WAITING:
        return
    since = max([mine[-1]["at"], *_news(case)])
    assert case.until <= since + patience(case), "nothing since %g, and nobody was told: %s" % (since, mine[-1])


def _news(case: Case) -> Sequence[float]:
    """When something else happened that may be waited for: a crash, a change of an answer, a new instance."""
    found = [crash + 1.0 for crash in case.seen.crashes]
    last: Dict[str, str] = {}
    for answer in case.seen.answers:
        if answer.status != last.get(answer.probe):
            found.append(answer.ended)
            last[answer.probe] = answer.status
    return found


def patience(case: Case) -> float:
    """The longest an incident may stand still without a word, by its contract's own numbers."""
    service = case.service
    windows = max([rung.timeout for rung in service.ladder], default=0.0)
    probes = max((probe.initial_delay + probe.period + probe.timeout) * (probe.failure_threshold + 1) for probe in service.probes)
    slow = 2.0 * (case.slowest + windows + probes)
    return service.retry_every + service.failing_for + service.recovered_after + slow + startup_budget(service) * 2 + _rest(service)


def _rest(service: model.Service) -> float:
    return service.guard.cooldown + service.guard.backoff_cap


LAWS: Dict[str, Callable[[Case], None]] = {
    law.__name__: law
    for law in (
        every_deed_is_told_before,
        one_at_a_time,
        never_under_a_hold,
        never_beside_another_healer,
        never_in_maintenance,
        seldom_without_records,
        never_beyond_the_mode,
        never_against_an_admin,
        within_the_budget,
        rests_between_actions,
        never_the_last_available,
        only_on_evidence,
        climbs_in_order,
        one_page_an_incident,
        one_incident_at_a_time,
        recovers_on_proof,
        traffic_returns_on_proof,
        blocked_once_a_change,
        never_silent,
    )
}


def the_timeline(events: List[Dict[str, Any]]) -> None:
    """`seq` counts without a gap, and `at` never runs backwards."""
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)


def the_storms(events: List[Dict[str, Any]], total: int) -> None:
    """A storm is one page for the host: at least five services, and half of all; it ends before the next begins."""
    begun: List[str] = []
    for event in events:
        if event["type"] == "page" and "service" not in event:
            assert len(event["data"]["services"]) >= 5 and len(event["data"]["services"]) * 2 >= total
            begun.append(event["incident"])
    assert len(begun) == len(set(begun))


__all__ = ["ACTIONS", "Case", "LAWS", "patience", "the_storms", "the_timeline"]

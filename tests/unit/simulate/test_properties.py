# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold whatever the contract says and whatever happens: random contracts, random scripts, an independent witness."""

from __future__ import annotations

import itertools
from typing import Any

import laws
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from story import WEB, Told, service, tell
from witness import Witness, watching

from selfheal._core import contract, model
from selfheal._core.times import parse_time

END = 420.0
ORDER = ("restart", "redeploy", "rollback")
EVENTS_OF_ACTIONS = ("start", *ORDER)


KINDS = [*["probe"] * 4, *["hold", "gone", "crash", "action"] * 2, "instance", "operator", "lease"]


def moments() -> Any:
    return st.integers(0, int(END * 2)).map(lambda half: half / 2)


@st.composite
def contracts(draw: Any) -> dict[str, Any]:
    """A contract of `web` with its times drawn close together, so that they meet."""
    probes = [
        {
            "role": role,
            "period": draw(st.sampled_from([2, 5, 10])),
            "timeout": draw(st.sampled_from([1, 4])),
            "failure_threshold": draw(st.integers(1, 4)),
            "success_threshold": draw(st.integers(1, 3)) if role != "startup" else 1,
            "initial_delay": draw(st.sampled_from([0, 0, 0, 3])),
            **draw(st.sampled_from([{"http": {"url": "http://127.0.0.1/"}}, {"exec": {"argv": ["/bin/check"]}}])),
        }
        for role in ("liveness", *draw(st.sampled_from([(), ("readiness",), ("startup",), ("readiness", "startup")])))
    ]
    ladder = [
        {"rung": rung, "attempts": draw(st.integers(1, 3)), "timeout": draw(st.sampled_from([1, 5, 10, 30]))}
        for rung in ORDER
        if draw(st.integers(0, 2))
    ]
    return {
        "probes": probes,
        "ladder": [*ladder, {"rung": "page"}],
        "mode": draw(st.sampled_from(["auto", "auto", "auto", "approve", "observe"])),
        "desired": draw(st.sampled_from(["by_admin", "by_admin", "always"])),
        "failing_for": draw(st.sampled_from([0, 1, 5, 20])),
        "recovered_after": draw(st.sampled_from([0, 1, 10])),
        "confirm_period": draw(st.sampled_from([0.5, 3])),
        "ladder_reset_after": draw(st.sampled_from([0, 20, 600])),
        "retry_every": draw(st.sampled_from([10, 60, 300])),
        "guard": {
            "actions": draw(st.sampled_from([1, 2, 10])),
            "per": draw(st.sampled_from([30, 120, 3600])),
            "cooldown": draw(st.sampled_from([0, 0, 7])),
            "backoff_cap": draw(st.sampled_from([0, 4, 300])),
        },
    }


@st.composite
def entries(draw: Any, probes: tuple[str, ...]) -> dict[str, Any]:
    at = draw(moments())
    kind = draw(st.sampled_from(KINDS))
    if kind == "probe":
        result = draw(st.sampled_from(["ok", "bad", "hang", "slow", "unknown"]))
        return {"at": at, "probe": "web/" + draw(st.sampled_from(probes)), "result": result}
    if kind == "action":
        return {
            "at": draw(st.sampled_from([0.0, at])),
            "action": "web/" + draw(st.sampled_from(ORDER)),
            "outcome": draw(st.sampled_from(["ok", "ok", "failed", "cannot"])),
            "takes": draw(st.sampled_from([0, 1, 2.5, 40])),
            "heals": draw(st.booleans()),
        }
    if kind == "operator":
        return {"at": at, "operator": draw(st.sampled_from(["unhold", "approve", "ack", "stop", "start"])), "service": "web"}
    if kind == "hold":
        length = draw(st.sampled_from([{}, {"for": 5}, {"for": 60}]))
        return {"at": at, "operator": "hold", "service": "web", **length}
    if kind == "lease":
        return {"at": at, "lease": "web", "for": draw(st.sampled_from([0, 30]))}
    return {"at": at, kind: "watchdog" if kind == "crash" else "web"}


@st.composite
def plays(draw: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    changes = draw(contracts())
    roles = tuple(probe["role"] for probe in changes["probes"])
    fault = {"at": draw(st.sampled_from([0.0, 0.5, 20.0])), "probe": "web/liveness", "result": draw(st.sampled_from(["ok", "bad", "hang"]))}
    long = [{"at": 0.0, "action": "web/restart", "takes": 40}] if draw(st.booleans()) else []
    return changes, [fault, *long, *draw(st.lists(entries(roles), max_size=14))]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example], derandomize=True)
@given(plays())
def test_whatever_happens(play: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    """C05 C18 C36 C45 proof before disruption, one action at a time, no action against a person, the budget, one page, every reason."""
    changes, script = play
    web = service(**changes)
    with watching() as seen:
        told = tell((web,), {"until": END, "script": script})
    note("\n".join(told.lines))
    actions = told.of(*EVENTS_OF_ACTIONS)
    _proof_before_disruption(web, actions, seen)
    _one_at_a_time(seen)
    _nobody_is_overruled(web, seen)
    _the_budget(web, actions)
    laws.in_the_ladders_order(web, told)
    _pages(told)
    _recoveries(told)
    _the_timeline(told)


def _proof_before_disruption(web: model.Service, actions: list[dict[str, Any]], seen: Witness) -> None:
    """The event of an action and the deed follow each other, one to one; what is disruptive has seen failure for long enough."""
    assert [event["at"] for event in actions] == [deed.begun for deed in seen.deeds]
    first_in: set[str] = set()
    for event, deed in zip(actions, seen.deeds):
        first = event["incident"] not in first_in
        first_in.add(event["incident"])
        if event["data"]["reason"] in ("gone", "startup_failed"):
            continue
        assert event["data"]["reason"] == "liveness_failed"
        runs = [(probe, seen.run_of_failures(probe.name, deed.moment)) for probe in web.probes if probe.role == "liveness"]
        unbroken = [seen.unbroken(probe.name, deed.moment) for probe, run in runs if run]
        proven = [run for run in unbroken if run[0].started <= deed.begun - web.failing_for]
        assert proven, "%s at %g without %g s of unbroken failure" % (event["type"], deed.begun, web.failing_for)
        if first:
            assert any(len(run) >= probe.failure_threshold for probe, run in runs), "below the threshold"


def _one_at_a_time(seen: Witness) -> None:
    for before, after in zip(seen.deeds, seen.deeds[1:]):
        assert before.ends <= after.begun, "%s began while %s ran" % (after, before)


def _nobody_is_overruled(web: model.Service, seen: Witness) -> None:
    assert [deed for deed in seen.deeds if deed.held] == []
    if web.mode == "observe":
        assert seen.deeds == []


def _the_budget(web: model.Service, actions: list[dict[str, Any]]) -> None:
    begun = [event["at"] for event in actions if not event["data"].get("retry")]
    for at in begun:
        assert len([other for other in begun if at - web.guard.per < other <= at]) <= web.guard.actions


def _pages(told: Told) -> None:
    laws.pages_once(told)
    for event in told.of("blocked", *EVENTS_OF_ACTIONS):
        assert event["data"]["reason"]


def _recoveries(told: Told) -> None:
    opened = [event["incident"] for event in told.of("failure")]
    closed = [event["incident"] for event in told.of("recover")]
    assert len(closed) == len(set(closed)), "closed twice"
    assert closed == opened[: len(closed)] and len(opened) - len(closed) in (0, 1), "more than one incident open at a time"
    for event in told.of("recover"):
        data = event["data"]
        assert data["recovery_duration_ms"] >= 0
        assert parse_time(data["recovery_time"]) >= parse_time(data["failure_time"])
        assert parse_time(event["timestamp"]) >= parse_time(data["recovery_time"])


def _the_timeline(told: Told) -> None:
    assert [event["seq"] for event in told.events] == list(range(1, len(told.events) + 1))
    assert [event["at"] for event in told.events] == sorted(event["at"] for event in told.events)
    steps = told.of("blocked", "recover", *EVENTS_OF_ACTIONS, "failure")
    for before, after in zip(steps, steps[1:]):
        if before["type"] == after["type"] == "blocked":
            assert before["data"]["reason"] != after["data"]["reason"], "blocked for the same reason twice: %s" % before["data"]["reason"]


def reckoned(web: model.Service, hang: bool, takes: dict[str, float]) -> list[tuple[str, float]]:
    """When each rung begins, and the page: one quick liveness probe, failing ever since its first good answer at 0.

    Reckoned by hand from the contract's numbers, not by the engine.
    """
    probe = web.probes[0]
    length = probe.timeout if hang else 0.0
    begin = first = probe.period
    for _failure in range(probe.failure_threshold - 1):
        end = begin + length
        grid = next(probe.period * n for n in itertools.count(1) if probe.period * n >= end and probe.period * n > begin)
        begin = min(grid, end + web.confirm_period)
    at = max(begin + length, first + web.failing_for)
    found: list[tuple[str, float]] = []
    window = took = 0.0
    for rung in web.ladder:
        for _attempt in range(rung.attempts if rung.rung != "page" else 0):
            if found:
                over = found[-1][1] + max(window, took)
                late = web.failing_for if took > window else 0.0  # what came after the window is judged for as long of its own
                shown = found[-1][1] + took + max(length, late)
                rested = found[-1][1] + took + max(web.guard.cooldown, min(web.guard.backoff_cap, 2.0 ** (len(found) - 1)))
                at = max(over, shown, rested)
            found.append((rung.rung, at))
            window, took = rung.timeout, takes[rung.rung]
    return [*found, ("page", found[-1][1] + max(window, took))]


@st.composite
def climbs(draw: Any) -> tuple[dict[str, Any], bool, dict[str, float]]:
    period = draw(st.sampled_from([1, 2, 5, 10, 60]))
    ladder = [
        {"rung": rung, "attempts": draw(st.integers(1, 4)), "timeout": draw(st.sampled_from([1, 5, 10, 60]))}
        for rung in ORDER
        if rung == "restart" or draw(st.booleans())
    ]
    changes = {
        "probes": [
            {
                "role": "liveness",
                "tcp": {"host": "127.0.0.1", "port": 1},
                "period": period,
                "timeout": draw(st.sampled_from([0.5, 1, 4, 7])),
                "failure_threshold": draw(st.integers(1, 5)),
            }
        ],
        "failing_for": draw(st.sampled_from([0, 1, 5, 12, 40])),
        "confirm_period": draw(st.sampled_from([0.5, 1, 3])),
        "ladder": ladder,
        "guard": {"actions": 100, "cooldown": draw(st.sampled_from([0, 3, 20])), "backoff_cap": draw(st.sampled_from([1, 8, 300]))},
    }
    return changes, draw(st.booleans()), {rung: draw(st.sampled_from([0.5, 1, 2.5, 5])) for rung in ORDER}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(climbs())
def test_a_resource_that_never_heals_is_paged_at_the_reckoned_second(climb: tuple[dict[str, Any], bool, dict[str, float]]) -> None:
    """C31 anybody can compute the worst case from the contract, and it is kept to the millisecond."""
    changes, hang, takes = climb
    web = contract.parse_services([{**WEB, **changes}])[0]
    expected = reckoned(web, hang, takes)
    script: list[dict[str, Any]] = [{"at": 0.001, "probe": "web/liveness", "result": "hang" if hang else "bad"}]
    script += [{"at": 0, "action": "web/" + rung, "takes": seconds} for rung, seconds in takes.items()]
    told = tell((web,), {"until": expected[-1][1] + 1, "script": script})
    assert [(event["type"], event["at"]) for event in told.of(*ORDER, "page")] == [(rung, round(at, 3)) for rung, at in expected]

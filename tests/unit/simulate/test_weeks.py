# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random weeks of faults, operators, outages and crashes: the laws hold, and what is none of a service's business changes nothing for it.

`SELFHEAL_WEEKS=20` plays twenty times as many, of other seeds with `SELFHEAL_WEEKS_FROM=1000000`; a failure names its seed:
``weeks.week(SEED, weeks.FEW)`` is the same week again.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Tuple

import pytest
import weeks
from laws import LAWS, Case, the_storms, the_timeline
from story import LIVENESS, WEB
from weeks import ALONE, FEW, STORMY, WHOLE, Kind, Week
from witness import Witness, watching

from selfheal._core import contract, model
from selfheal._core.scenario import parse_scenario
from selfheal._engine.simulation import simulate

TIMES = int(os.environ.get("SELFHEAL_WEEKS", "1"))
FIRST = int(os.environ.get("SELFHEAL_WEEKS_FROM", "0"))
BLOCK = 50
"""Weeks a test."""


def play(week: Week) -> Tuple[Tuple[model.Service, ...], Dict[str, Any], Witness]:
    services = contract.parse_services(week.contracts)
    scenario = parse_scenario(week.scenario, services)
    with watching() as seen:
        return services, simulate(services, scenario), seen


def check_laws(week: Week, seed: int) -> None:
    services, result, seen = play(week)
    events = result["events"]
    broken: List[str] = []
    for name, law, given in [("the timeline", the_timeline, (events,)), ("the storms", the_storms, (events, len(services)))]:
        broken += _broken(name, law, *given)
    for service in services:
        own = [event for event in events if event.get("service") == service.name]
        case = Case(service, own, events, seen.of(service.name), week.scenario["until"], result["states"][service.name])
        for name, law in LAWS.items():
            broken += _broken("%s: %s" % (service.name, name), law, case)
    assert broken == [], "seed %d" % seed


def _broken(name: str, law: Any, *given: Any) -> List[str]:
    try:
        law(*given)
    except AssertionError as error:
        return ["%s: %s" % (name, error)]
    return []


@pytest.mark.parametrize("first", range(0, 200 * TIMES, BLOCK))
@pytest.mark.parametrize("kind", [ALONE, FEW, STORMY], ids=["alone", "few", "stormy"])
def test_the_laws_hold_whatever_happens(kind: Kind, first: int) -> None:
    """C05 C18 C35 C36 C37 C45 C53 random faults, operators and crashes: one action at a time, proof, holds, budgets, peers, one page."""
    for seed in range(FIRST + first, FIRST + first + BLOCK):
        check_laws(weeks.week(seed, kind), seed)


@pytest.mark.parametrize("seed", range(TIMES))
def test_the_laws_hold_over_a_whole_week(seed: int) -> None:
    """C03 C19 seven days of up to six services, with hundreds of faults: nothing wears out, and nothing is forgotten."""
    check_laws(weeks.week(FIRST + seed, WHOLE), FIRST + seed)


# -- what is none of a service's business changes nothing for it


def _essence(events: List[Dict[str, Any]], service: str, shift: float = 0.0) -> List[Tuple[Any, ...]]:
    """What is told of one service, without what counts all events or names a moment."""
    own = [event for event in events if event.get("service") == service]
    kept = ("reason", "rung", "attempt", "window", "retry", "action", "detail", "recovery_duration_ms", "detected_after_ms", "previous")
    return [(round(e["at"] - shift, 3), e["type"], e["source"], *((k, e["data"][k]) for k in kept if k in e["data"])) for e in own]


@pytest.mark.parametrize("seed", range(20 * TIMES))
def test_the_same_week_is_the_same_again(seed: int) -> None:
    """A simulation is a function of its contracts and its script."""
    week = weeks.week(FIRST + seed, FEW)
    assert play(week)[1] == play(week)[1]


@pytest.mark.parametrize("seed", range(20 * TIMES))
def test_what_comes_later_changes_nothing_before(seed: int) -> None:
    """A simulation that ends earlier tells the beginning of the same story."""
    week = weeks.week(FIRST + seed, FEW)
    early = Week(week.contracts, {**week.scenario, "until": 201.5})
    whole = [event for event in play(week)[1]["events"] if event["at"] <= 201.5]
    assert play(early)[1]["events"] == whole


@pytest.mark.parametrize("seed", range(20 * TIMES))
def test_a_healthy_neighbour_changes_nothing(seed: int) -> None:
    """C13 a service that is well, however slowly it answers, leaves no trace in what is done to the others."""
    week = weeks.week(FIRST + seed, FEW)
    neighbour = {"name": "neighbour", "resource": {"unit": "neighbour.service"}, "probes": [{**LIVENESS, "period": 7, "timeout": 3}]}
    slow = {"at": 0, "probe": "neighbour/liveness", "result": "slow"}
    more = Week([neighbour, *week.contracts], {**week.scenario, "script": [slow, *week.scenario["script"]]})
    alone, together = play(week)[1]["events"], play(more)[1]["events"]
    for each in week.contracts:
        assert _essence(alone, each["name"]) == _essence(together, each["name"]), "seed %d" % seed


@pytest.mark.parametrize("seed", range(20 * TIMES))
def test_the_order_of_the_contracts_changes_nothing(seed: int) -> None:
    """Services are healed alike, whoever stands first in the file."""
    week = weeks.week(FIRST + seed, FEW)
    turned = Week(week.contracts[::-1], week.scenario)
    one, other = play(week)[1]["events"], play(turned)[1]["events"]
    for each in week.contracts:
        assert _essence(one, each["name"]) == _essence(other, each["name"]), "seed %d" % seed


@pytest.mark.parametrize("seed", range(20 * TIMES))
def test_the_same_an_hour_later_is_the_same(seed: int) -> None:
    """Nothing depends on how long the watchdog has run before the first fault."""
    week = weeks.week(FIRST + seed, FEW)
    later = [dict(entry, at=entry["at"] + 100) for entry in week.scenario["script"]]
    latest = [dict(entry, at=entry["at"] + 3700) for entry in week.scenario["script"]]
    one = play(Week(week.contracts, {"until": week.scenario["until"] + 100, "script": later}))[1]["events"]
    other = play(Week(week.contracts, {"until": week.scenario["until"] + 3700, "script": latest}))[1]["events"]
    for each in week.contracts:
        assert _essence(one, each["name"], 100) == _essence(other, each["name"], 3700), "seed %d" % seed


PROMISED = [
    ("restart", 18.5),
    ("restart", 28.5),
    ("restart", 38.5),
    ("redeploy", 48.5),
    ("redeploy", 168.5),
    ("rollback", 288.5),
    ("page", 348.5),
]


@pytest.mark.parametrize("seed", range(20 * TIMES))
def test_the_promised_seconds_hold_among_whatever_happens_to_others(seed: int) -> None:
    """C31 a hung service is restarted at 18.5 s and a person told at 348.5 s, whatever its neighbours go through."""
    week = weeks.week(FIRST + seed, Kind(360.0, 4, 20, (5, 10, 20), 0.5))
    # What concerns the whole host (a person, packages, a full disk, the watchdog's death) may hold back every service.
    hosts = {"crash", "operator", "maintenance", "records"}
    script = [entry for entry in week.scenario["script"] if not hosts & entry.keys()]
    hung = {"at": 0.5, "probe": "web/liveness", "result": "hang"}
    told = play(Week([*week.contracts, WEB], {"until": 360, "script": [*script, hung]}))[1]["events"]
    mine = [(e["type"], e["at"]) for e in told if e.get("service") == "web" and e["type"] in ("restart", "redeploy", "rollback", "page")]
    assert mine == PROMISED, "seed %d" % seed

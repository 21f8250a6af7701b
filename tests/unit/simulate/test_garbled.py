# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A state that was garbled but is still JSON: the watchdog that finds it goes on with it or begins afresh and says so; it never breaks."""

from __future__ import annotations

import copy
import json
import random
from typing import Any, Iterator, Tuple

import pytest
from story import WEB

from selfheal._core import contract
from selfheal._core.scenario import parse_scenario
from selfheal._engine.simulation import Simulation

CONTRACT = {
    **WEB,
    "fallback": {"agent_check": {"port": 9878}},
    "dependencies": [{"name": "payments", "probe": {"http": {"url": "https://pay.example/"}}, "failure_threshold": 1}],
}
SCRIPT = [
    {"at": 40, "dependency": "payments", "result": "bad"},
    {"at": 75, "dependency": "payments", "result": "ok"},
    {"at": 100, "probe": "web/liveness", "result": "bad"},
    {"at": 140, "crash": "watchdog"},
    {"at": 170, "probe": "web/liveness", "result": "ok"},
]
VALUES: list[Any] = [None, True, -1, 0, 1e308, float("nan"), float("inf"), "", "x", "\ud800", [], [1, "x"], {}, {"x": 1}, [[[[]]]]]
LOST = object()


def _at_the_crash() -> dict[str, Any]:
    """The state file as a watchdog leaves it that dies in the middle of an incident."""
    simulation = _simulation()
    simulation.scenario = type(simulation.scenario)(139.0, simulation.scenario.entries)
    simulation.run()
    found: dict[str, Any] = json.loads(simulation.records._states["web"])
    return found


def _simulation() -> Simulation:
    services = contract.parse_services([CONTRACT])
    return Simulation(services, parse_scenario({"until": 400, "script": SCRIPT}, services))


def places(value: Any, path: Tuple[Any, ...] = ()) -> Iterator[Tuple[Any, ...]]:
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def put(document: Any, path: Tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    if not path:
        return value
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if value is LOST:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return changed


SOUND = _at_the_crash()


def come_back_with(state: Any) -> list[dict[str, Any]]:
    """What is told from the crash on, when that is what the successor finds."""
    simulation = _simulation()
    back = simulation._come_back

    def come_back() -> None:
        if simulation.world.host.now >= 140:
            simulation.records._states["web"] = json.dumps(state)
        back()

    simulation._come_back = come_back  # type: ignore[method-assign]
    return [event for event in simulation.run()["events"] if event["at"] >= 140]


def test_a_sound_state_is_taken_up() -> None:
    """The comparison: the same incident goes on, and nothing is reset."""
    events = come_back_with(SOUND)
    assert "state_reset" not in [event["type"] for event in events]
    assert "failure" not in [event["type"] for event in events] and "recover" in [event["type"] for event in events]


@pytest.mark.parametrize("seed", range(8))
def test_any_value_at_any_place_is_taken_up_or_refused(seed: int) -> None:
    """C46 every value of the file replaced by every kind of wrong one, or lost: healed or told, at most one reset, never an exception."""
    dice = random.Random(seed)
    changes = [(path, value) for path in places(SOUND) if path for value in (*VALUES, LOST)]
    for path, value in dice.sample(changes, min(len(changes), 60)):
        told = come_back_with(put(SOUND, path, value))
        types = [event["type"] for event in told]
        assert types.count("state_reset") <= 1, path
        # The fault ends at 170: whatever the file said, health is seen and an incident that is open is closed, or goes on by the rules.
        assert len([each for each in types if each == "recover"]) <= 2, path
        refused = "state_reset" in types
        assert not refused or told[[event["type"] for event in told].index("state_reset")]["data"]["reason"] == "unreadable"


@pytest.mark.parametrize("state", [[], None, 5, "x", {"memory": []}, {"memory": None}, {"memory": {"incident": []}}, {"healths": 5}])
def test_a_state_of_another_shape_is_a_fresh_start(state: Any) -> None:
    """What is no state at all is refused once, told once, and healing goes on from the beginning."""
    told = come_back_with(state if isinstance(state, dict) else {"memory": state})
    assert [event["type"] for event in told].count("state_reset") == 1
    assert "failure" in [event["type"] for event in told], "the fault that goes on is noticed anew"

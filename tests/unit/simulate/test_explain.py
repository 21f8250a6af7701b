# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `selfheal explain` promises is what happens, to the second."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from story import LIVENESS, READINESS, STARTUP, play, service, tell
from test_properties import ORDER, climbs, contracts, reckoned

from selfheal._engine.explain import worst_case

WITHOUT_RELEASE = {"release": None}
PROMISED = [
    (
        "with a release",
        {},
        [
            ("restart", 1, 18.5),
            ("restart", 2, 28.5),
            ("restart", 3, 38.5),
            ("redeploy", 1, 48.5),
            ("redeploy", 2, 168.5),
            ("rollback", 1, 288.5),
            ("page", 1, 348.5),
        ],
    ),
    ("without one", WITHOUT_RELEASE, [("restart", 1, 18.5), ("restart", 2, 28.5), ("restart", 3, 38.5), ("page", 1, 48.5)]),
    ("nothing but a person", {"ladder": [{"rung": "page"}]}, [("page", 1, 18.5)]),
    ("observe: a person when the first rung would run", {"mode": "observe"}, [("page", 1, 18.5)]),
    ("approve: the same", {"mode": "approve"}, [("page", 1, 18.5)]),
    ("only readiness: nothing is ever done", {"probes": [READINESS]}, []),
    ("a startup probe that passes changes nothing", {"probes": [LIVENESS, STARTUP], **WITHOUT_RELEASE}, None),
    ("short windows add up", {"ladder": [{"rung": "restart", "attempts": 2, "timeout": 5}, {"rung": "page"}]}, [
        ("restart", 1, 18.5),
        ("restart", 2, 23.5),
        ("page", 1, 28.5),
    ]),
    ("failing_for delays the first rung alone", {"failing_for": 30, **WITHOUT_RELEASE}, [
        ("restart", 1, 40),
        ("restart", 2, 50),
        ("restart", 3, 60),
        ("page", 1, 70),
    ]),
    ("a timeout of 2 s and failing_for 0", {"probes": [{**LIVENESS, "timeout": 2}], "failing_for": 0, **WITHOUT_RELEASE}, [
        ("restart", 1, 14.5),
        ("restart", 2, 24.5),
        ("restart", 3, 34.5),
        ("page", 1, 44.5),
    ]),
]  # fmt: skip


@pytest.mark.parametrize("changes,promised", [row[1:] for row in PROMISED], ids=[row[0] for row in PROMISED])
def test_the_promise(changes: dict[str, Any], promised: list[tuple[str, int, float]] | None) -> None:
    """C31 the worst case from the fault to each rung and to a person; the defaults are those of the contract reference."""
    if promised is None:
        promised = [("restart", 1, 18.5), ("restart", 2, 28.5), ("restart", 3, 38.5), ("page", 1, 48.5)]
    found = worst_case(service(**changes))
    assert [(row["rung"], row["attempt"], row["at"]) for row in found] == promised


@settings(max_examples=40, deadline=None, derandomize=True)
@given(climbs())
def test_the_promise_can_be_reckoned_by_hand(climb: tuple[dict[str, Any], bool, dict[str, float]]) -> None:
    """C31 no knowledge of the engine is needed to arrive at the same numbers."""
    web = service(**climb[0])
    expected = reckoned(web, True, dict.fromkeys(ORDER, 1.0))
    assert [(row["rung"], row["at"]) for row in worst_case(web)] == [(rung, round(at, 3)) for rung, at in expected]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(contracts())
def test_the_promise_is_kept(changes: dict[str, Any]) -> None:
    """Whatever the contract, a service that hangs just after its first answers and never heals is treated when explain says."""
    web = service(**changes)
    promised = [(row["rung"], row["at"]) for row in worst_case(web)]
    until = promised[-1][1] if promised else 500
    script = [{"at": 1e-6, "probe": "web/" + probe.name, "result": "hang"} for probe in web.probes if probe.role != "startup"]
    told = tell((web,), {"until": until, "script": script})
    assert [(event["type"], event["at"]) for event in told.of("start", *ORDER, "page")] == promised


def test_the_fault_right_after_the_probes_is_the_worst() -> None:
    """C31 no other moment of the fault takes longer until a person is told."""
    worst = worst_case(service())[-1]["at"]
    for quarter in range(1, 81):
        fault = quarter / 4
        assert play("%g web/liveness hang" % fault, 400).times("page")[0] - fault <= worst

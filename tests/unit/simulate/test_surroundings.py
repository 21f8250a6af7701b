# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What surrounds a service: where its traffic goes meanwhile, what it depends on, and a storm over the whole host."""

from __future__ import annotations

import pytest
from story import LIVENESS, READINESS, Story, check, play

FALLBACK = {"fallback": {"agent_check": {"port": 9878}}}
BOTH = {"probes": [LIVENESS, READINESS]}
PAYMENTS = {"dependencies": [{"name": "payments", "probe": {"http": {"url": "https://pay.example/ready"}}}]}
MANY = [{"name": "s%d" % n, "resource": {"unit": "s%d.service" % n}, "probes": [LIVENESS]} for n in range(6)]

STORIES = [
    Story(
        "traffic moves at the threshold, before failing_for, and comes back when recovery is proven",
        """
        100   web/liveness bad
        120   web/liveness ok
        """,
        """
        100.5 failure liveness_failed since 100
        100.5 failover liveness_failed
        105   restart 1 liveness_failed
        115   restart 2 liveness_failed after not_healed/window_over
        130   recover at 120 took 20
        130   failback healed
        """,
        contract=FALLBACK,
        state="healthy",
    ),
    Story(
        "readiness moves traffic and nothing else",
        """
        100   web/readiness bad
        400   web/readiness ok
        """,
        """
        100.5 failure readiness_failed since 100
        100.5 failover readiness_failed
        410   recover at 400 took 300
        410   failback healed
        """,
        contract={**FALLBACK, **BOTH},
        state="healthy",
    ),
    Story(
        "C46 a watchdog that dies meanwhile moves traffic neither twice nor not back",
        """
        100   web/liveness bad
        103   crash
        120   web/liveness ok
        """,
        """
        100.5 failure liveness_failed since 100
        100.5 failover liveness_failed
        104   watchdog_start
        105   restart 1 liveness_failed
        115   restart 2 liveness_failed after not_healed/window_over
        130   recover at 120 took 20
        130   failback healed
        """,
        contract=FALLBACK,
        state="healthy",
    ),
    Story(
        "an exhausted ladder keeps the fallback",
        "100 web/liveness bad",
        """
        100.5 failure liveness_failed since 100
        100.5 failover liveness_failed
        105   restart 1 liveness_failed
        115   page ladder_exhausted after not_healed/window_over
        """,
        contract={**FALLBACK, "ladder": [{"rung": "restart", "attempts": 1}]},
        until=400,
    ),
    Story(
        "restarts wait while a dependency is down; the breaker closes after several successes, not after one",
        """
        50    dependency payments bad
        100   web/liveness bad
        140   dependency payments ok
        """,
        """
        90    breaker_trip
        100.5 failure liveness_failed since 100
        105   blocked dependency_down
        150   breaker_half_open
        152   breaker_reset
        152   restart 1 liveness_failed
        """,
        contract=PAYMENTS,
        until=160,
    ),
    Story(
        "a dependency that fails when asked once before the first disruptive step is enough to wait",
        """
        100   dependency payments bad
        100   web/liveness bad
        """,
        """
        100.5 failure liveness_failed since 100
        105   blocked dependency_down
        """,
        contract=PAYMENTS,
        until=115,
    ),
    Story(
        "a dead process is started all the same",
        """
        50    dependency payments bad
        100   gone web
        """,
        """
        90    breaker_trip
        100   failure gone since 100
        100   start 1 gone
        111   recover at 101 took 1
        """,
        contract=PAYMENTS,
        until=120,
        state="healthy",
    ),
]


@pytest.mark.parametrize("story", STORIES, ids=[story.holds for story in STORIES])
def test_story(story: Story) -> None:
    """What happens on the left is told on the right, to the second and in this order, with nothing besides."""
    check(story)


@pytest.mark.parametrize("mode", ["auto", "observe"])
def test_no_traffic_moves_against_a_person(mode: str) -> None:
    """Under a hold, and in observe, traffic stays where it is; lifted, it moves at once."""
    held = "50 hold web\n" if mode == "auto" else ""
    assert play(held + "100 web/liveness bad", 300, mode=mode, **FALLBACK).of("failover", "failback") == []
    lifted = play("50 hold web\n100 web/liveness bad\n130 unhold web", 300, **FALLBACK)
    assert lifted.times("failover") == [130]


def test_a_storm_pages_once_and_restarts_nothing_but_starts_the_dead() -> None:
    """C37 five of seven failing within a minute have one cause that is none of theirs."""
    script = "\n".join("100 s%d/liveness bad" % n for n in range(6)) + "\n110 gone s1"
    told = play(script, 200, *MANY)
    pages = told.of("page")
    assert [page["incident"][:6] for page in pages] == ["storm-"]
    assert "service" not in pages[0]
    assert told.of("restart") == []
    assert [(event["at"], event["service"]) for event in told.of("start")] == [(110, "s1")]
    assert {event["data"]["reason"] for event in told.of("blocked")} == {"storm"}


def test_four_failing_services_are_no_storm() -> None:
    """C38 C39 below the limit every one is healed as if it were alone."""
    told = play("\n".join("100 s%d/liveness bad" % n for n in range(4)), 110, *MANY)
    assert told.times("restart") == [105] * 4
    assert told.of("page", "blocked") == []


def test_a_storm_that_is_over_lets_go() -> None:
    """When most have recovered, the rest is healed."""
    script = "\n".join("100 s%d/liveness bad" % n for n in range(6)) + "\n" + "\n".join("120 s%d/liveness ok" % n for n in range(5))
    told = play(script, 200, *MANY)
    assert told.of("restart") and {event["service"] for event in told.of("restart")} == {"s5"}
    assert told.of("restart")[0]["at"] >= 130

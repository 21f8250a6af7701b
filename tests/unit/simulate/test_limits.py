# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limits that keep healing from doing harm: budget, backoff, cooldown, patience with slow starters, one page."""

from __future__ import annotations

import pytest
from story import LIVENESS, READINESS, STARTUP, Story, check, play

NEVER_ACTED = ("start", "restart", "redeploy", "rollback")

LIMITS = [
    Story(
        "C05 C25 the budget spent: one page, and on when an action is old enough",
        "100 web/liveness bad",
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   restart 2 liveness_failed after not_healed/window_over
        125   blocked budget_spent
        125   page budget_spent after not_healed/window_over
        705   restart 3 liveness_failed after not_healed/window_over
        """,
        contract={"guard": {"actions": 2, "per": 600}, "ladder": [{"rung": "restart", "attempts": 5}]},
        until=714,
    ),
    Story(
        "a cooldown is kept after the end of an action",
        """
        0     does web/restart ok takes 2
        100   web/liveness bad
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   blocked cooldown
        137   restart 2 liveness_failed after not_healed/window_over
        """,
        contract={"guard": {"cooldown": 30}},
        until=140,
    ),
    Story(
        "C22 C30 backoff doubles from one second up to its cap",
        """
        0     does web/restart failed takes 1
        100   web/liveness bad
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        106   blocked backoff
        107   restart 2 liveness_failed after failed/action_failed
        108   blocked backoff
        110   restart 3 liveness_failed after failed/action_failed
        111   blocked backoff
        115   restart 4 liveness_failed after failed/action_failed
        116   blocked backoff
        120   restart 5 liveness_failed after failed/action_failed
        121   blocked backoff
        125   restart 6 liveness_failed after failed/action_failed
        126   page ladder_exhausted after failed/action_failed
        """,
        contract={"guard": {"backoff_cap": 4}, "ladder": [{"rung": "restart", "attempts": 6}]},
        until=130,
    ),
    Story(
        "C32 C02 a slow starter is not cut: its startup probe has budget left",
        """
        0     web/startup bad
        0     web/liveness bad
        45    web/startup ok
        45    web/liveness ok
        """,
        "",
        contract={"probes": [LIVENESS, STARTUP]},
        state="healthy",
    ),
    Story(
        "C33 a slow start after a restart is not cut either, however short the rung's window",
        """
        0     does web/restart ok takes 1
        100   web/liveness bad
        100.5 web/startup bad
        150   web/startup ok
        150   web/liveness ok
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        160   recover at 150 took 50
        """,
        contract={"probes": [LIVENESS, STARTUP]},
        state="healthy",
    ),
    Story(
        "startup given up is acted upon without a further failing_for, and the next start gets its whole budget again",
        """
        0     web/startup bad
        0     does web/restart ok takes 1
        """,
        """
        50    failure startup_failed since 0
        50    restart 1 startup_failed
        """,
        contract={"probes": [LIVENESS, STARTUP]},
        until=100,
    ),
    Story(
        "C32 the longest start ever seen, twice, is the window from then on",
        """
        0     does web/restart ok takes 1
        100   web/liveness bad
        109   web/liveness ok
        900   web/liveness bad
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        119   recover at 109 took 9
        900.5 failure liveness_failed since 900
        905   restart 1 liveness_failed
        913   restart 2 liveness_failed after not_healed/window_over
        """,
        contract={"ladder": [{"rung": "restart", "attempts": 2, "timeout": 5}], "probes": [LIVENESS]},
        until=920,
    ),
    Story(
        "C45 one page per incident, whatever the reasons",
        """
        100   web/liveness bad
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   blocked budget_spent
        115   page budget_spent after not_healed/window_over
        165   restart 2 liveness_failed after not_healed/window_over
        """,
        contract={"guard": {"actions": 1, "per": 60}, "ladder": [{"rung": "restart", "attempts": 2}]},
        until=460,
    ),
]


@pytest.mark.parametrize("story", LIMITS, ids=[story.holds for story in LIMITS])
def test_story(story: Story) -> None:
    """What happens on the left is told on the right, to the second and in this order, with nothing besides."""
    check(story)


def flap(times: int, every: float = 10.0, begin: float = 100.0) -> str:
    """Readiness goes and comes: each time two changes of state."""
    return "\n".join("%g web/readiness bad\n%g web/readiness ok" % (begin + n * every, begin + n * every + every / 2) for n in range(times))


def test_flapping_pages_once() -> None:
    """Six changes of state proven by observations within 300 s tell a person, once."""
    told = play(flap(20), 600, probes=[LIVENESS, READINESS])
    pages = told.of("page")
    assert [page["data"]["reason"] for page in pages] == ["flapping"]
    assert told.of(*NEVER_ACTED) == []


def test_five_changes_are_no_flapping() -> None:
    """C18 two and a half swings stay below the limit, and so does a swing every 200 s."""
    assert play(flap(2) + "\n120 web/readiness bad", 600, probes=[LIVENESS, READINESS]).of("page") == []
    assert play(flap(10, every=200), 2500, probes=[LIVENESS, READINESS]).of("page") == []


def test_a_climb_with_restarts_is_no_flapping() -> None:
    """The reset of health at a restart is no change of state: a full climb pages for the ladder and nothing else."""
    told = play("100 web/liveness bad", 2000)
    assert [page["data"]["reason"] for page in told.of("page")] == ["ladder_exhausted"]


@pytest.mark.parametrize("mode", ["observe", "auto", "approve"])
def test_a_page_under_a_hold_is_marked(mode: str) -> None:
    """A hold stops rungs, not the truth: the flapping page comes and says that hands are off."""
    told = play("0 hold web\n" + flap(5), 600, probes=[LIVENESS, READINESS], mode=mode)
    assert [line for line in told.lines if " page " in line and line.endswith("flapping held")]


def test_a_full_climb_takes_six_of_ten_actions() -> None:
    """One incident to its page leaves four actions; the retries after it are outside the budget."""
    told = play("100 web/liveness bad", 4000)
    assert len([event for event in told.of(*NEVER_ACTED) if not event["data"].get("retry")]) == 6
    assert told.of("blocked") == []


def test_only_the_failing_service_is_touched() -> None:
    """C13 two services side by side: a hung one neither delays nor disturbs the other."""
    other = {"name": "other", "resource": {"unit": "other.service"}, "probes": [LIVENESS]}
    told = play("0.5 web/liveness hang\n100 other/liveness bad", 111, other)
    assert {event["service"] for event in told.of("failure")} == {"web", "other"}
    assert [event["at"] for event in told.of("restart") if event["service"] == "other"] == [105]
    assert told.probes["other/liveness"] >= 11

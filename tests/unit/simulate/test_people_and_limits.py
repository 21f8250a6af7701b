# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people say and set: holds, approvals, modes, stops; and the limits that keep healing from doing harm."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from story import LIVENESS, READINESS, STARTUP, lines, play

NEVER_ACTED: tuple[str, ...] = ("start", "restart", "redeploy", "rollback")
RESTART_ONCE = [{"rung": "restart", "attempts": 1}]


class Story(NamedTuple):
    """`happens` and `told` are in the language of story.py; `told` is the whole timeline."""

    holds: str
    happens: str
    told: str
    until: float = 1000
    contract: dict[str, Any] = {}  # noqa: RUF012 - never changed
    state: str = "unhealthy"


PEOPLE = [
    Story(
        "a hold forbids every rung, says so once, and the climb begins when it is lifted",
        """
        50    hold web
        100   web/liveness bad
        200   unhold web
        """,
        """
        50    hold
        100.5 failure liveness_failed since 100
        105   blocked hold
        200   unhold
        200   restart 1 liveness_failed
        210   restart 2 liveness_failed after not_healed/window_over
        """,
        until=215,
    ),
    Story(
        "a hold on all binds every service",
        """
        50    hold
        100   gone web
        150   unhold
        """,
        """
        50    hold
        100   failure gone since 100
        100   blocked hold
        150   unhold
        150   start 1 gone
        161   recover at 151 took 51
        """,
        state="healthy",
    ),
    Story(
        "a hold with an expiry ends by itself, at its second",
        """
        50    hold web for 70
        100   web/liveness bad
        """,
        """
        50    hold
        100.5 failure liveness_failed since 100
        105   blocked hold
        120   restart 1 liveness_failed
        """,
        until=125,
    ),
    Story(
        "a hold in the middle of the climb lets the window run and then waits, and consumes no attempt",
        """
        100   web/liveness bad
        110   hold web
        300   unhold web
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        110   hold
        115   blocked hold
        300   unhold
        300   restart 2 liveness_failed after not_healed/window_over
        310   restart 3 liveness_failed after not_healed/window_over
        """,
        until=315,
    ),
    Story(
        "a hold said while the watchdog was away is seen on its return",
        """
        100   web/liveness bad
        103   crash
        103.5 hold web
        """,
        """
        100.5 failure liveness_failed since 100
        104   watchdog_start
        104   hold
        105   blocked hold
        """,
        until=200,
    ),
    Story(
        "approve: the page comes when the first rung would run, and one approval is one action",
        """
        100   web/liveness bad
        130   approve web
        200   approve web
        """,
        """
        100.5 failure liveness_failed since 100
        105   blocked awaiting_approval
        105   page awaiting_approval
        130   approve
        130   restart 1 liveness_failed
        140   blocked awaiting_approval
        200   approve
        200   restart 2 liveness_failed after not_healed/window_over
        210   blocked awaiting_approval
        """,
        contract={"mode": "approve"},
    ),
    Story(
        "an approval expires after an hour",
        """
        0     approve web
        3700  web/liveness bad
        """,
        """
        0      approve
        3700.5 failure liveness_failed since 3700
        3705   blocked awaiting_approval
        3705   page awaiting_approval
        """,
        until=4000,
        contract={"mode": "approve"},
    ),
    Story(
        "C12 observe: pages at once when the first rung would run, and never acts",
        """
        100   web/liveness bad
        900   web/liveness ok
        """,
        """
        100.5 failure liveness_failed since 100
        105   blocked observe
        105   page observe
        910   recover at 900 took 800
        910   page_resolved observe
        """,
        contract={"mode": "observe"},
        state="healthy",
    ),
    Story(
        "observe: a death is paged at once and nothing is started",
        "100 gone web",
        """
        100   failure gone since 100
        100   blocked observe
        100   page observe
        """,
        contract={"mode": "observe"},
    ),
    Story(
        "C01 what an admin stopped stays stopped",
        "100 stop web",
        "",
        until=3000,
        state="stopped",
    ),
    Story(
        "C01 a start by an admin is no incident either, and its health begins afresh",
        """
        100   stop web
        200   start web
        """,
        "",
        until=3000,
        state="healthy",
    ),
    Story(
        "C01 an admin who stops it during a restart has the last word",
        """
        100   web/liveness bad
        105.5 stop web
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   blocked admin_stopped
        """,
        state="stopped",
    ),
    Story(
        "C01 an admin who stops it between two attempts has the last word",
        """
        100   web/liveness bad
        103   stop web
        """,
        """
        100.5 failure liveness_failed since 100
        103   blocked admin_stopped
        """,
        state="stopped",
    ),
    Story(
        "desired always: a stop is undone at once",
        "100 stop web",
        """
        100   failure gone since 100
        100   restart 1 gone
        111   recover at 101 took 1
        """,
        contract={"desired": "always"},
        state="healthy",
    ),
    Story(
        "somebody else acts: wait, and go on when the lease is free",
        """
        90    lease web for 40
        100   web/liveness bad
        """,
        """
        100.5 failure liveness_failed since 100
        105   blocked lease_held
        130   restart 1 liveness_failed
        """,
        until=135,
    ),
    Story(
        "C37 health from before a lease is not taken up again when somebody speaks later",
        """
        90    lease web for 40
        100   web/liveness bad
        120   hold web
        200   web/liveness ok
        400   unhold web
        """,
        """
        100.5 failure liveness_failed since 100
        105   blocked lease_held
        120   hold
        120   blocked hold
        210   recover at 200 took 100
        400   unhold
        """,
        state="healthy",
    ),
    Story(
        "an operator's word does not disturb a probe under way",
        """
        0.5   web/liveness hang
        12    ack web
        16    ack web
        """,
        """
        12    note
        16    note
        18.5  failure liveness_failed since 10
        18.5  restart 1 liveness_failed
        """,
        until=20,
    ),
]

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


@pytest.mark.parametrize("story", [*PEOPLE, *LIMITS], ids=[story.holds for story in [*PEOPLE, *LIMITS]])
def test_story(story: Story) -> None:
    """What happens on the left is told on the right, to the second and in this order, with nothing besides."""
    told = play(story.happens, story.until, **story.contract)
    assert told.lines == lines(story.told)
    assert told.state == story.state


def flap(times: int, every: float = 10.0, begin: float = 100.0) -> str:
    """Readiness goes and comes: each time two changes of state."""
    return "\n".join(
        "%g web/readiness bad\n%g web/readiness ok" % (begin + n * every, begin + n * every + every / 2) for n in range(times)
    )


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

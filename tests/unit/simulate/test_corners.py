# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where two rules meet: each second reckoned by hand from the documented rules, not read off the engine."""

from __future__ import annotations

import pytest
from story import LIVENESS, READINESS, STARTUP, Story, check, play

ONE = [{"rung": "restart", "attempts": 1}]
AWAY = {"fallback": {"agent_check": {"port": 9878}}}
BOTH = [LIVENESS, READINESS]
PEER = {"probes": BOTH, "guard": {"peers": ["http://two/ready"]}}
PAYMENTS = {"dependencies": [{"name": "payments", "probe": {"http": {"url": "https://pay.example/ready"}}}]}

STORIES = [
    Story(
        "a good answer at the very second a restart is due comes before it",
        """
        100   web/liveness bad
        105   web/liveness ok
        """,
        """
        100.5 failure liveness_failed since 100
        115   recover at 105 took 5
        """,
        state="healthy",
    ),
    Story(
        "a restart that heals at the very end of its window has healed",
        """
        0     does web/restart ok takes 10 heals
        100   web/liveness bad
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        125   recover at 115 took 15
        """,
        state="healthy",
    ),
    Story(
        "a death within an attempt's window ends it at once",
        """
        100   web/liveness bad
        107   gone web
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        107   start 2 gone after died/died_again
        117   restart 3 liveness_failed after not_healed/window_over
        """,
        until=120,
    ),
    Story(
        "a death while observing is the next attempt, at once",
        """
        0     does web/restart ok takes 1 heals
        100   web/liveness bad
        112   gone web
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        112   start 2 gone after relapsed/gone
        123   recover at 113 took 13
        """,
        state="healthy",
    ),
    Story(
        "somebody else's instance while observing has to prove itself from its own beginning",
        """
        0     does web/restart ok takes 1 heals
        100   web/liveness bad
        110   instance web
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        120   recover at 110 took 10
        """,
        state="healthy",
    ),
    Story(
        "nobody can tell whether the restart healed: a person is told after retry_every, and nothing is restarted on a guess",
        """
        100   web/liveness bad
        105.5 web/liveness unknown
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        415   page unproven after not_healed/window_over
        """,
        until=1200,
    ),
    Story(
        "the next incident before the reset begins where the last one ended: at the page, with a retry 300 s later",
        """
        100   web/liveness bad
        200   web/liveness ok
        300   web/liveness bad
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   page ladder_exhausted after not_healed/window_over
        210   recover at 200 took 100
        210   page_resolved ladder_exhausted
        300.5 failure liveness_failed since 300 continues
        300.5 page ladder_exhausted
        600.5 restart 1 liveness_failed retry
        """,
        contract={"ladder": ONE},
        until=700,
    ),
    Story(
        "retries take the first rung as it is written, whatever it is",
        "100 web/liveness bad",
        """
        100.5 failure liveness_failed since 100
        105   rollback 1 liveness_failed
        110   restart 1 liveness_failed after not_healed/window_over
        115   page ladder_exhausted after not_healed/window_over
        415   rollback 1 liveness_failed retry after not_healed/window_over
        720   rollback 1 liveness_failed retry after not_healed/window_over
        """,
        contract={"ladder": [{"rung": "rollback", "attempts": 1, "timeout": 5}, {"rung": "restart", "attempts": 1, "timeout": 5}]},
    ),
    Story(
        "a cooldown binds retries, too: counted from the end of the last action",
        "100 web/liveness bad",
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   page ladder_exhausted after not_healed/window_over
        415   blocked cooldown
        506   restart 1 liveness_failed retry after not_healed/window_over
        """,
        contract={"ladder": ONE, "guard": {"cooldown": 400}},
        until=700,
    ),
    Story(
        "a hold binds retries, too, and they come at the second it ends",
        """
        100   web/liveness bad
        300   hold web for 300
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   page ladder_exhausted after not_healed/window_over
        300   hold
        415   blocked hold
        600   restart 1 liveness_failed retry after not_healed/window_over
        """,
        contract={"ladder": ONE},
        until=700,
    ),
    Story(
        "a retry needs an approval of its own",
        """
        100   web/liveness bad
        120   approve web
        700   approve web
        """,
        """
        100.5 failure liveness_failed since 100
        105   blocked awaiting_approval
        105   page awaiting_approval
        120   approve
        120   restart 1 liveness_failed
        430   blocked awaiting_approval
        700   approve
        700   restart 1 liveness_failed retry after not_healed/window_over
        """,
        contract={"ladder": ONE, "mode": "approve"},
        until=800,
    ),
    Story(
        "the budget binds a dead service as well: a person is told, and it is started when an action is old enough",
        """
        100   gone web
        200   gone web
        """,
        """
        100   failure gone since 100
        100   start 1 gone
        111   recover at 101 took 1
        200   failure gone since 200 continues
        200   blocked budget_spent
        200   page budget_spent
        600   start 2 gone
        611   recover at 601 took 401
        611   page_resolved budget_spent
        """,
        contract={"guard": {"actions": 1, "per": 500}},
        state="healthy",
    ),
    Story(
        "a restarted service that never starts up is judged by its startup budget, not by the rung's window",
        """
        0      does web/restart ok takes 2
        100    web/liveness bad
        100.25 web/startup bad
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        136   restart 2 startup_failed after not_healed/window_over
        167   page ladder_exhausted after not_healed/window_over
        """,
        contract={"probes": [LIVENESS, {**STARTUP, "period": 1, "failure_threshold": 30}], "ladder": [{"rung": "restart", "attempts": 2}]},
        until=200,
    ),
    Story(
        "a fault while traffic comes back: it leaves again as soon as it has come, and healing waits for neither",
        """
        0     does web/failback ok takes 20
        100   web/liveness bad
        104   web/liveness ok
        120   web/liveness bad
        """,
        """
        100.5 failure liveness_failed since 100
        100.5 failover liveness_failed
        114   recover at 104 took 4
        114   failback healed
        120.5 failure liveness_failed since 120 continues
        125   restart 1 liveness_failed
        134   failover liveness_failed
        135   page ladder_exhausted after not_healed/window_over
        """,
        contract={**AWAY, "ladder": ONE},
        until=200,
    ),
    Story(
        "mode approve asks before rungs; traffic leaves on suspicion all the same",
        "100 web/liveness bad",
        """
        100.5 failure liveness_failed since 100
        100.5 failover liveness_failed
        105   blocked awaiting_approval
        105   page awaiting_approval
        """,
        contract={**AWAY, "mode": "approve"},
        until=300,
    ),
    Story(
        "too few peers: what still serves is neither drained nor restarted, each said once; a peer of which nobody knows is none",
        """
        50    peer http://two/ready unknown
        100   web/liveness bad
        """,
        """
        100.5 failure liveness_failed since 100
        100.5 blocked last_available
        105   blocked last_available
        """,
        contract={**PEER, **AWAY},
        until=300,
    ),
    Story(
        "too few peers: what serves nothing any more may be restarted",
        """
        50    peer http://two/ready bad
        100   web/liveness bad
        100   web/readiness bad
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   page ladder_exhausted after not_healed/window_over
        """,
        contract={**PEER, "ladder": ONE},
        until=300,
    ),
    Story(
        "a dependency that hangs: its breaker counts answers, not periods, and one bad trial opens it again",
        "50 dependency payments hang",
        """
        94  breaker_trip
        154 breaker_half_open
        158 breaker_trip
        218 breaker_half_open
        222 breaker_trip
        """,
        contract=PAYMENTS,
        until=270,
        state="healthy",
    ),
    Story(
        "a breaker that is half open for too long opens again, though every trial was good",
        """
        50  dependency payments bad
        149 dependency payments ok
        """,
        """
        90  breaker_trip
        150 breaker_half_open
        170 breaker_trip
        230 breaker_half_open
        250 breaker_trip
        """,
        contract={"dependencies": [{**PAYMENTS["dependencies"][0], "success_threshold": 100, "half_open_limit": 20}]},
        until=280,
        state="healthy",
    ),
]


@pytest.mark.parametrize("story", STORIES, ids=[story.holds for story in STORIES])
def test_story(story: Story) -> None:
    """What happens on the left is told on the right, to the second and in this order, with nothing besides."""
    check(story)


@pytest.mark.parametrize(
    ("others", "restarts"),
    [pytest.param(9, [], id="5 of 10 are half"), pytest.param(10, [105] * 5, id="5 of 11 are less than half")],
)
def test_half_of_the_services_are_a_storm_and_less_are_none(others: int, restarts: list[float]) -> None:
    """Five failing services of ten are a storm, one page and no restart; of eleven each is healed as if it were alone."""
    more = [{"name": "s%d" % n, "resource": {"unit": "s%d.service" % n}, "probes": [LIVENESS]} for n in range(others)]
    failing = ["100 s%d/liveness bad" % n for n in range(4)]
    told = play("\n".join(["100 web/liveness bad", *failing]), 110, *more)
    assert told.times("restart") == restarts
    assert len(told.of("page")) == (0 if restarts else 1)


FIVE = [{"name": "s%d" % n, "resource": {"unit": "s%d.service" % n}, "probes": [LIVENESS], "ladder": ONE} for n in range(4)]


def test_a_watchdog_that_comes_back_makes_no_storm_of_old_failures() -> None:
    """Five services that failed minutes apart are none for a watchdog that was killed either: their retries go on."""
    failing = ["%d s%d/liveness bad" % (100 + 200 * n, n) for n in range(4)]
    told = play("\n".join([*failing, "900 web/liveness bad", "1000 crash"]), 1100, *FIVE, ladder=ONE)
    assert [event["data"]["reason"] for event in told.of("page")] == ["ladder_exhausted"] * 5
    assert told.of("blocked") == [] and [at for at in told.times("restart") if at > 1001] == [1015, 1035]


def test_a_storm_is_told_once_though_the_watchdog_is_killed_in_it() -> None:
    """It goes on, and ends under the name under which it began."""
    failing = ["100 web/liveness bad", *("100 s%d/liveness bad" % n for n in range(4))]
    told = play("\n".join([*failing, "150 crash", *("200 s%d/liveness ok" % n for n in range(4))]), 215, *FIVE, ladder=ONE)
    assert [(event["at"], event["type"]) for event in told.of("page", "page_resolved")] == [(100.5, "page"), (210, "page_resolved")]
    assert len({event["incident"] for event in told.of("page", "page_resolved")}) == 1
    assert [(event["at"], event["service"]) for event in told.of("restart")] == [(210, "web")]

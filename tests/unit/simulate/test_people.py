# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people say and set: holds, approvals, modes, stops, leases."""

from __future__ import annotations

import pytest
from story import Story, check

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
        100   start 1 gone
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
        130   blocked hold
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


@pytest.mark.parametrize("story", PEOPLE, ids=[story.holds for story in PEOPLE])
def test_story(story: Story) -> None:
    """What happens on the left is told on the right, to the second and in this order, with nothing besides."""
    check(story)

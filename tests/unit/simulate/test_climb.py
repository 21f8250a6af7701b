# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way up the ladder: when each rung comes, what ends the climb, and where the next one begins."""

from __future__ import annotations

import pytest
from story import Story, check

STORIES = [
    Story(
        "C31 a hung service that nothing heals: every promised second, a person at 348.5, then the first rung every 300 s",
        "0.5 web/liveness hang",
        """
        18.5  failure liveness_failed since 10
        18.5  restart 1 liveness_failed
        28.5  restart 2 liveness_failed after not_healed/window_over
        38.5  restart 3 liveness_failed after not_healed/window_over
        48.5  redeploy 1 liveness_failed after not_healed/window_over
        168.5 redeploy 2 liveness_failed after not_healed/window_over
        288.5 rollback 1 liveness_failed after not_healed/window_over
        348.5 page ladder_exhausted after not_healed/window_over
        648.5 restart 1 liveness_failed retry after not_healed/window_over
        958.5 restart 1 liveness_failed retry after not_healed/window_over
        """,
    ),
    Story(
        "one that answers badly fails after the confirmation, and is restarted once failure was unbroken for failing_for",
        "100 web/liveness bad",
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   restart 2 liveness_failed after not_healed/window_over
        """,
        until=120,
    ),
    Story(
        "a service that starts within 5 s keeps the same seconds",
        """
        0     does web/restart ok takes 5
        0.5   web/liveness hang
        """,
        """
        18.5  failure liveness_failed since 10
        18.5  restart 1 liveness_failed
        28.5  restart 2 liveness_failed after not_healed/window_over
        38.5  restart 3 liveness_failed after not_healed/window_over
        48.5  redeploy 1 liveness_failed after not_healed/window_over
        """,
        until=60,
    ),
    Story(
        "death is certain: started at once, no failing_for",
        "105 gone web",
        """
        105   failure gone since 105
        105   start 1 gone
        116   recover at 106 took 1
        """,
        until=200,
        state="healthy",
    ),
    Story(
        "a death after a first failed probe counts from that probe",
        """
        100    web/liveness bad
        100.25 gone web
        100.25 web/liveness ok
        """,
        """
        100.25 failure gone since 100
        100.25 start 1 gone
        111.25 recover at 101.25 took 1.25
        """,
        until=200,
        state="healthy",
    ),
    Story(
        "the second restart heals: the climb stops there",
        """
        100   web/liveness bad
        110   does web/restart ok takes 2 heals
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   restart 2 liveness_failed after not_healed/window_over
        127   recover at 117 took 17
        """,
        state="healthy",
    ),
    Story(
        "C34 the third restart heals: not only the first one happens",
        """
        100   web/liveness bad
        120   does web/restart ok takes 2 heals
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   restart 2 liveness_failed after not_healed/window_over
        125   restart 3 liveness_failed after not_healed/window_over
        137   recover at 127 took 27
        """,
        state="healthy",
    ),
    Story(
        "a redeploy heals: no rollback",
        """
        0     does web/redeploy ok takes 30 heals
        100   web/liveness bad
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   restart 2 liveness_failed after not_healed/window_over
        125   restart 3 liveness_failed after not_healed/window_over
        135   redeploy 1 liveness_failed after not_healed/window_over
        175   recover at 165 took 65
        """,
        state="healthy",
    ),
    Story(
        "the rollback heals: nobody is paged",
        """
        0     does web/rollback ok takes 4 heals
        100   web/liveness bad
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   restart 2 liveness_failed after not_healed/window_over
        125   restart 3 liveness_failed after not_healed/window_over
        135   redeploy 1 liveness_failed after not_healed/window_over
        255   redeploy 2 liveness_failed after not_healed/window_over
        375   rollback 1 liveness_failed after not_healed/window_over
        389   recover at 379 took 279
        """,
        state="healthy",
    ),
    Story(
        "a retry after the page heals: the page is resolved",
        """
        100   web/liveness bad
        500   does web/restart ok takes 2 heals
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   restart 2 liveness_failed after not_healed/window_over
        125   restart 3 liveness_failed after not_healed/window_over
        135   page ladder_exhausted after not_healed/window_over
        435   restart 1 liveness_failed retry after not_healed/window_over
        745   restart 1 liveness_failed retry after not_healed/window_over
        757   recover at 747 took 647
        757   page_resolved ladder_exhausted
        """,
        contract={"release": None},
        state="healthy",
    ),
    Story(
        "C20 it heals by itself before anything was due: an incident, and no action",
        """
        100   web/liveness bad
        103   web/liveness ok
        """,
        """
        100.5 failure liveness_failed since 100
        113   recover at 103 took 3
        """,
        state="healthy",
    ),
    Story(
        "C57 one bad answer among good ones is nothing",
        """
        100    web/liveness bad
        100.25 web/liveness ok
        """,
        "",
        state="healthy",
    ),
    Story(
        "a relapse while observing goes to the next attempt, after failing_for anew",
        """
        0     does web/restart ok takes 1 heals
        100   web/liveness bad
        110   web/liveness bad
        """,
        """
        100.5  failure liveness_failed since 100
        105    restart 1 liveness_failed
        115    restart 2 liveness_failed after relapsed/liveness_failed
        126    recover at 116 took 16
        """,
        state="healthy",
    ),
    Story(
        "a new incident within ladder_reset_after goes on at the next attempt",
        """
        0     does web/restart ok takes 1 heals
        100   web/liveness bad
        700   web/liveness bad
        """,
        """
        100.5  failure liveness_failed since 100
        105    restart 1 liveness_failed
        116    recover at 106 took 6
        700.5  failure liveness_failed since 700 continues
        705    restart 2 liveness_failed
        716    recover at 706 took 6
        """,
        state="healthy",
    ),
    Story(
        "C07 C23 after ladder_reset_after of unbroken health the ladder begins at its foot again",
        """
        0     does web/restart ok takes 1 heals
        100   web/liveness bad
        710   web/liveness bad
        """,
        """
        100.5  failure liveness_failed since 100
        105    restart 1 liveness_failed
        116    recover at 106 took 6
        710.5  failure liveness_failed since 710
        715    restart 1 liveness_failed
        726    recover at 716 took 6
        """,
        state="healthy",
    ),
    Story(
        "C36 C35 dies 60 s after every start: each incident climbs on, and a person is told in the end",
        """
        0      does web/restart ok takes 1
        100    gone web
        161    gone web
        222    gone web
        283    gone web
        """,
        """
        100    failure gone since 100
        100    start 1 gone
        111    recover at 101 took 1
        161    failure gone since 161 continues
        161    start 2 gone
        172    recover at 162 took 1
        222    failure gone since 222 continues
        222    start 3 gone
        223    page flapping
        233    recover at 223 took 1
        233    page_resolved flapping
        283    failure gone since 283 continues
        283    page ladder_exhausted
        583    start 1 gone retry
        594    recover at 584 took 301
        594    page_resolved ladder_exhausted
        """,
        contract={"release": None},
        state="healthy",
    ),
    Story(
        "C08 an action that fails ends its attempt early, and the next says so; backoff is all that delays it",
        """
        0      does web/restart failed takes 2
        0      does web/redeploy ok takes 2 heals
        100    web/liveness bad
        """,
        """
        100.5  failure liveness_failed since 100
        105    restart 1 liveness_failed
        107    blocked backoff
        108    restart 2 liveness_failed after failed/action_failed
        110    blocked backoff
        112    restart 3 liveness_failed after failed/action_failed
        114    blocked backoff
        118    redeploy 1 liveness_failed after failed/action_failed
        130    recover at 120 took 20
        """,
        state="healthy",
    ),
    Story(
        "an action that cannot help ends its rung, not only its attempt",
        """
        0      does web/restart cannot takes 1
        0      does web/redeploy ok takes 2 heals
        100    web/liveness bad
        """,
        """
        100.5  failure liveness_failed since 100
        105    restart 1 liveness_failed
        106    blocked backoff
        107    redeploy 1 liveness_failed after cannot_help/release_settled
        119    recover at 109 took 9
        """,
        state="healthy",
    ),
    Story(
        "an action that outlasts its window is waited for: never two at once",
        """
        0      does web/restart ok takes 25
        100    web/liveness bad
        """,
        """
        100.5  failure liveness_failed since 100
        105    restart 1 liveness_failed
        135    restart 2 liveness_failed after not_healed/window_over
        """,
        until=150,
    ),
    Story(
        "somebody else's new instance begins health and failing_for afresh; the open incident stays open",
        """
        100    web/liveness bad
        104    instance web
        """,
        """
        100.5  failure liveness_failed since 100
        109    restart 1 liveness_failed
        """,
        until=115,
    ),
    Story(
        "C37 somebody else's new instance that answers heals the incident without an action",
        """
        100    web/liveness bad
        104    instance web
        104    web/liveness ok
        """,
        """
        100.5  failure liveness_failed since 100
        114    recover at 104 took 4
        """,
        state="healthy",
    ),
    Story(
        "C17 C29 no failed probe of the old instance counts against the new one",
        """
        100    web/liveness bad
        100.25 instance web
        100.5  web/liveness ok
        101    web/liveness bad
        101.6  web/liveness ok
        """,
        "",
        state="healthy",
    ),
]


@pytest.mark.parametrize("story", STORIES, ids=[story.holds for story in STORIES])
def test_story(story: Story) -> None:
    """What happens on the left is told on the right, to the second and in this order, with nothing besides."""
    check(story)

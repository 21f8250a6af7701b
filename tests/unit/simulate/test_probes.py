# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What probes of each role and each answer make of a service."""

from __future__ import annotations

import pytest
from story import LIVENESS, READINESS, Story, check

STORIES = [
    Story(
        "C18 failure_threshold 3 means three failed probes, not two, not four",
        "100 web/liveness bad",
        """
        101    failure liveness_failed since 100
        105    restart 1 liveness_failed
        """,
        until=110,
        contract={"probes": [{**LIVENESS, "failure_threshold": 3}]},
    ),
    Story(
        "C18 attempts 1 means one restart and no second",
        "100 web/liveness bad",
        """
        100.5  failure liveness_failed since 100
        105    restart 1 liveness_failed
        115    page ladder_exhausted after not_healed/window_over
        """,
        until=200,
        contract={"ladder": [{"rung": "restart", "attempts": 1}]},
    ),
    Story(
        "success_threshold: so many good answers of the new instance, and not one less",
        """
        0      does web/restart ok takes 1 heals
        100    web/liveness bad
        """,
        """
        100.5  failure liveness_failed since 100
        105    restart 1 liveness_failed
        116    recover at 106 took 6
        """,
        contract={"probes": [{**LIVENESS, "success_threshold": 3}]},
        state="healthy",
    ),
    Story(
        "any failing liveness probe fails the service",
        "100 web/deep bad",
        """
        100.5  failure liveness_failed since 100
        105    restart 1 liveness_failed
        """,
        until=110,
        contract={"probes": [LIVENESS, {**LIVENESS, "name": "deep"}]},
    ),
    Story(
        "readiness failing is an incident that moves traffic and never climbs",
        """
        100    web/readiness bad
        500    web/readiness ok
        """,
        """
        100.5  failure readiness_failed since 100
        510    recover at 500 took 400
        """,
        contract={"probes": [LIVENESS, READINESS]},
        state="healthy",
    ),
    Story(
        "liveness failing in an incident of readiness climbs like any other",
        """
        100    web/readiness bad
        200    web/liveness bad
        """,
        """
        100.5  failure readiness_failed since 100
        205    restart 1 liveness_failed
        """,
        until=210,
        contract={"probes": [LIVENESS, READINESS]},
    ),
    Story(
        "slow answers degrade, and never restart anything",
        "100 web/liveness slow",
        "113.5 degrade",
        until=2000,
        state="degraded",
    ),
    Story(
        "a probe that could not run changes nothing",
        "100 web/liveness unknown",
        "",
        state="healthy",
    ),
    Story(
        "an unknown between two failures neither counts nor breaks the run",
        """
        100    web/liveness bad
        100.25 web/liveness unknown
        109    web/liveness bad
        """,
        """
        109    failure liveness_failed since 100
        109    restart 1 liveness_failed
        """,
        until=115,
    ),
]


@pytest.mark.parametrize("story", STORIES, ids=[story.holds for story in STORIES])
def test_story(story: Story) -> None:
    """What happens on the left is told on the right, to the second and in this order, with nothing besides."""
    check(story)

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows of attempts, and how long failure must have been unbroken before the next one."""

from __future__ import annotations

import pytest
from story import Story, check

STORIES = [
    Story(
        "windows count from their beginning: a restart of ours does not begin failing_for afresh",
        "100 web/liveness bad",
        """
        100.5  failure liveness_failed since 100
        130    restart 1 liveness_failed
        133    restart 2 liveness_failed after not_healed/window_over
        136    page ladder_exhausted after not_healed/window_over
        """,
        until=140,
        contract={"failing_for": 30, "ladder": [{"rung": "restart", "attempts": 2, "timeout": 3}, {"rung": "page"}]},
    ),
    Story(
        "an instance that came only after its attempt's window is judged for failing_for of its own",
        """
        0      does web/restart ok takes 30
        100    web/liveness bad
        """,
        """
        100.5  failure liveness_failed since 100
        105    restart 1 liveness_failed
        140    restart 2 liveness_failed after not_healed/window_over
        """,
        until=150,
    ),
    Story(
        "a good answer between two attempts begins failing_for afresh",
        """
        100    web/liveness bad
        107    web/liveness ok
        108    web/liveness bad
        """,
        """
        100.5  failure liveness_failed since 100
        105    restart 1 liveness_failed
        113    restart 2 liveness_failed after relapsed/liveness_failed
        """,
        until=115,
    ),
    Story(
        "somebody else's new instance between two attempts begins failing_for afresh",
        """
        100    web/liveness bad
        113    instance web
        """,
        """
        100.5  failure liveness_failed since 100
        105    restart 1 liveness_failed
        118    restart 2 liveness_failed after not_healed/window_over
        """,
        until=120,
    ),
]


@pytest.mark.parametrize("story", STORIES, ids=[story.holds for story in STORIES])
def test_windows(story: Story) -> None:
    """What happens on the left is told on the right, to the second and in this order, with nothing besides."""
    check(story)

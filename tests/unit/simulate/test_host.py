# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to the host itself: maintenance, its own network, a disk that takes no more, traffic that cannot be moved."""

from __future__ import annotations

import pytest
from story import LIVENESS, Story, check, play

FALLBACK = {"fallback": {"agent_check": {"port": 9878}}}
DISTANT = {"role": "liveness", "http": {"url": "http://192.0.2.7:8080/live"}}

STORIES = [
    Story(
        "maintenance: everything waits, and goes on when it is over",
        """
        100 web/liveness bad
        90  maintenance apt for 40
        """,
        """
        100.5 failure liveness_failed since 100
        105   blocked maintenance
        130   restart 1 liveness_failed
        140   restart 2 liveness_failed after not_healed/window_over
        """,
        until=145,
    ),
    Story(
        "maintenance that has no end is ended by whoever ends it",
        """
        90  maintenance apt
        100 web/liveness bad
        120 maintenance apt for 0
        """,
        """
        100.5 failure liveness_failed since 100
        105   blocked maintenance
        120   restart 1 liveness_failed
        """,
        until=125,
    ),
    Story(
        "C59 what is off this host has not failed while our own network is away",
        """
        0   network ok
        100 network bad
        100 web/liveness bad
        200 network ok
        """,
        """
        100   blocked own_network_down
        200.5 failure liveness_failed since 200
        205   restart 1 liveness_failed
        """,
        until=210,
        contract={"probes": [DISTANT]},
    ),
    Story(
        "what is on this host has failed, whatever the network does",
        """
        90  network bad
        100 web/liveness bad
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        """,
        until=110,
    ),
    Story(
        "C66 a full disk: one action a retry_every, and a word why",
        """
        90  records unwritable
        100 web/liveness bad
        """,
        """
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        115   blocked records_unwritable
        406   restart 2 liveness_failed after not_healed/window_over
        """,
        until=410,
    ),
]


@pytest.mark.parametrize("story", STORIES, ids=[story.holds for story in STORIES])
def test_story(story: Story) -> None:
    """What happens on the left is told on the right, to the second and in this order, with nothing besides."""
    check(story)


def test_traffic_that_cannot_be_moved_is_said_once_and_tried_again() -> None:
    """C56 no backup read back as up: no move (`no_backup`), said once; as soon as one is up, traffic goes."""
    told = play("0 does web/failover bad\n100 web/liveness bad\n150 does web/failover ok", 200, probes=[LIVENESS], **FALLBACK)
    refused = [event for event in told.of("blocked") if event["data"].get("action") == "failover"]
    assert [event["data"]["reason"] for event in refused] == ["no_backup"]
    assert told.times("failover") == [155.5], "what did not move is not told as moved; tried again 10 s after each answer"
    assert told.times("restart")[:1] == [105], "what heals does not wait for traffic"


def test_traffic_that_does_not_come_back_has_a_reason_of_its_own() -> None:
    """A move back that fails is `action_failed`, said once and tried again: `no_backup` is said of moves to a backup only."""
    told = play("0 does web/failback failed\n100 web/liveness bad\n110 web/liveness ok", 200, probes=[LIVENESS], **FALLBACK)
    refused = [(event["at"], event["data"]["reason"]) for event in told.of("blocked") if event["data"].get("action") == "failback"]
    assert refused == [(121, "action_failed")] and told.times("failback") == [120]


def test_breakers_trip_and_reset_in_the_timeline() -> None:
    """C53 C54 closed, open, half-open, closed, each told with its reason."""
    rules = {
        "name": "pay",
        "probe": {"http": {"url": "http://127.0.0.1:1/"}},
        "failure_threshold": 2,
        "success_threshold": 2,
        "reset_timeout": 20,
    }
    told = play("35 dependency pay bad\n75 dependency pay ok", 200, dependencies=[rules])
    assert [event["type"] for event in told.of("breaker_trip", "breaker_half_open", "breaker_reset")] == [
        "breaker_trip",
        "breaker_half_open",
        "breaker_trip",
        "breaker_half_open",
        "breaker_reset",
    ]

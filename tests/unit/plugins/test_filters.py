# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters: what events say in numbers, and clear words for what is no list of events."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.faultline.selfheal.plugins.filter.timeline import FilterModule

FILTERS = FilterModule().filters()
EVENTS: list[dict[str, Any]] = [
    {"type": "watchdog_start", "timestamp": "2026-11-21T21:00:00.000Z"},
    {"type": "failure", "service": "web", "incident": "i", "timestamp": "2026-11-21T21:00:50.000Z", "data": {"reason": "timeout"}},
    {"type": "recover", "service": "web", "incident": "i", "timestamp": "2026-11-21T21:01:10.000Z",
     "data": {"recovery_duration_ms": 10000}},
    {"type": "note", "service": "db", "timestamp": "2026-11-21T21:01:40.000Z"},
]  # fmt: skip


@pytest.mark.parametrize(
    "arguments, share", [((), 0.95), (("web",), 0.9), (("db",), 1.0), (("none",), None), (("web", "2026-11-21T21:03:20.000Z"), 0.95)]
)
def test_availability(arguments: tuple[str, ...], share: float | None) -> None:
    """The share of the time on record without an open incident: of one service, of all, up to a given end."""
    assert FILTERS["availability"](EVENTS, *arguments) == share


OPEN = [EVENTS[0], {**EVENTS[1], "timestamp": "2026-11-21T21:00:30.000Z"}]
MINUTE, HALF = "2026-11-21T21:01:00.000Z", "2026-11-21T21:00:15.000Z"


@pytest.mark.parametrize(
    "events, until, share",
    [
        ([], None, None),
        ([], MINUTE, None),
        (OPEN[:1], None, None),
        (OPEN, None, 1.0),
        (OPEN, MINUTE, 0.5),
        (OPEN, "2026-11-21T23:01:00+02:00", 0.5),
        (EVENTS, MINUTE, 0.833333),
        (EVENTS, "2026-11-21T20:00:00.000Z", None),
        ([EVENTS[1], EVENTS[0], EVENTS[2]], None, 0.857143),
        ([*OPEN, {"type": "recover", "service": "web", "incident": "i", "timestamp": "soon"}], MINUTE, 0.5),
    ],
    ids=["nothing", "nothing until", "one event", "open at the end", "open still", "another zone", "down in it", "before it", "backwards",
         "no time"],
)  # fmt: skip
def test_availability_at_the_edges(events: list[dict[str, Any]], until: str | None, share: float | None) -> None:
    """What was never recovered is down to the end; what comes after the end does not count; nothing is no share at all."""
    assert FILTERS["availability"](events, "web", until) == share


@pytest.mark.parametrize("until", ["", "soon", "2026-11-21T21:00:00", 7, "9999-12-31T23:59:59-23:59"])
def test_an_end_that_is_none_is_named(until: Any) -> None:
    """Also where there is nothing to be counted."""
    with pytest.raises(AnsibleFilterError, match="availability: until: .*no point in time"):
        FILTERS["availability"]([], None, until)


def test_recovery_stats() -> None:
    """The numbers of one service are those of timeline_info."""
    found = FILTERS["recovery_stats"](EVENTS, "web")
    assert (found["incidents"], found["recovered"], found["mttr_ms"]["median"]) == (1, 1, 10000)
    assert FILTERS["recovery_stats"]([])["availability"] is None


@pytest.mark.parametrize(
    "events, problem",
    [
        ("text", "expected a list of events.*found str"),
        ({}, "found dict"),
        (7, "found int"),
        ([EVENTS[0], 3], r"events\[1\]: expected an event; found int"),
    ],
)
def test_what_is_no_list_of_events_is_named(events: Any, problem: str) -> None:
    """A registered result instead of its events, for one."""
    with pytest.raises(AnsibleFilterError, match=problem):
        FILTERS["recovery_stats"](events)

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill says and how it judges: pure functions of events and a fault's record."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.faultline.selfheal.plugins.plugin_utils import _story as story

LIMITS = {"detected_ms": 50.0, "restart_ms": 100.0, "hang_extra_ms": 2000.0}
CONTRACT = {"period": 2.0, "timeout": 1.0, "failing_for": 1.0, "recovered_after": 3.0}
FAILED = "2026-11-21T21:03:30.000Z"


def event(type: str, ms: int, incident: str | None = None, **data: Any) -> dict[str, Any]:
    seconds, rest = divmod(ms, 1000)
    found = {"type": type, "timestamp": "2026-11-21T21:03:%02d.%03dZ" % (30 + seconds, rest), "service": "web", "data": data}
    return found if incident is None else {**found, "incident": incident}


def fault(kind: str = "kill", measured: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"fault_id": "f", "fault": kind, "service": "web", "failure_time": FAILED, "contract": CONTRACT, "ended": None,
            "measured": measured, **more}  # fmt: skip


STORY = [
    event("fault_inject", 0, fault_id="f", fault="kill", pid=7),
    event("failure", 2, "i", reason="gone"),
    event("start", 9, "i", attempt=1, rung="restart"),
    event("recover", 3100, "i", recovery_duration_ms=290, rung="restart"),
]
SERVED = {"state": "served", "detected_after_ms": 2, "recovered_after_ms": 70, "startup_ms": 40, "instance": "new", "pid": 8}

LIMIT = [
    ("kill", CONTRACT, 40, 140.0),
    ("kill", CONTRACT, None, None),
    ("hang", CONTRACT, None, 6000.0),
    ("hang", {**CONTRACT, "failing_for": 0.0}, None, 5500.0),
    ("hang", {}, None, None),
]


@pytest.mark.parametrize(("kind", "contract", "startup", "expected"), LIMIT)
def test_limits_are_those_that_were_promised(kind: str, contract: dict[str, float], startup: int | None, expected: float | None) -> None:
    """A kill: 100 ms and the start; a hang: period + timeout + failing_for + 2 s, or period + 2 * timeout + 1.5 s without failing_for."""
    assert expected == story.limit(kind, contract, startup, LIMITS)[0]


OUTCOMES = [
    ("nothing yet", STORY[:1], fault(), None),
    ("served, not yet proven", STORY[:3], fault(measured=SERVED), None),
    ("proven, not yet measured", STORY, fault(), None),
    ("proven and measured", STORY, fault(measured=SERVED), "recovered"),
    ("paged", [*STORY[:3], event("page", 900, "i", reason="ladder_exhausted")], fault(), "escalated"),
    ("a page for flapping ends nothing", [*STORY[:3], event("page", 900, "i", reason="flapping")], fault(measured=SERVED), None),
    ("an incident before the fault", [event("recover", 0, "older"), STORY[0]], fault(measured=SERVED), None),
    ("reverted before it was noticed", STORY[:1], fault("hang", {"state": "served"}, ended="timer"), "reverted"),
]


@pytest.mark.parametrize(("name", "events", "about", "expected"), OUTCOMES, ids=[row[0] for row in OUTCOMES])
def test_a_drill_ends_when_its_own_incident_does(name: str, events: list[Any], about: dict[str, Any], expected: str | None) -> None:
    """Recovered needs both the watchdog's proof and the drill's own measurement."""
    assert expected == story.outcome(events, about)


JUDGED = [
    ("good", SERVED, "recovered", []),
    ("detected late", {**SERVED, "detected_after_ms": 51}, "recovered", ["detected after 51 ms, allowed are 50"]),
    ("served late", {**SERVED, "recovered_after_ms": 141}, "recovered", ["serving after 141 ms, allowed are 140"]),
    ("never noticed", {"state": "served", "recovered_after_ms": 9, "startup_ms": 9}, "recovered", ["the failure was never recorded"]),
    ("never served", {"state": "gave_up", "detected_after_ms": 1}, "recovered", ["the service was not seen to answer again"]),
    ("paged", SERVED, "escalated", ["not healed: a person was paged"]),
    ("gave up", SERVED, "timeout", ["not healed: nothing had come to an end when time was up"]),
    ("broken", {**SERVED, "state": "broken", "detail": "disk full"}, "recovered", ["could not be measured: disk full"]),
]


@pytest.mark.parametrize(("name", "measured", "ended", "expected"), JUDGED, ids=[row[0] for row in JUDGED])
def test_whatever_is_missing_or_late_is_bad(name: str, measured: dict[str, Any], ended: str, expected: list[str]) -> None:
    """A drill is good only when all of it was seen and in time; what was not measured is never good."""
    row = story.row("web1", STORY, fault(measured=measured), ended, LIMITS)
    assert [problem.partition(" (")[0] for problem in row["problems"]] == expected
    assert row["verdict"] == ("bad" if expected else "good")


def test_lines_carry_milliseconds_since_the_fault() -> None:
    """Each step is one line: when, in one word what, and the rest."""
    lines = [story.line(each, FAILED) for each in STORY]
    assert [(0, "failed"), (2, "detected"), (9, "start"), (3100, "proven")] == [(line.ms, line.word) for line in lines]
    assert "       +2 ms  detected  the main process is gone" == str(lines[1])


def test_what_a_service_says_cannot_move_the_cursor() -> None:
    """Control characters and line breaks from a probe's detail reach the terminal as one harmless line."""
    line = story.line(event("failure", 1, "i", reason="liveness_failed", detail="a\x1b[2J\nb\rc" + "x" * 500), FAILED)
    assert "\x1b" not in str(line) and "\n" not in str(line) and "\r" not in str(line)
    assert len(str(line)) < 200


def test_the_table_is_aligned() -> None:
    """Every row is as wide as the headings need, whatever stands in it; absent numbers are a dash."""
    good = story.row("web1", STORY, fault(measured=SERVED), "recovered", LIMITS)
    bad = story.row("a-long-host", STORY[:1], fault("hang"), "timeout", LIMITS)
    lines = story.table([good, bad])
    assert 3 == len(lines)
    assert 1 == len({line.index(word) for line, word in zip(lines, ("verdict", "good", "bad"))})
    assert "50 ms / 140 ms" in lines[1] and " - " in lines[2]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading from the end, following, summing up; and times as people write them."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal._core.times import compact, format_time, parse_since, parse_time
from selfheal._records.read import Cursor, read, scan
from selfheal._records.segments import Head, backwards, head
from selfheal._records.statistics import statistics
from selfheal._records.timeline import Timeline


@pytest.fixture
def timeline(tmp_path, clock) -> Timeline:
    return Timeline(str(tmp_path), "web1", clock, segment_size=3000, ballast=False)


def seqs(events) -> list:
    return [event["seq"] for event in events]


def test_the_newest_events_come_last_and_each_has_its_hash(timeline, tmp_path):
    """Over several segments, with any limit."""
    written = [timeline.append("note", data={"number": number}) for number in range(50)]
    assert read(str(tmp_path)) == written == list(scan(str(tmp_path)))
    assert read(str(tmp_path), limit=3) == written[-3:]
    assert (read(str(tmp_path), limit=0), read(str(tmp_path / "none")), list(scan(str(tmp_path / "none")))) == ([], [], [])
    assert seqs(read(str(tmp_path), after_seq=45)) == [46, 47, 48, 49, 50]


def test_filters(timeline, tmp_path, clock):
    """By service, type, incident and time; text that only looks like a field does not count."""
    timeline.append("restart", "web", "web-1")
    clock.now += 10
    timeline.append("note", "db", data={"text": '"service":"web","type":"restart"'})
    timeline.append("note", data={"service": "web", "type": "restart"})
    clock.now += 10
    timeline.append("page", "web", "web-1")
    assert seqs(read(str(tmp_path), service="web")) == [1, 4] == seqs(scan(str(tmp_path), "web"))
    assert seqs(read(str(tmp_path), type="restart")) == [1]
    assert seqs(read(str(tmp_path), incident="web-1", limit=1)) == [4]
    assert seqs(read(str(tmp_path), since=clock.now - 10)) == [2, 3, 4] == seqs(scan(str(tmp_path), since=clock.now - 10))
    assert seqs(read(str(tmp_path), since=format_time(clock.now))) == [4]


def test_lines_that_are_no_events_are_passed_over(timeline, tmp_path):
    """A damaged line hides no other."""
    timeline.append("note")
    timeline.append("note")
    path = tmp_path / "000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\xff{]\n\n" + b"x" * 600000 + b"\n", 1) + b'{"seq":3,"half')
    assert seqs(read(str(tmp_path))) == [1, 2] == seqs(scan(str(tmp_path)))
    assert head(str(tmp_path)).seq == 2


def test_following_shows_every_event_once(timeline, tmp_path):
    """Across segments, repairs and retention, nothing twice and nothing left out."""
    cursor = Cursor(str(tmp_path))
    assert cursor.new() == []
    seen = []
    for number in range(60):
        timeline.append("note", data={"number": number})
        if number % 7 == 0:
            seen += cursor.new()
        if number == 30:
            with open(sorted(tmp_path.glob("*.jsonl"))[-1], "ab") as file:
                file.write(b"torn")
            seen += cursor.new()
    seen += cursor.new()
    assert seqs(seen) == list(range(1, 62))
    assert cursor.new() == []


def test_following_begins_where_it_is_told(timeline, tmp_path):
    """After a given seq, or after the present end."""
    for _turn in range(5):
        timeline.append("note")
    after, end = Cursor(str(tmp_path), 3), Cursor(str(tmp_path))
    timeline.append("note")
    assert (seqs(after.new()), seqs(end.new())) == ([4, 5, 6], [6])


def test_following_survives_a_log_begun_anew(timeline, tmp_path):
    """When the log was deleted and starts again, the new events are shown."""
    for _turn in range(5):
        timeline.append("note")
    cursor = Cursor(str(tmp_path))
    cursor.new()
    timeline.close()
    (tmp_path / "000001.jsonl").unlink()
    Timeline(str(tmp_path), "web1", ballast=False).append("note", data={"new": True})
    assert [event["data"] for event in cursor.new()] == [{"new": True}]


@given(st.lists(st.binary(max_size=300).map(lambda text: text.replace(b"\n", b"")), max_size=30), st.booleans())
def test_reading_backwards_gives_the_same_lines(tmp_path_factory, lines, ended):
    """From the end or from the beginning: the same lines at the same places, whatever they hold."""
    path = tmp_path_factory.getbasetemp() / "backwards"
    raw = b"\n".join(lines) + (b"\n" if ended else b"")
    path.write_bytes(raw)
    expected, place = [], 0
    for line in raw.split(b"\n"):
        whole = raw[place : place + len(line) + 1]
        if whole:
            expected.append((place, whole))
        place += len(whole)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert list(backwards(descriptor, len(raw)))[::-1] == expected
    finally:
        os.close(descriptor)


def test_a_line_of_many_blocks_is_read_backwards(tmp_path):
    """Blocks are joined until a line is whole."""
    path = tmp_path / "x"
    path.write_bytes(b"a\n" + b"b" * 1000000 + b"\n" + b"c")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert [(place, len(line)) for place, line in backwards(descriptor, 1000003 + 1)] == [(1000003, 1), (2, 1000001), (0, 2)]
    finally:
        os.close(descriptor)


def test_statistics(timeline, tmp_path, clock):
    """Incidents, detection, recovery, rungs and their outcomes, pages and availability of each service."""
    begin = clock.now
    timeline.append("watchdog_start")
    for number, took in enumerate((1000, 3000)):
        clock.now = begin + 100 + number * 100
        incident = "web-%d" % number
        timeline.append("failure", "web", incident, "liveness", {"failure_time": format_time(clock.now - 0.05 * (number + 1))})
        timeline.append("failure", "web", incident, "liveness", {"failure_time": format_time(clock.now - 9)})
        timeline.append("restart", "web", incident, data={"rung": "restart", "attempt": 1})
        timeline.append("restart", "web", incident, data={"rung": "restart", "attempt": 2, "previous": {"outcome": "window_over"}})
        timeline.append("recover", "web", incident, data={"recovery_duration_ms": took})
    timeline.append("failure", "db", "db-1", data={"failure_time": format_time(begin + 900)})
    timeline.append("redeploy", "db", "db-1", data={"rung": "redeploy"})
    timeline.append("page", "db", "db-1", data={"previous": {"outcome": "failed", "reason": "action_failed"}})
    timeline.append("blocked", "db", "db-1", data={"reason": "hold"})
    timeline.append("start", "api", "api-1", data={"rung": "restart"})
    clock.now = begin + 1000
    timeline.append("watchdog_stop")
    found = statistics(scan(str(tmp_path)))
    assert (found["from"], found["to"], found["events"]) == (format_time(begin), format_time(begin + 1000), 17)
    assert found["services"]["web"] == {
        "incidents": 2,
        "open": 0,
        "recovered": 2,
        "mttd_ms": {"count": 2, "median": 75, "p95": 100, "max": 100},
        "mttr_ms": {"count": 2, "median": 2000, "p95": 3000, "max": 3000},
        "mtbf_ms": 498000,
        "actions": {"restart": {"total": 4, "window_over": 2, "recovered": 2}},
        "pages": 0,
        "flaps": 0,
        "relapses": 0,
        "blocked": {},
        "availability": 0.996,
    }
    assert found["services"]["db"]["actions"] == {"redeploy": {"total": 1, "failed": 1}}
    assert (found["services"]["db"]["pages"], found["services"]["db"]["blocked"], found["services"]["db"]["open"]) == (1, {"hold": 1}, 1)
    assert found["services"]["db"]["availability"] == 0.9
    assert found["services"]["api"]["actions"] == {"restart": {"total": 1, "pending": 1}}
    assert json.dumps(found)


def at(minute, type, incident=None, **data):
    return {"type": type, "service": "web", "incident": incident, "timestamp": "2026-11-21T21:%02d:00.000Z" % minute, "data": data}


def test_an_incident_that_a_reboot_closed_is_open_no_more():
    """Another boot closes it, as the list of incidents says, too: the service was down until then, and not for ever after."""
    found = statistics([at(0, "note"), at(10, "failure", "a"), at(11, "restart", "a"), at(20, "state_reset", "a"), at(40, "note")])
    web = found["services"]["web"]
    assert (web["incidents"], web["open"], web["recovered"], web["availability"]) == (1, 0, 0, 0.75)
    assert web["actions"] == {"restart": {"total": 1, "unknown": 1}}
    assert statistics([at(0, "note"), at(10, "failure", "a"), at(20, "state_reset"), at(40, "note")])["services"]["web"]["open"] == 1


def test_incidents_that_overlap_are_not_down_twice():
    """A service is down once: what the next incident has ended adds nothing more when its own end comes late."""
    story = [at(0, "note"), at(10, "failure", "a"), at(20, "failure", "b"), at(30, "recover", "b", recovery_duration_ms=600_000)]
    late = at(31, "recover", "a", recovery_duration_ms=1_260_000)
    found = statistics([*story, late, late, at(40, "note")])["services"]["web"]
    assert (found["incidents"], found["open"], found["availability"]) == (2, 0, 0.5)


def test_a_clock_that_went_backwards_makes_no_negative_time():
    """Neither a span nor a share below nothing, nor above all."""
    found = statistics(
        [at(30, "note"), at(20, "failure", "a", failure_time="2026-11-21T21:50:00.000Z"), at(10, "failure", "b"), at(5, "note")]
    )
    web = found["services"]["web"]
    assert (web["incidents"], web["open"], web["mttd_ms"], web["mtbf_ms"]) == (2, 1, None, 150_000)
    assert web["availability"] == 0.2


@pytest.mark.parametrize("took", [float("nan"), float("inf"), 10**400, -1, True, "5", None, [5]])
def test_a_span_that_is_none_does_not_count(took):
    """A host may write anything: what no clock has measured is left out, and the rest is counted."""
    found = statistics(
        [at(0, "failure", "a"), at(1, "recover", "a", recovery_duration_ms=took), at(2, "failure", ["x"]), at(3, "restart", {})]
    )
    web = found["services"]["web"]
    assert (web["recovered"], web["mttr_ms"], web["open"]) == (1, None, 1)
    json.dumps(found, allow_nan=False)


def test_statistics_of_nothing():
    """No events, no numbers, no division by zero."""
    assert statistics([]) == {"from": None, "to": None, "events": 0, "services": {}}
    one = {"timestamp": "2026-11-21T21:03:38.123Z", "service": "web", "type": "note"}
    assert statistics([one])["services"]["web"]["availability"] is None


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("1970-01-01T00:00:00.000Z", 0.0),
        ("2026-11-21T21:03:38.123Z", 1795295018.123),
        ("2026-11-21 21:03:38Z", 1795295018.0),
        ("2026-11-21T22:03+01:00", 1795294980.0),
        ("2026-11-21T15:33:38.5-0530", 1795295018.5),
        ("1969-12-31T23:59:59.999Z", -0.001),
        ("9999-12-31T23:59:59.999Z", 253402300799.999),
    ],
)
def test_points_in_time_are_read(text, seconds):
    """ISO 8601 with its zone."""
    assert parse_time(text) == pytest.approx(seconds, abs=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-21",
        "2026-11-21T21:03:38",
        "2026-02-30T00:00:00Z",
        "2026-11-21T25:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "9999-12-31T23:59:59.9999Z",
        "0001-01-01T00:00:00+00:01",
        "12",
        12,
        None,
    ],
)
def test_what_is_no_point_in_time_is_refused(text):
    """Also one without a zone: nobody knows when that is; and one that could not be written again."""
    with pytest.raises(ValueError, match="no point in time"):
        parse_time(text)


@given(st.integers(-62135596800000, 253402300799999))
def test_times_survive_writing_and_reading(milliseconds):
    """Every millisecond of the years 1 to 9999 has its own text, and back."""
    text = format_time(milliseconds / 1000)
    assert (len(text), round(parse_time(text) * 1000)) == (24, milliseconds)


def test_the_compact_form():
    """For names of incidents and files."""
    assert compact(1795295018.1234) == "20261121T210338.123Z"


def test_spans_before_now():
    """90s, 30m, 24h, 7d, 2w and points in time."""
    spans = [("90s", 90), ("30m", 1800), ("24h", 86400), ("7d", 604800), ("2w", 1209600)]
    assert [1e9 - parse_since(text, 1e9) for text, _seconds in spans] == [seconds for _text, seconds in spans]
    assert parse_since("1970-01-01T00:00:01Z", 1e9) == 1.0
    assert format_time(parse_since("999999999w", 1e9)) == "0001-01-01T00:00:00.000Z", "a span beyond all time is all time"
    with pytest.raises(ValueError, match="24h"):
        parse_since("1 day", 1e9)


def test_the_head_of_nothing(tmp_path):
    """An empty or absent log has head 0 and zeros."""
    assert head(str(tmp_path)) == head(str(tmp_path / "x")) == Head(0, "0" * 64)

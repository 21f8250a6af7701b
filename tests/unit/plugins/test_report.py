# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a fleet: its numbers, its files, and that nothing a host says can run in a browser or a spreadsheet."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import pathlib
import re
from typing import Any

import pytest

from ansible_collections.faultline.selfheal.plugins.action import fleet_report
from ansible_collections.faultline.selfheal.plugins.module_utils._core.times import format_time
from ansible_collections.faultline.selfheal.plugins.module_utils._records.extract import extract
from ansible_collections.faultline.selfheal.plugins.module_utils._records.segments import Head
from ansible_collections.faultline.selfheal.plugins.module_utils._records.timeline import Timeline
from ansible_collections.faultline.selfheal.plugins.plugin_utils._incidents import Incident, Incidents, mark
from ansible_collections.faultline.selfheal.plugins.plugin_utils._mirror import Mirror, Told
from ansible_collections.faultline.selfheal.plugins.plugin_utils._report import Newest, rate, spans
from ansible_collections.faultline.selfheal.plugins.plugin_utils._report_files import Output

NOW = 1795294218.0


def write(root: pathlib.Path, host: str, story: list[tuple[float, str, str, str | None, dict[str, Any]]]) -> None:
    """A host's timeline, fetched: (seconds before NOW, type, service, incident, data)."""
    clock = [NOW]
    timeline = Timeline(str(root / "hosts" / host.replace("/", "_")), host, clock=lambda: clock[0])
    for ago, type, service, incident, data in story:
        clock[0] = NOW - ago
        timeline.append(type, service, incident, data=data)
    with Mirror(str(root / "mirror"), host, lambda: NOW) as mirror:
        mirror.fetch(lambda after: Told(*extract(timeline.directory, after)))


def ago(seconds: float) -> str:
    return format_time(NOW - seconds)


def incident(
    start: float, service: str = "web", took: float = 2.0, rung: str = "restart"
) -> list[tuple[float, str, str, str | None, dict[str, Any]]]:
    name = "%s-%d" % (service, start)
    end = {
        "failure_time": ago(start),
        "recovery_time": ago(start - took),
        "recovery_duration_ms": took * 1000,
        "rung": rung,
        "cause": "oom_killed",
    }
    return [
        (start - 0.1, "failure", service, name, {"failure_time": ago(start), "reason": "process_gone"}),
        (start - 0.2, rung, service, name, {"rung": rung, "attempt": 1, "reason": "process_gone"}),
        (start - 12, "recover", service, name, end),
    ]


def make(root: pathlib.Path, hosts: list[str], since: float = 86400, **more: Any) -> dict[str, Any]:
    options = {"mirror": str(root / "mirror"), "dest": str(root / "out"), "hosts": hosts, "unreached": {}, "title": "A fleet", **more}
    return fleet_report._make(options, NOW - since, NOW, False)


def read(root: pathlib.Path, name: str) -> str:
    return (root / "out" / name).read_text(encoding="utf-8")


def test_the_fleet_in_numbers(tmp_path: pathlib.Path) -> None:
    """Detection, recovery, success of rungs and availability over hosts, the same in the result and in the files."""
    write(tmp_path, "web1", incident(1000, took=2) + incident(500, took=4))
    write(
        tmp_path,
        "web2",
        incident(1000, took=6)
        + [(300, "failure", "db", "db-1", {"failure_time": ago(300)}), (200, "page", "db", "db-1", {"reason": "ladder_exhausted"})],
    )
    made = make(tmp_path, ["web1", "web2"])
    total = made["total"]
    assert (total["hosts"], total["incidents"], total["recovered"], total["open"], total["pages"]) == (2, 4, 3, 1, 1)
    assert total["mttr_ms"] == {"count": 3, "median": 4000, "p95": 6000, "max": 6000}
    assert (total["rungs"], total["chains"]) == ({"restart": {"total": 3, "recovered": 3, "rate": 1.0}}, {"intact": 2})
    # web was on record for 999.9 s on each of two hosts, and down for 12 s of it.
    assert made["services"]["web"]["availability"] == round(1 - 12 / (2 * 999.9), 6)
    data = json.loads(read(tmp_path, "report.json"))
    assert data["total"] == total
    assert [(each["host"], each["service"], each["outcome"], each["cause"]) for each in data["incidents"]] == [
        ("web2", "db", "open", ""),
        ("web1", "web", "recovered", "oom_killed"),
        ("web2", "web", "recovered", "oom_killed"),
        ("web1", "web", "recovered", "oom_killed"),
    ]
    rows = list(csv.DictReader(io.StringIO(read(tmp_path, "incidents.csv"))))
    assert [(row["host"], row["recovery_duration_ms"], row["steps"]) for row in rows if row["service"] == "web"][0] == (
        "web1",
        "2000",
        "restart",
    )
    assert [row["incidents"] for row in csv.DictReader(io.StringIO(read(tmp_path, "services.csv")))] == ["2", "1", "1"]


def test_what_is_older_than_the_period_does_not_count(tmp_path: pathlib.Path) -> None:
    """Since when is what was asked."""
    write(tmp_path, "web1", incident(5000) + incident(500))
    assert make(tmp_path, ["web1"], since=1000)["total"]["incidents"] == 1


@pytest.mark.parametrize("later", [[], [(600, "restart", "web", "web-1", {"rung": "restart"}), (300, "note", "web", None, {})]])
def test_what_was_down_before_the_period_and_is_still_is_not_well(tmp_path: pathlib.Path, later: list[Any]) -> None:
    """It counts as open, and as down from the period's begin on, though its failure is older, and also when nothing more was said of it."""
    write(tmp_path, "web1", [*incident(9000), (5000, "failure", "web", "web-1", {"failure_time": ago(5001), "reason": "gone"}), *later])
    write(
        tmp_path, "web2", [(5000, "failure", "web", "web-1", {}), (4000, "state_reset", "web", "web-1", {}), (300, "note", "web", None, {})]
    )
    total = make(tmp_path, ["web1", "web2"], since=1000)["total"]
    assert (total["incidents"], total["open"], total["mttd_ms"]) == (1, 1, None)
    assert total["availability"] == round(1 - 1000 / 1300, 6)
    assert "1 incident is open: <bdi>web on web1</bdi>" in read(tmp_path, "index.html")
    [row] = csv.DictReader(io.StringIO(read(tmp_path, "incidents.csv")))
    assert (row["failure_time"], row["detected_ms"], row["outcome"]) == (ago(5001), "1000", "open")


def test_what_was_down_before_the_period_and_came_back_in_it_was_down_till_then(tmp_path: pathlib.Path) -> None:
    """Of an outage that reaches into the period, only what lies in it makes the service less available."""
    end = {"failure_time": ago(5000), "recovery_time": ago(600), "recovery_duration_ms": 4_400_000}
    write(tmp_path, "web1", [(5000, "failure", "web", "web-1", {}), (590, "recover", "web", "web-1", end)])
    total = make(tmp_path, ["web1"], since=1000)["total"]
    assert (total["incidents"], total["open"], total["recovered"]) == (1, 0, 1)
    assert total["availability"] == 0.6


def test_a_host_that_was_not_reached_is_reported_on_from_what_is_kept(tmp_path: pathlib.Path) -> None:
    """Its line says why; a host of which nothing is known has a line, too."""
    write(tmp_path, "web1", incident(500))
    made = make(tmp_path, ["web1", "web2"], unreached={"web1": "timed out <b>", "web2": "no route"})
    assert (made["total"]["unreached"], made["total"]["chains"], made["total"]["incidents"]) == (2, {"intact": 1, "unknown": 1}, 1)
    assert "timed out &lt;b&gt;" in read(tmp_path, "index.html")


def test_no_host_makes_an_empty_report(tmp_path: pathlib.Path) -> None:
    """An empty list is a report of nothing, with no division by zero."""
    assert make(tmp_path, [])["total"]["hosts"] == 0
    assert "no service is on record" in read(tmp_path, "index.html")


def test_a_tampered_timeline_is_named(tmp_path: pathlib.Path) -> None:
    """What the mirror found is said of the host, and counted."""
    write(tmp_path, "web1", incident(500))
    with Mirror(str(tmp_path / "mirror"), "web1", lambda: NOW) as mirror:
        mirror.note_broken({"seq": 2, "path": "x", "line": 2, "problem": "altered"})
    made = make(tmp_path, ["web1"])
    assert (made["tampered"], made["total"]["chains"]) == (["web1"], {"tampered": 1})


def test_an_incident_without_an_end_is_over_when_the_next_begins() -> None:
    """A service has one incident at a time; the host rebooted, or its state was lost."""
    told: list[Incident] = []
    story = Incidents("web1", told.append)
    for at, name in ((100.0, "a"), (200.0, "b")):
        story.add({"type": "failure", "service": "web", "incident": name, "data": {"failure_time": format_time(at)}}, at)
    story.add({"type": "page_resolved", "service": "web", "incident": "z"}, 300.0)
    story.close()
    assert [(each.name, each.outcome, each.ended) for each in told] == [("a", "closed", 200.0), ("b", "open", None)]


@pytest.mark.parametrize(
    "counts, expected",
    [
        ({"total": 4, "recovered": 3, "failed": 1}, 0.75),
        ({"total": 2, "recovered": 1, "pending": 1}, 1.0),
        ({"total": 1, "pending": 1}, None),
        ({}, None),
    ],
)
def test_a_rung_is_judged_by_what_is_known_of_it(counts: dict[str, int], expected: float | None) -> None:
    """An action under way neither helped nor failed yet."""
    assert rate(counts)["rate"] == expected


def test_a_file_is_replaced_when_it_is_complete_and_not_otherwise(tmp_path: pathlib.Path) -> None:
    """A report that fails in the middle leaves the one of last time, and no litter."""
    (tmp_path / "x").write_text("old")
    with pytest.raises(ValueError), Output(str(tmp_path / "x")) as file:
        file.write("half")
        raise ValueError
    assert (os.listdir(tmp_path), (tmp_path / "x").read_text()) == (["x"], "old")
    with Output(str(tmp_path / "x")) as file:
        file.write("new")
    assert ((tmp_path / "x").read_text(), re.sub(r".*(...)$", r"\1", oct((tmp_path / "x").stat().st_mode))) == ("new", "640")


SCHEMA = pathlib.Path(__file__).resolve().parents[3] / "docs" / "report.schema.json"


def test_the_json_is_what_its_schema_says(tmp_path: pathlib.Path) -> None:
    """docs/report.schema.json knows every key there is, and no report has another."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    write(tmp_path, "web1", [*incident(500), (90, "hold", "web", None, {"owner": "kim", "reason": "patching"})])
    write(tmp_path, "web2", [(90, "failure", "db", "db-1", {"failure_time": ago(90)}), (80, "blocked", "db", "db-1", {"reason": "hold"})])
    with Mirror(str(tmp_path / "mirror"), "web1", lambda: NOW) as mirror:
        mirror.note_broken({"seq": 2, "path": "x", "line": 2, "problem": "altered"})
    for hosts in ([], ["web1", "web2", "web3"]):
        make(tmp_path, hosts, unreached={"web3": "no route"})
        data = json.loads(read(tmp_path, "report.json"))
        jsonschema.validate(data, schema)
        assert {len(each) for each in (data["hosts"], data["marks"])} == {len(hosts), len(hosts[:1])}
    data["total"]["new"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema)


def test_a_report_is_compared_line_by_line(tmp_path: pathlib.Path) -> None:
    """Each incident and each host has a line of the JSON."""
    write(tmp_path, "web1", incident(500) + incident(300))
    make(tmp_path, ["web1"])
    assert sum(line.startswith('{"host":"web1","service":"web"') for line in read(tmp_path, "report.json").splitlines()) == 2


@pytest.mark.parametrize(
    "type, data, expected",
    [
        ("deployment_phase", {"phase": "active", "release": "20261121"}, "20261121: active"),
        ("deployment_phase", {"phase": "building", "release": "20261121"}, None),
        ("hold", {"owner": "kim", "reason": "patching"}, "kim: patching"),
        ("note", {"text": "x" * 999}, "x" * 160),
        ("watchdog_start", None, ""),
        ("recover", {"detail": "x"}, None),
    ],
)
def test_what_is_shown_beside_incidents(type: str, data: Any, expected: str | None) -> None:
    """What people and deployments did, in a few words; not what belongs to an incident anyway."""
    made = mark("web1", {"type": type, "service": "web", "data": data}, 5.0)
    assert (None if made is None else made.detail) == expected


def test_recoveries_by_their_length() -> None:
    """Each counts once, by the first limit that it does not exceed."""
    counts = {each["up_to_ms"]: each["count"] for each in spans([0, 100, 101, 1_800_000, 1_800_001])}
    assert {limit: count for limit, count in counts.items() if count} == {100: 2, 300: 1, 1_800_000: 1, None: 1}


def test_only_the_newest_are_kept_and_all_are_counted() -> None:
    """In whatever order they come."""
    newest = Newest(2)
    for at in (3.0, 9.0, 1.0, 5.0):
        newest.add(at, Incident("web1", "web", str(at), at))
    assert ([each.failed for each in newest.all()], newest.count) == ([9.0, 5.0], 4)


def test_a_host_that_writes_in_another_form_hides_nothing(tmp_path: pathlib.Path) -> None:
    """Its lines are looked into, and what is older than the period still does not count."""
    lines, previous = [], "0" * 64
    for seq, (when, type) in enumerate(((5000, "page"), (500, "failure"), (400, "page")), 1):
        event = {"seq": seq, "host": "x" * 80, "timestamp": ago(when), "service": "web", "type": type, "incident": "i-%d" % when}
        lines.append(json.dumps({**event, "previous": previous}).encode())
        previous = hashlib.sha256(lines[-1]).hexdigest()
    with Mirror(str(tmp_path / "mirror"), "web1", lambda: NOW) as mirror:
        mirror.fetch(lambda after: Told(True, lines, Head(3, previous), False))
    total = make(tmp_path, ["web1"], since=1000)["total"]
    assert (total["incidents"], total["pages"], total["events"]) == (1, 1, 2)

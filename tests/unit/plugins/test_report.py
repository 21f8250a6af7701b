# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a fleet: its numbers, its files, and that nothing a host says can run in a browser or a spreadsheet."""

from __future__ import annotations

import base64
import csv
import hashlib
import html.parser
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
from ansible_collections.faultline.selfheal.plugins.module_utils._records.timeline import Timeline
from ansible_collections.faultline.selfheal.plugins.plugin_utils._mirror import Mirror, Told
from ansible_collections.faultline.selfheal.plugins.plugin_utils._report import Incident, Incidents, rate
from ansible_collections.faultline.selfheal.plugins.plugin_utils._report_files import Output, cell, span

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


class Page(html.parser.HTMLParser):
    """Which elements there are, and what the scripts and the policy say."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.policy = ""
        self.scripts: list[str] = []
        self.outside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        found = dict(attrs)
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(found["content"])
        self.outside += ["%s %s" % (tag, key) for key in found if key in ("src", "href", "action") or key.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        self.elements.append("/" + tag)

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1] == "script":
            self.scripts.append(data)


HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)>{{data}}"'


def test_nothing_a_host_says_runs_in_a_browser(tmp_path: pathlib.Path) -> None:
    """Names and reasons from hosts are text; the policy lets the page's own script run and no other; nothing is loaded from outside."""
    write(
        tmp_path,
        "web1",
        [
            (9, "failure", HOSTILE[:200], "i-1", {"failure_time": ago(10), "reason": HOSTILE}),
            (8, "blocked", HOSTILE[:200], "i-1", {"reason": HOSTILE}),
        ],
    )
    make(tmp_path, ["web1"], title=HOSTILE)
    page = Page(read(tmp_path, "index.html"))
    assert page.elements.count("script") == 2
    assert ("img" in page.elements, page.outside) == (False, [])
    checksum = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert "script-src 'sha256-%s'" % checksum in page.policy
    assert json.loads(page.scripts[0])["lanes"][0][1] == HOSTILE[:200]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_nothing_a_host_says_runs_in_a_spreadsheet(text: str) -> None:
    """A cell that would be a formula is text."""
    assert (cell(text), cell("web"), cell(-1)) == ("'" + text, "web", -1)


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


@pytest.mark.parametrize(
    "milliseconds, text",
    [(None, "–"), (0, "0 ms"), (999, "999 ms"), (1000, "1.0 s"), (90_000, "1.5 min"), (7_200_000, "2.0 h"), (259_200_000, "3.0 d")],
)
def test_spans_as_people_read_them(milliseconds: float | None, text: str) -> None:
    """From milliseconds to days."""
    assert span(milliseconds) == text


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

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that was taken over may write any JSON into its timeline: the fleet has its report all the same, and nothing of it runs."""

from __future__ import annotations

import csv
import hashlib
import html.parser
import io
import json
import pathlib
import tempfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.faultline.selfheal.plugins.action import fleet_report
from ansible_collections.faultline.selfheal.plugins.module_utils._records.segments import Head
from ansible_collections.faultline.selfheal.plugins.plugin_utils._mirror import Mirror, Told

NOW = 1795294218.0
SCRIPT = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>"
TEXTS = ["web", "=cmd|' /C calc'!A0", "+1", "-1", "@x", "\t=1", "a\r\n=1;=2", SCRIPT, "{{data}}", "\u202eevil\u2066", "\ud800", "__proto__",
         "", "x" * 1000]  # fmt: skip
TIMES = ["2026-11-21T10:00:00.000Z", "2026-11-21T10:00:05.000Z", "2026-11-21T09:00:00.000Z", "2026-11-19T10:00:00.000Z",
         "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00Z", "soon"]  # fmt: skip
NUMBERS = [0, 1500, -5, 0.25, 10**400, -(10**400), 1e308, float("inf"), float("-inf"), float("nan"), True]
TYPES = ["failure", "start", "restart", "recover", "page", "blocked", "failover", "state_reset", "note", "hold", "deployment_phase",
         "fault_inject", "page_resolved"]  # fmt: skip


def write(root: pathlib.Path, host: str, events: list[dict[str, Any]]) -> None:
    """Keep a host's timeline: an unbroken chain of whatever these say."""
    lines, previous = [], "0" * 64
    for seq, event in enumerate(events, 1):
        lines.append(json.dumps({**event, "seq": seq, "previous": previous}).encode())
        previous = hashlib.sha256(lines[-1]).hexdigest()
    with Mirror(str(root / "mirror"), host, lambda: NOW) as mirror:
        mirror.fetch(lambda after: Told(True, lines, Head(len(lines), previous), False))


def _refuse(word: str) -> Any:
    raise AssertionError("%s is no JSON" % word)


class Page(html.parser.HTMLParser):
    """What would run or be loaded, what the page's data are, and whether what was opened was closed."""

    VOID = frozenset(("meta", "input", "br"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.data = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _value in attrs if name.startswith("on") or name == "src"], attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script" and not self.data:
            self.data = data


def sound(root: pathlib.Path, *hosts: str) -> dict[str, Any]:
    """Make the report of these hosts, and look at every file as its reader would. Gives the JSON back."""
    options = {"mirror": str(root / "mirror"), "dest": str(root / "out"), "hosts": list(hosts), "unreached": {}, "title": "A fleet"}
    fleet_report._make(options, NOW - 86400, NOW, False)
    texts = {path.name: path.read_bytes().decode("utf-8") for path in (root / "out").iterdir()}
    for name in ("incidents.csv", "services.csv"):
        rows = list(csv.reader(io.StringIO(texts[name], newline="")))
        assert len({len(row) for row in rows}) == 1, name
        for value in (value for row in rows[1:] for value in row):
            number = value.lstrip("-").replace(".", "", 1).isdigit()
            assert number or value.strip()[:1] not in ("=", "+", "-", "@") and "\n" not in value, (name, value)
    page = Page(texts["index.html"])
    assert (page.open, page.tags.count("script"), "img" in page.tags) == ([], 2, False)
    json.loads(page.data, parse_constant=_refuse)
    found: dict[str, Any] = json.loads(texts["report.json"], parse_constant=_refuse)
    return found


_texts, _times, _numbers = st.sampled_from(TEXTS), st.sampled_from(TIMES), st.sampled_from(NUMBERS)
_any = st.recursive(
    st.one_of(st.none(), _texts, _times, _numbers),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(_texts, inner, max_size=2)),
    max_leaves=4,
)
_previous = st.fixed_dictionaries({}, optional={"outcome": _any, "reason": _any})
_said = {"failure_time": _times, "recovery_time": _times, "recovery_duration_ms": _numbers, "reason": _texts, "rung": _texts,
         "cause": _texts, "previous": _previous, "continues": _texts, "phase": st.just("active"), "release": _numbers, "text": _texts,
         "detail": _texts}  # fmt: skip
_data = st.one_of(_any, st.fixed_dictionaries({}, optional={name: st.one_of(its, _any) for name, its in _said.items()}))
_event = st.fixed_dictionaries(
    {},
    optional={
        "timestamp": st.one_of(_times, _times, _any),
        "service": st.one_of(_texts, _any),
        "incident": st.one_of(st.sampled_from(["a", "b"]), _any),
        "type": st.one_of(st.sampled_from(TYPES), st.sampled_from(TYPES), _any),
        "host": _any,
        "source": _any,
        "data": _data,
    },
)


@settings(max_examples=80)
@given(st.lists(_event, max_size=6))
def test_whatever_a_host_has_written_the_fleet_has_a_report(events: list[dict[str, Any]]) -> None:
    """JSON that is JSON, tables without formulas and of one width, a page with its own scripts and no others; never an exception."""
    with tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder), "web1", events)
        total = sound(pathlib.Path(folder), "web1")["total"]
    assert total["availability"] is None or 0 <= total["availability"] <= 1


AT = {"timestamp": "2026-11-21T10:00:00.000Z", "service": "web", "incident": "a"}
WRONG = [
    ("a duration beyond all numbers", {**AT, "type": "recover", "data": {"recovery_duration_ms": 10**400}}),
    ("an endless duration", {**AT, "type": "recover", "data": {"recovery_duration_ms": float("inf")}}),
    ("no number", {**AT, "type": "recover", "data": {"recovery_duration_ms": float("nan")}}),
    ("a list for an incident", {**AT, "type": "failure", "incident": ["a"]}),
    ("a mapping for a type", {**AT, "type": {"failure": 1}}),
    ("a time that no clock shows", {**AT, "timestamp": "9999-12-31T23:59:59-23:59", "type": "note"}),
    ("a failure at such a time", {**AT, "type": "failure", "data": {"failure_time": "9999-12-31T23:59:59-23:59"}}),
    ("no field at all", {}),
]


@pytest.mark.parametrize("event", [row[1] for row in WRONG], ids=[row[0] for row in WRONG])
def test_one_host_does_not_spoil_the_report_of_the_others(tmp_path: pathlib.Path, event: dict[str, Any]) -> None:
    """What it says wrongly is left out; the other hosts are reported on as ever."""
    write(tmp_path, "web1", [event])
    story = {"failure": {"failure_time": AT["timestamp"]}, "recover": {"recovery_duration_ms": 2000}}
    write(tmp_path, "web2", [{**AT, "type": type, "data": data} for type, data in story.items()])
    found = sound(tmp_path, "web1", "web2")
    assert [each["recovery_duration_ms"] for each in found["incidents"] if each["host"] == "web2"] == [2000]
    assert found["total"]["mttr_ms"] == {"count": 1, "median": 2000, "p95": 2000, "max": 2000}


def test_a_host_without_events_and_no_host(tmp_path: pathlib.Path) -> None:
    """Both have a page that is whole."""
    write(tmp_path, "web1", [])
    assert [each["chain"] for each in sound(tmp_path, "web1")["hosts"]] == ["unknown"]
    assert sound(tmp_path)["hosts"] == []

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's page and tables: nothing that a host says can run in a browser or a spreadsheet, and numbers are shown as they are."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re

import pytest

from ansible_collections.faultline.selfheal.plugins.module_utils._core.guards import GUARDS
from ansible_collections.faultline.selfheal.plugins.module_utils._core.reasons import Reason
from ansible_collections.faultline.selfheal.plugins.plugin_utils._incidents import Incident
from ansible_collections.faultline.selfheal.plugins.plugin_utils._report import BUCKETS, Fleet, as_data
from ansible_collections.faultline.selfheal.plugins.plugin_utils._report_files import cell, incident_row
from ansible_collections.faultline.selfheal.plugins.plugin_utils._report_page import WHY, _counts, _percent, _verdict, page, plain, span

NOW = 1795294218.0


class Page(html.parser.HTMLParser):
    """Which elements there are, and what the scripts and the policy say."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.policy = ""
        self.scripts: list[str] = []
        self.style = ""
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
        elif self.elements and self.elements[-1] == "style":
            self.style = data


def made(title: str, *incidents: Incident) -> Page:
    """The page of a fleet that has these incidents."""
    fleet = Fleet(NOW - 86400, NOW, lambda incident: None)
    for each in incidents:
        fleet._over(each)
    return Page(page(as_data(fleet, NOW, title), fleet))


HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)>{{data}}"'


def test_nothing_a_host_says_runs_in_a_browser() -> None:
    """Names and reasons from hosts are text; the policy lets the page's own script and style count and no others; nothing is loaded."""
    shown = made(HOSTILE, Incident("web1", HOSTILE, HOSTILE, NOW - 10, reason=HOSTILE, cause=HOSTILE, paged=HOSTILE))
    assert shown.elements.count("script") == 2
    assert ("img" in shown.elements, shown.outside) == (False, ["a href"])
    for text in (shown.scripts[-1], shown.style):
        assert "'sha256-%s'" % base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in shown.policy
    assert (shown.policy.count("sha256-"), "unsafe" in shown.policy) == (2, False)
    data = json.loads(shown.scripts[0])
    assert (data["lanes"][0][1], HOSTILE in data["words"]) == (HOSTILE, True)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("web", "web"),
        ("a\nb\0", "a\\nb\\x00"),
        ("\u202eevil", "\\u202eevil"),
        ("\u062e\u062f\u0645\u0629", "\u062e\u062f\u0645\u0629"),
        ("\ud800", "\\ud800"),
        ("x" * 999, "x" * 399 + "\u2026"),
    ],
)
def test_what_cannot_be_printed_is_seen(text: str, expected: str) -> None:
    """Line breaks and signs that turn the direction of writing are shown, and have no effect."""
    assert plain(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "' =1"),
        ("  =1", "'  =1"),
        ("\uff1d1", "'\uff1d1"),
        ("a;=cmd|' /C calc'!A0", "a;'=cmd|' /C calc'!A0"),
        ("a\n=1", "a =1"),
        ("a\r\n;@x", "a  ;'@x"),
        ("web", "web"),
        ("a=b", "a=b"),
    ],
)
def test_nothing_a_host_says_runs_in_a_spreadsheet(text: str, expected: str) -> None:
    """A cell that would be a formula is text, also where another sign parts the cells; numbers stay numbers."""
    assert (cell(text), cell(-1)) == (expected, -1)
    assert incident_row(Incident("h", text, "i", NOW))[1] == expected


def host(name: str, chain: str = "intact", note: str = "") -> dict[str, str]:
    return {"host": name, "chain": chain, "note": note}


@pytest.mark.parametrize(
    "hosts, still, mood, told",
    [
        ([], 0, "warn", ["The selection of hosts was empty."]),
        ([host("a")], 0, "good", ["No incident is open, every host was reached, and every timeline is what it was."]),
        ([host("a")], 1, "bad", ["1 incident is open: web on h0"]),
        ([host("a", "gap"), host("b")], 0, "warn", ["1 timeline lost events before they were fetched: a"]),
        (
            [host("a", "tampered"), host("b", "tampered"), host("c", "unknown", "no route"), host("<d>", "unknown")],
            0,
            "bad",
            [
                "2 timelines are not what they were: a, b",
                "1 host was not reached, what is known of it is older: c",
                "1 host has recorded nothing: &lt;d&gt;",
            ],
        ),
        ([host("a")], 14, "bad", ["14 incidents are open: %s and 2 more" % ", ".join("web on h%d" % each for each in range(12))]),
    ],
)
def test_on_top_stands_what_somebody_should_look_at(hosts: list[dict[str, str]], still: int, mood: str, told: list[str]) -> None:
    """The worst first, with names; and that all is well only where it is."""
    incidents = [{"service": "web", "host": "h%d" % each, "outcome": "open"} for each in range(still)]
    found, _headline, text = _verdict({"hosts": hosts, "incidents": incidents, "total": {"open": still}})
    lines = [line for line in re.sub(r"</?(bdi|ul|li|p)>", "", text).splitlines() if line]
    assert (found, lines) == (mood, told)


def test_every_reason_of_a_guard_is_put_in_words() -> None:
    """What was not done, and why: whatever guard it was."""
    assert {reason for reason, _guard in GUARDS} - WHY.keys() == set()
    assert all(isinstance(reason, Reason) and words for reason, words in WHY.items())


def test_the_picture_counts_every_incident() -> None:
    """Few parts of the period as pairs, many as a list of all; the script tells them apart by their length."""
    few, many = {3: 2, 200: 1}, dict.fromkeys(range(100), 1)
    assert (_counts(few), _counts({})) == ([3, 2, 200, 1], [])
    assert (len(_counts(many)), sum(_counts(many))) == (BUCKETS, 100)
    assert len(_counts(dict.fromkeys(range(BUCKETS // 3), 1))) < BUCKETS


@pytest.mark.parametrize(
    "share, digits, text", [(1.0, 3, "100.000 %"), (0.9999999, 3, "99.999 %"), (0.5, 1, "50.0 %"), (None, 1, "–"), (0.0, 1, "0.0 %")]
)
def test_almost_always_is_not_always(share: float | None, digits: int, text: str) -> None:
    """Rounding makes no 100 % of an outage."""
    assert _percent(share, digits) == text


@pytest.mark.parametrize(
    "milliseconds, text",
    [(None, "–"), (0, "0 ms"), (999, "999 ms"), (1000, "1.0 s"), (90_000, "1.5 min"), (7_200_000, "2.0 h"), (259_200_000, "3.0 d")],
)
def test_spans_as_people_read_them(milliseconds: float | None, text: str) -> None:
    """From milliseconds to days."""
    assert span(milliseconds) == text

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status page: what it shows, that nothing becomes markup, and that everybody can read it. The browser looks in tests/system."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import re
from typing import Any, Dict, List, Optional, Tuple

import pytest
from daemon_stage import Stage

from selfheal._engine.ports import Held
from selfheal.daemon import page
from selfheal.daemon.http import Request, render
from selfheal.daemon.stories import Stories

VOID = ("meta", "br")
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=y>',
    "</table></main>",
    "&lt;b&gt;",
    "{{7*7}}",
    "a\u202eb",
    "a\x00b\x1b[31m",
    "x" * 5000,
]


class Outline(html.parser.HTMLParser):
    """Every element with its parents, and the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: List[str] = []
        self.found: List[Tuple[str, Dict[str, Optional[str]], Tuple[str, ...]]] = []
        self.texts: List[Tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: List[Tuple[str, Optional[str]]]) -> None:
        self.found.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, "</%s> closes %s" % (tag, self.open)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> List[Dict[str, Optional[str]]]:
        return [attrs for name, attrs, _parents in self.found if name == tag]


def staged() -> Stage:
    stage = Stage("web", "db", "stopped", "held")
    stage.run(12)
    stage.world.bodies["web"].results["liveness"] = "bad"
    stage.world.bodies["db"].results["liveness"] = "slow"
    stage.world.bodies["stopped"].stopped = True
    stage.world.bodies["stopped"].ends(stage.host)
    stage.world.desk.holds["held"] = Held("held by ada: fire")
    stage.run(90)
    return stage


def test_it_shows_what_people_ask_first() -> None:
    """Services with state, rung and why; the last incidents and their steps; breakers; holds; the timeline's head."""
    text = staged().get("/")[1]
    for words in (
        "web is unhealthy (incident web-",
        "restart 1, restart 2, restart 3",
        "ladder exhausted",
        "held by ada: fire",
        "Timeline head 7",
    ):
        assert words in text, words
    assert text.index("web is unhealthy") < text.index("db is degraded"), "the worst comes first"
    assert [title for tag, title in Outline(text).texts if tag == "h2"] == ["Services", "Last incidents", "Breakers", "Holds"]


def test_nothing_becomes_markup_or_turns_the_text_around() -> None:
    """C52 hostile names and words, from services, probes, people and contracts: shown as what they are, and cut where they never end."""
    stage = staged()
    plain = [tag for tag, _attrs, _parents in Outline(page.render(stage.board.summary(), stage.board.services()).decode()).found]
    for words in HOSTILE:
        summary, services = stage.board.summary(), stage.board.services()
        for each in services:
            each.update(name=words, sentence=words, held=words if each["held"] else None, rung=words if each["rung"] else None)
        summary.update(host=words, sentence=words, version=words)
        raw = page.render(summary, services).decode()
        outline = Outline(raw)
        assert [tag for tag, _attrs, _parents in outline.found] == plain and outline.open == []
        assert all(c.isprintable() or c == "\n" for c in raw) and len(raw) < 60000


def test_no_script_no_foreign_asset_and_a_style_the_browser_knows() -> None:
    """Readable without script; nothing is loaded from anywhere; the policy allows this one style and nothing else."""
    stage = staged()
    raw = stage.endpoints.answer(Request("GET", "/", {}, {}))
    outline = Outline(raw.body.decode())
    assert not {"script", "img", "link", "iframe", "object", "form"} & {tag for tag, _attrs, _parents in outline.found}
    assert not [key for _tag, attrs, _parents in outline.found for key in attrs if key in ("src", "style") or key.startswith("on")]
    assert [attrs["href"] for attrs in outline.all("a")] == ["/?refresh=10"]
    assert base64.b64encode(hashlib.sha256(page.STYLE.encode()).digest()).decode() == page.STYLE_HASH
    (style,) = [text for tag, text in outline.texts if tag == "style"]
    assert style == page.STYLE
    head = render(raw, False).decode()
    assert "default-src 'none'; style-src 'sha256-%s'; frame-ancestors 'none'" % page.STYLE_HASH in head and "unsafe" not in head


def test_it_is_put_together_so_that_everybody_can_read_it() -> None:
    """Language, title, landmarks, heading order, header cells with a scope, and what scrolls can be reached with the keyboard."""
    text = staged().get("/")[1]
    outline = Outline(text)
    assert outline.all("html") == [{"lang": "en"}] and "<title>h1: unhealthy</title>" in text
    assert len(outline.all("main")) == len(outline.all("h1")) == 1
    levels = [int(tag[1]) for tag, _attrs, _parents in outline.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    assert all(attrs.get("scope") in ("col", "row") for attrs in outline.all("th"))
    regions = [attrs for attrs in outline.all("div") if attrs.get("class") == "scroll"]
    ids = [attrs["id"] for _tag, attrs, _parents in outline.found if "id" in attrs]
    assert len(ids) == len(set(ids)) and all(each["tabindex"] == "0" and each["aria-labelledby"] in ids for each in regions)
    assert not outline.all("meta")[2:], "it does not load itself again unless somebody asks for it"


def _shine(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255.0 for at in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_every_colour_stands_out(mode: int) -> None:
    """WCAG 2.2 AA: 4.5 to 1 for every colour that text has, light and dark."""
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", page.STYLE.split("@media")[mode]))
    assert {"back", "text", "well", "bad", "odd", "calm", "link"} <= set(colours)
    for name in set(colours) - {"back", "line"}:
        bright, dark = sorted((_shine(colours[name]), _shine(colours["back"])), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, name


REFRESH = [
    ({}, None),
    ({"refresh": "10"}, "10"),
    ({"refresh": "0"}, "2"),
    ({"refresh": "-1"}, None),
    ({"refresh": "x"}, None),
    ({"refresh": "9" * 9}, None),
]


@pytest.mark.parametrize(("query", "seconds"), REFRESH)
def test_it_loads_again_only_where_somebody_asks_for_it(query: Dict[str, str], seconds: Optional[str]) -> None:
    """WCAG 2.2.1: a page that changes under its reader is a choice, with a way back."""
    text = staged().get("/", **query)[1]
    assert ('http-equiv="refresh" content="%s"' % seconds in text) is (seconds is not None)
    assert ("Stop loading again" in text) is (seconds is not None)


def told(*events: Tuple[str, str, Optional[str], Dict[str, Any]]) -> List[Dict[str, Any]]:
    stories = Stories(3)
    for type, incident, service, data in events:
        stories.take({"type": type, "incident": incident, "service": service, "source": "watchdog", "timestamp": "t", "data": data})
    return stories.newest()


def test_only_the_newest_incidents_are_kept_and_open_ones_longest() -> None:
    """Memory does not grow with incidents; one that is still open is not forgotten for one that is over."""
    found = told(
        ("failure", "a", "web", {"reason": "gone"}),
        *[each for name in "bcdef" for each in (("failure", name, "web", {}), ("recover", name, "web", {"recovery_duration_ms": 5}))],
    )
    assert [(each["incident"], each["outcome"]) for each in found] == [("a", "open"), ("e", "recovered"), ("f", "recovered")]


def test_a_storm_that_was_told_to_be_over_is_over() -> None:
    """C37 a storm has no recover of its own: its page_resolved ends it."""
    (storm,) = told(("page", "storm-1", None, {"reason": "storm"}), ("page_resolved", "storm-1", None, {"reason": "storm"}))
    assert (storm["outcome"], storm["paged"]) == ("recovered", "storm")

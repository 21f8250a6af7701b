# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's page in a real browser: read, zoomed, filtered, by mouse and by keys alone, light and dark, wide and on a phone.

The pictures stay in tests/output, for people.
"""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Iterator

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from browser import Browser, axe_source, install_browser
from report_story import DAY, Story, incident

OUTPUT = pathlib.Path(__file__).resolve().parents[1] / "output"
HOSTILE = "</script><img src=x onerror=alert(1)>\"'\u202eevil\n=cmd|calc"
ARABIC = "\u062e\u062f\u0645\u0629"
"""A word that is written from right to left."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Three hosts with some of everything: healed, paged, open, blocked, marks beside, hostile names."""
    story = Story(tmp_path_factory.mktemp("fleet"))
    story.host(
        "web1",
        [
            *incident(6 * DAY, "web", 2.0),
            *incident(3 * DAY, "web", 400.0),
            (3 * DAY - 350, "page", "web", "web-%d" % (3 * DAY), {"reason": "ladder_exhausted"}),
            (3 * DAY - 2, "blocked", "web", "web-%d" % (3 * DAY), {"reason": "hold"}),
            *incident(2 * DAY, "db", 30.0),
            (3 * DAY + 60, "deployment_phase", "web", None, {"phase": "active", "release": "20261118210000"}),
            (5 * DAY, "watchdog_start", None, None, {"version": "0.1.0"}),
        ],
    )
    story.host("web2", [*incident(4 * DAY, "web", 1.0), *incident(4000, "web", None)])
    story.host("odd", [*incident(DAY, HOSTILE[:200], 5.0, detail=HOSTILE), *incident(DAY / 2, ARABIC, 5.0)])
    return story.page(unreached={"web2": "timed out\n<b>"})


@pytest.fixture(scope="module")
def program() -> str:
    found = install_browser()
    if found is None:
        pytest.skip("needs chromium: root and apt-get would install it, or CHROMIUM names one")
    return found


@pytest.fixture
def browser(program: str, tmp_path: pathlib.Path) -> Iterator[Browser]:
    with Browser(program, str(tmp_path / "browser")) as browser:
        yield browser


def show(browser: Browser, page: pathlib.Path, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
    browser.window(width, height, scheme)
    browser.open(page.as_uri())
    browser.until("document.documentElement.dataset.ready")


def said(browser: Browser) -> str:
    """What the page says of the incidents that are shown, once it has come to rest."""
    browser.tell("new Promise(done => setTimeout(done, 250))")
    text: str = browser.tell("document.getElementById('said').textContent")
    return text


def rows(browser: Browser) -> list[list[str]]:
    found: list[list[str]] = browser.tell(
        "[...document.querySelectorAll('#list tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width, height", [(1280, 900), (390, 844)], ids=["wide", "phone"])
def test_nobody_is_shut_out(browser: Browser, page: pathlib.Path, scheme: str, width: int, height: int) -> None:
    """axe-core, all rules, contrast among them: no violation; nothing but tables is wider than the window; nothing is refused."""
    source = axe_source()
    if source is None:
        pytest.skip("needs the Python package axe-core-python, which carries axe.min.js (tests/requirements-test.txt)")
    show(browser, page, width, height, scheme)
    browser.tell("document.getElementById('picture').focus()")
    browser.press("n")
    browser.tell("document.getElementById('beside').open = true")
    OUTPUT.mkdir(exist_ok=True)
    browser.picture(OUTPUT / ("report-%s-%d.png" % (scheme, width)), whole=True)
    assert browser.tell("document.documentElement.scrollWidth") == width
    found = browser.axe(source)
    assert found["violations"] == [] and found["passes"] >= 30
    assert browser.complaints == []


def test_nothing_a_host_says_runs(browser: Browser, page: pathlib.Path) -> None:
    """Names with scripts, line breaks and turned writing are shown as they are, in the tables, the list and the story; nothing runs."""
    show(browser, page)
    browser.tell("document.getElementById('words').focus()")
    browser.press(*"odd")
    shown = [row[2] for row in rows(browser)]
    assert (shown[0], shown[1].startswith("</script><img src=x"), "\\u202eevil\\n=cmd" in shown[1]) == (ARABIC, True, True)
    browser.tell("document.querySelectorAll('#list button')[1].click()")
    assert "onerror=alert(1)" in browser.tell("document.getElementById('h-story').textContent")
    assert browser.tell("document.querySelectorAll('img').length") == 0
    assert "timed out\\n<b>" in browser.tell("document.getElementById('hosts').textContent")
    assert browser.complaints == []


def test_it_is_used_with_keys_alone(browser: Browser, page: pathlib.Path) -> None:
    """Tab leads through filter and zoom to the picture; its keys zoom, move, choose and go back; what is chosen is said."""
    show(browser, page)
    reached = []
    for _press in range(14):
        browser.press("Tab")
        reached.append(browser.tell("document.activeElement.id || document.activeElement.dataset.do || document.activeElement.className"))
        if reached[-1] == "picture":
            break
    assert reached == ["skip", "words", "outcome", "order", "in", "out", "left", "right", "all", "picture"]
    assert said(browser).startswith("7 incidents in 6 lanes")
    browser.press("+", "+", "+")
    assert said(browser).startswith("0 incidents in 6 lanes, 2026-11-17")
    browser.press("Escape")
    assert said(browser).startswith("7 incidents")
    browser.press("+", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft")
    assert said(browser).startswith("2 incidents in 6 lanes, 2026-11-14")
    browser.press("Home", "n")
    assert "web on web1: recovered in 2.0 s" in browser.tell("document.getElementById('h-story').textContent")
    browser.press("n", "n", "Enter")
    assert "a person was called in 6.7 min" in browser.tell("document.getElementById('h-story').textContent")
    assert said(browser).startswith("1 incident in 6 lanes, 2026-11-18")
    browser.press("p")
    assert "web on web2: recovered in 1.0 s" in browser.tell("document.getElementById('h-story').textContent")
    browser.press("Escape", "Escape")
    assert browser.tell("document.getElementById('story').hidden")
    assert said(browser).startswith("7 incidents")
    browser.press("Tab")
    assert browser.tell("document.activeElement.getAttribute('aria-label')").startswith("Incidents of the span")
    marks = "[...document.querySelectorAll('#marks tr')].map(row => [...row.cells].slice(1).map(cell => cell.textContent))"
    deployed, started = ["web1", "web", "deployment phase", "20261118210000: active"], ["web1", "", "watchdog start", ""]
    assert browser.tell(marks) == [deployed, started]
    browser.tell("document.getElementById('picture').focus()")
    browser.press("+", "+", "+")
    said(browser)
    assert browser.tell(marks) == [] and browser.tell("document.getElementById('beside').hidden")


def test_it_is_filtered(browser: Browser, page: pathlib.Path) -> None:
    """By words, by outcome, and by the name of a service or host in a table; what matches nothing is said to be nothing."""
    show(browser, page)
    browser.tell("document.getElementById('words').focus()")
    browser.press(*"db")
    assert [(row[1], row[2]) for row in rows(browser)] == [("web1", "db")]
    browser.press(*"nothing")
    assert said(browser).startswith("0 incidents in 0 lanes")
    browser.tell("document.querySelector('[data-only=service] button').click()")
    assert browser.tell("document.getElementById('words').value") == "service:web"
    assert {row[2] for row in rows(browser)} == {"web"}
    browser.tell("document.getElementById('outcome').value = 'open'")
    browser.tell("document.getElementById('outcome').dispatchEvent(new Event('change'))")
    assert [(row[1], row[3]) for row in rows(browser)] == [("web2", "open")]


def test_it_is_used_with_a_mouse(browser: Browser, page: pathlib.Path) -> None:
    """The wheel zooms with Ctrl and leaves the page's own scrolling alone without; dragging moves; a click tells the story; a drag on the
    strip above chooses a span."""
    show(browser, page)
    browser.tell("document.getElementById('picture').scrollIntoView({block: 'center'})")
    box = json.loads(browser.tell("JSON.stringify(document.getElementById('picture').getBoundingClientRect())"))
    x, y = box["x"] + box["width"] * 0.6, box["y"] + 14
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-100, modifiers=2)
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-100, modifiers=2)
    zoomed = said(browser)
    assert not zoomed.startswith("7 incidents") and " 2026-11-14" not in zoomed
    browser.drag(x, y, x + 300)
    assert said(browser) != zoomed
    browser.press("Tab")
    browser.tell("document.querySelector('[data-do=all]').click()")
    strip = json.loads(browser.tell("JSON.stringify(document.getElementById('overview').getBoundingClientRect())"))
    browser.drag(strip["right"] - 2, strip["y"] + 20, strip["right"] - strip["width"] * 0.1)
    assert said(browser).startswith("2 incidents in 6 lanes, 2026-11-20")
    browser.tell("document.querySelector('[data-do=all]').click()")
    browser.tell("document.querySelector('#list button').click()")
    assert browser.tell("document.activeElement.id") == "h-story"
    browser.press("Escape")
    assert browser.tell("document.getElementById('story').hidden")


def test_tables_are_sorted(browser: Browser, page: pathlib.Path) -> None:
    """A click on a heading sorts by it, numbers as numbers, and says so; a second one turns it round."""
    show(browser, page)
    names = "[...document.querySelectorAll('#h-services ~ .box tbody th')].map(each => each.textContent)"
    press = "[...document.querySelectorAll('#h-services ~ .box thead button')].find(each => each.textContent === 'Open').click()"
    browser.tell(press)
    assert browser.tell(names)[0] == "web"
    assert browser.tell("document.querySelector('#h-services ~ .box [aria-sort]').getAttribute('aria-sort')") == "descending"
    browser.tell(press)
    assert browser.tell(names)[-1] == "web"


@pytest.mark.parametrize("hosts", [0, 1])
def test_few_hosts_are_shown_well(browser: Browser, tmp_path: pathlib.Path, hosts: int) -> None:
    """No host, and one of which nothing failed: the page says so and nothing breaks."""
    story = Story(tmp_path)
    for number in range(hosts):
        story.host("calm%d" % number, [(60, "watchdog_start", None, None, {"version": "0.1.0"})])
    show(browser, story.page())
    OUTPUT.mkdir(exist_ok=True)
    browser.picture(OUTPUT / ("report-of-%d.png" % hosts), whole=True)
    heading = browser.tell("document.getElementById('h-verdict').textContent")
    assert heading == ("All is well" if hosts else "No host is in this report")
    browser.tell("document.getElementById('picture').focus()")
    browser.press("n", "p", "Enter", "+", "ArrowDown", "ArrowUp", "Escape")
    assert said(browser).startswith("0 incidents in %d lane" % hosts)
    assert browser.tell("getComputedStyle(document.getElementById('more')).display") == "none"
    assert browser.complaints == []


def test_it_is_read_without_its_script(browser: Browser, page: pathlib.Path) -> None:
    """Numbers, services and hosts are there for whoever runs no scripts, and the place of the picture says where else to look."""
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    browser.window(1280, 900)
    browser.open(page.as_uri())
    text = browser.ask("DOM.getOuterHTML", nodeId=browser.ask("DOM.getDocument")["root"]["nodeId"])["outerHTML"]
    assert "need this page's own script" in text
    assert "web1" in text and "ladder_exhausted" not in text.split('id="data"')[0]

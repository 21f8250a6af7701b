# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status page of the real daemon in a real browser, light and dark: its style is taken, nothing is refused, axe-core finds nothing.

The pictures stay in tests/output, for people.
"""

from __future__ import annotations

import json
import pathlib
import re
import struct
import subprocess
import sys
import zlib
from typing import Any, List

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from browser import axe_source, install_browser

OUTPUT = pathlib.Path(__file__).resolve().parents[1] / "output"
SCHEMES = {"light": (255, 255, 255), "dark": (20, 23, 27)}
AXE = """
<script>%s</script><script>
axe.run().then(found => { const out = document.createElement("pre"); out.id = "axe";
  out.textContent = JSON.stringify({passes: found.passes.length, violations: found.violations.map(
    each => ({id: each.id, impact: each.impact, nodes: each.nodes.map(node => node.html)}))}); document.body.append(out); });
</script></body>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    """Debian's chromium; installed where this is root's machine and it is missing."""
    found = install_browser()
    if found is None:
        pytest.skip("needs chromium: root and apt-get would install it, or CHROMIUM names one")
    return found


def look(browser: str, home: pathlib.Path, scheme: str, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,1000", "--no-first-run"]
    argv += ["--user-data-dir=%s" % (home / "browser"), "--enable-logging=stderr", "--virtual-time-budget=20000"]
    argv.append("--blink-settings=preferredColorScheme=%d" % (0 if scheme == "dark" else 1))
    done = subprocess.run([*argv, *options, url], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def first_pixel(path: pathlib.Path) -> Any:
    """Red, green and blue of the upper left corner of a PNG; whatever its filter, the first pixel stands as it is."""
    data, at, packed = path.read_bytes(), 8, b""
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += length + 12
    return tuple(zlib.decompressobj().decompress(packed, 4)[1:4])


@pytest.fixture
def shown(bed: Any) -> str:
    """A watchdog with something to show: one service that fails and is held, one that is well."""
    failing = bed.service("web", ladder=[{"rung": "page"}], fallback={"command": {"argv_open": ["/bin/true"], "argv_close": ["/bin/true"]}})
    bed.contracts(failing, bed.service("db"))
    bed.watch()
    bed.healthy("web", "db")
    (bed.home("web") / "bad").touch()
    bed.event("page")
    bed.run("hold", "db", "--reason", '<b>a drill</b> & "more"')
    bed.until(lambda: "drill" in bed.get("/")[1], 10, "the hold is shown")
    return "http://127.0.0.1:%d/" % bed.port


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_is_shown_in_a_real_browser(browser: str, shown: str, tmp_path: pathlib.Path, scheme: str) -> None:
    """The background is that of the scheme: so the style passed the page's own policy; the browser refuses and misses nothing."""
    OUTPUT.mkdir(exist_ok=True)
    picture = OUTPUT / ("status-page-%s.png" % scheme)
    done = look(browser, tmp_path, scheme, shown, "--screenshot=%s" % picture)
    assert SCHEMES[scheme] == first_pixel(picture)
    complaints: List[str] = [line for line in done.stderr.splitlines() if ":CONSOLE" in line or "Refused to" in line]
    assert complaints == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_nobody_is_shut_out(bed: Any, browser: str, shown: str, tmp_path: pathlib.Path, scheme: str) -> None:
    """axe-core, all rules: no violation, light and dark."""
    axe = axe_source()
    if axe is None:
        pytest.skip("needs the Python package axe-core-python, which carries axe.min.js (tests/requirements-test.txt)")
    copy = tmp_path / "page.html"
    copy.write_text(bed.get("/")[1].replace("</body>", AXE % axe.replace("</script", "<\\/script")))
    done = look(browser, tmp_path, scheme, copy.as_uri(), "--dump-dom")
    match = re.search(r'<pre id="axe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match is not None, done.stdout[-500:]
    found = json.loads(match.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert found["violations"] == [] and found["passes"] >= 15

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium that is spoken to over two pipes (its DevTools protocol): real keys, a real mouse, windows of any size.

What is evaluated runs beside a page's policy, not under it, so a page needs no change to be looked into.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import pathlib
import select
import shutil
import subprocess
import time
from typing import Any, Dict, List, Optional

KEYS = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    " ": (32, " "),
    "End": (35, ""),
    "Home": (36, ""),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
}
"""Keys that are more than their letter: their number, and what they write."""
PATIENCE = 60.0


def find_browser() -> Optional[str]:
    """Debian's chromium, or what CHROMIUM names."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def install_browser() -> Optional[str]:
    """The same; installed where this is root's machine and it is missing. Raises RuntimeError when that fails, saying why."""
    found = find_browser()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        # Another test may be about the same: who comes second waits, and then has nothing to do.
        install = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "install", "-y", "-q", "--no-install-recommends", "chromium"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(install, capture_output=True, text=True, timeout=900, check=False, env=environment)
        found = find_browser()
        if found is None:
            raise RuntimeError("apt-get installed no chromium: %s" % done.stderr[-2000:])
    return found


def axe_source() -> Optional[str]:
    """axe-core, of the Python package axe-core-python."""
    package = importlib.util.find_spec("axe_core_python")
    if package is None or package.origin is None:
        return None
    return (pathlib.Path(package.origin).parent / "axe.min.js").read_text(encoding="utf-8")


class Browser:
    """One browser with one page. Use it as a context. `complaints`: what its console said of errors and refusals."""

    def __init__(self, program: str, home: str) -> None:
        self.complaints: List[str] = []
        self._argv = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        self._argv += ["--user-data-dir=%s" % home, "--remote-debugging-pipe", "--hide-scrollbars", "about:blank"]
        self._number = 0
        self._session = ""
        self._pending = b""
        self._events: List[Dict[str, Any]] = []

    def __enter__(self) -> Browser:
        # It reads from descriptor 3 and writes to 4.
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        shell = 'exec "$@" 3<&%d 4>&%d' % (theirs_in, theirs_out)
        self._child = subprocess.Popen(
            ["/bin/bash", "-c", shell, "bash", *self._argv], pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        pages = [each for each in self.ask("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        self._session = self.ask("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(domain + ".enable")
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._out)
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        os.close(self._in)

    # -- the protocol

    def ask(self, method: str, **params: Any) -> Any:
        """One command; its result. Raises RuntimeError for what the browser refuses."""
        self._number += 1
        number = self._number
        message: Dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self._next(deadline)
            if found.get("id") == number:
                if "error" in found:
                    raise RuntimeError("%s: %s" % (method, found["error"].get("message")))
                return found["result"]
            self._heard(found)

    def _next(self, deadline: float) -> Dict[str, Any]:
        while b"\0" not in self._pending:
            ready = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))[0]
            block = os.read(self._in, 1 << 20) if ready else b""
            if not block:
                raise RuntimeError("the browser %s" % ("ended" if ready else "said nothing for %g s" % PATIENCE))
            self._pending += block
        line, _zero, self._pending = self._pending.partition(b"\0")
        message: Dict[str, Any] = json.loads(line)
        return message

    def _heard(self, message: Dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:500])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append("a dialog: %s" % params["message"])
        elif method is not None:
            self._events.append(message)

    def _until(self, method: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            for index, event in enumerate(self._events):
                if event["method"] == method:
                    del self._events[: index + 1]
                    return
            self._heard(self._next(deadline))

    # -- what people do

    def window(self, width: int, height: int, scheme: str = "light", still: bool = True) -> None:
        """A window of that size, in CSS pixels; `scheme`: light or dark."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        features += [{"name": "prefers-reduced-motion", "value": "reduce"}] if still else []
        self.ask("Emulation.setEmulatedMedia", features=features)

    def open(self, address: str) -> None:
        """Go there, until it is loaded."""
        self._events = []
        self.ask("Page.navigate", url=address)
        self._until("Page.loadEventFired")

    def tell(self, expression: str) -> Any:
        """What an expression, or a promise, comes to. Raises RuntimeError when it throws."""
        found = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError("%s: %s" % (expression[:80], json.dumps(found["exceptionDetails"])[:500]))
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait for an expression to be true."""
        self.tell(
            "new Promise((done, not) => { const end = performance.now() + 20000, look = () => (%s) ? done(true) : "
            "performance.now() > end ? not(new Error('it did not come true')) : setTimeout(look, 20); look(); })" % expression
        )

    def first_paint(self) -> float:
        """Seconds from the navigation's beginning until something was to be read."""
        painted = "performance.getEntriesByName('first-contentful-paint')"
        self.until("%s.length" % painted)
        return float(self.tell("%s[0].startTime" % painted)) / 1000

    def press(self, *keys: str, shift: bool = False) -> None:
        """Press keys, one after the other."""
        for key in keys:
            code, text = KEYS.get(key, (ord(key.upper()[0]), key))
            event = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
            self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
            self.ask("Input.dispatchKeyEvent", type="keyUp", **event)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """kind: mousePressed, mouseMoved, mouseReleased or mouseWheel."""
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x: float, y: float, count: int = 1) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=count, buttons=1 if kind == "mousePressed" else 0)

    def drag(self, x: float, y: float, to: float) -> None:
        """From one place to another on the same height."""
        self.mouse("mousePressed", x, y, button="left", clickCount=1, buttons=1)
        for part in (0.5, 1.0):
            self.mouse("mouseMoved", x + (to - x) * part, y, button="left", buttons=1)
        self.mouse("mouseReleased", to, y, button="left", clickCount=1)

    def picture(self, path: pathlib.Path, whole: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def axe(self, source: str) -> Dict[str, Any]:
        """axe-core, all rules: {passes, violations: [{id, nodes}]}."""
        self.tell(source + "; null")
        found: Dict[str, Any] = self.tell(
            "axe.run().then(found => ({passes: found.passes.length, violations: found.violations.map("
            "each => ({id: each.id, nodes: each.nodes.map(node => node.html + ' ' + node.failureSummary)}))}))"
        )
        return found


__all__ = ["Browser", "axe_source", "find_browser", "install_browser"]

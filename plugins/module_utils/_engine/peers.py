# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the other instances of a service whether they are ready, when it matters: before this one is restarted or drained."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Optional, Tuple

from .._host import Handle, Host, Step

TIMEOUT = 4.0
AGAIN = 5.0
"""While an action waits for peers they are asked every so many seconds."""


class Peers:
    """`prober(url)` makes the step that asks one peer. A peer that did not answer well is not ready."""

    def __init__(self, urls: Tuple[str, ...], host: Host, prober: Callable[[str], Step], healer: Any) -> None:
        self.healer = healer
        self.urls = urls
        self.wake = math.inf
        self.news = False
        self._host = host
        self._prober = prober
        self._flying: Dict[str, Handle] = {}
        self._ready: Dict[str, bool] = {}
        self._asked_at = -math.inf

    def ask(self, now: float) -> None:
        """Ask all of them once, unless that is under way."""
        if not self.urls:
            return
        self.wake = now + AGAIN
        if self._flying:
            return
        self._asked_at = now
        for url in self.urls:
            handle = self._host.start(self._prober(url), now + TIMEOUT, self)
            handle.tag = url
            self._flying[url] = handle

    def forget(self) -> None:
        """What they answered in an earlier incident says nothing any more."""
        self._ready.clear()

    @property
    def unheard(self) -> bool:
        """Is one of them being asked that has not answered in this incident yet?"""
        return any(url not in self._ready for url in self._flying)

    def turn(self, now: float) -> None:
        if now >= self.wake:
            self.ask(now)

    def rest(self) -> None:
        """Nothing waits for them any more."""
        self.wake = math.inf

    def ended(self, handle: Handle) -> None:
        self._flying.pop(handle.tag, None)
        self._ready[handle.tag] = handle.outcome is not None and handle.outcome.status == "ok"
        self.news = True

    def asked_since(self, at: float) -> bool:
        """Have all answered a question put at `at` or later?"""
        return not self.urls or (self._asked_at >= at and not self._flying)

    def missing(self, needed: int) -> Optional[str]:
        """Why this instance must not stop serving, or None."""
        ready = sum(1 for url in self.urls if self._ready.get(url))
        if not self.urls or ready >= needed:
            return None
        return "%d of %d peers are ready, %d must be" % (ready, len(self.urls), needed)

    def stop(self) -> None:
        for handle in self._flying.values():
            self._host.cancel(handle)
        self._flying.clear()


__all__ = ["Peers"]

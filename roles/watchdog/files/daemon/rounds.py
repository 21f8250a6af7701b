# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as the daemon turns it: one healer's fault costs only its own service, and only for a while.

A healer that raises is let go and made anew from its saved state after a pause: 1 s, 2 s, 4 s … up to a minute, as long as it keeps
breaking. What it had begun outside goes on; an attempt is never repeated.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from .._core.model import Service
from .._engine.engine import Engine
from .._engine.healer import Healer
from .._probes.engine import LocalHost

LONGEST_PAUSE = 60.0
FORGOTTEN_AFTER = 600.0
"""Seconds without a fault after which a healer's faults are forgotten."""


class Broken(NamedTuple):
    """A service whose healer broke: how often in a row, when the last time, when it is made anew."""

    service: Service
    faults: int
    at: float
    again: float
    problem: str


class Rounds(Engine):
    """`build(service)` makes a healer; `broke(broken)` is told of every fault.

    `seen(healer)` is called after each turn of a healer. `work` is how long the last cycle worked, in seconds, waiting not counted.
    """

    def __init__(
        self, host: LocalHost, build: Callable[[Service], Healer], broke: Callable[[Broken], None], seen: Callable[[Healer], None]
    ) -> None:
        super().__init__(host)
        self.broken: Dict[str, Broken] = {}
        self.work = 0.0
        self._build = build
        self._broke = broke
        self._seen = seen
        self._past: Dict[str, Broken] = {}

    @property
    def wake(self) -> float:
        return min(super().wake, min((each.again for each in self.broken.values()), default=math.inf))

    def begin(self, service: Service) -> None:
        """Begin to watch a service."""
        healer: Optional[Healer] = None
        try:
            healer = self._build(service)
            self.add(healer)
        except Exception as error:  # one contract's fault must not keep the others unwatched
            self._fault(service, healer, error)

    def leave(self, name: str) -> None:
        """Stop watching a service; it goes on running."""
        self.broken.pop(name, None)
        self._past.pop(name, None)
        healer = self.find(name)
        if healer is not None:
            self._let_go(healer)

    def find(self, name: str) -> Optional[Healer]:
        return next((healer for healer in self.healers if healer.name == name), None)

    def spin(self, until: float) -> None:
        """One cycle: wait for news, and let everybody concerned or due have a turn."""
        handles = self.host.poll(min(self.wake, until))
        began = self.host.monotonic()
        for handle in handles:
            owner = handle.owner
            if owner is None:
                continue
            try:
                owner.ended(handle)
                owner.healer.wake = -math.inf
            except Exception as error:  # see the theory above
                self._blame(owner.healer, error)
        self.turn()
        self.work = self.host.monotonic() - began

    def turn(self) -> None:
        now = self.host.monotonic()
        for broken in [each for each in self.broken.values() if each.again <= now]:
            del self.broken[broken.service.name]
            self.begin(broken.service)
        for healer in list(self.healers):
            if healer.wake <= now:
                try:
                    healer.turn(now)
                    self._seen(healer)
                except Exception as error:  # see the theory above
                    self._blame(healer, error)
        for companion in self.companions:
            companion.turn(now)

    def _blame(self, healer: Any, error: Exception) -> None:
        if not isinstance(healer, Healer) or healer not in self.healers:
            raise error
        self._fault(healer.service, healer, error)

    def _fault(self, service: Service, healer: Optional[Healer], error: Exception) -> None:
        now = self.host.monotonic()
        before = self._past.get(service.name)
        faults = before.faults + 1 if before is not None and now - before.at < FORGOTTEN_AFTER else 1
        problem = "%s: %s%s" % (type(error).__name__, error, _where(error))
        if healer is not None and healer in self.healers:
            problem += self._let_go(healer)
        pause = min(LONGEST_PAUSE, 2.0 ** min(faults - 1, 10))
        self.broken[service.name] = self._past[service.name] = broken = Broken(service, faults, now, now + pause, problem)
        self._broke(broken)

    def _let_go(self, healer: Healer) -> str:
        self.healers.remove(healer)
        try:
            healer.stop()
        except Exception as error:  # it is broken already; what matters is that it is gone, and that this is told
            return "; letting it go: %s: %s" % (type(error).__name__, error)
        return ""


def _where(error: BaseException) -> str:
    places: List[str] = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append("%s:%d" % (code.co_filename.rpartition("/")[2], trace.tb_lineno))
        trace = trace.tb_next
    return " (%s)" % " < ".join(places[:-4:-1]) if places else ""


__all__ = ["Broken", "Rounds"]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings what people say of breakers to the healers it concerns, within a second. A host with nothing to force is never woken for it."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Optional, Tuple

from .._core.errors import RecordError
from .._records.breakers import Breakers

LOOK_EVERY = 1.0

_Key = Tuple[str, Optional[str]]


class ForcedBreakers:
    """Shared by all healers of a host. `concerned`: those that are nudged when something was said. `wake`: when it next wants a turn."""

    def __init__(self, breakers: Breakers) -> None:
        self.concerned: List[Any] = []
        self.wake = -math.inf
        self.problem: Optional[str] = None
        """Why what was said cannot be known, if it cannot."""
        self._breakers = breakers
        self._version: Optional[Tuple[int, int]] = None
        self._said: Dict[_Key, str] = {}

    @property
    def healer(self) -> ForcedBreakers:
        return self

    def turn(self, now: float) -> None:
        """Look whether anything was said since."""
        if now < self.wake:
            return
        self.wake = now + LOOK_EVERY if self.concerned else math.inf
        if self.concerned and self._read():
            for healer in self.concerned:
                healer.nudge()

    def join(self, healer: Any) -> None:
        """A healer with a breaker of its own, or with dependencies."""
        self.concerned.append(healer)
        self.wake = -math.inf
        self._read()

    def leave(self, healer: Any) -> None:
        if healer in self.concerned:
            self.concerned.remove(healer)

    def to(self, service: str, dependency: Optional[str] = None) -> Optional[str]:
        """open, disabled, closed, or None: left to itself."""
        return self._said.get((service, dependency))

    def done(self, service: str, dependency: Optional[str]) -> None:
        """It was closed, which is done once."""
        self._said.pop((service, dependency), None)
        try:
            self._breakers.lift(service, dependency)
        except RecordError as error:
            self.problem = str(error)

    def _read(self) -> bool:
        version = self._breakers.version()
        if version == self._version:
            return False
        try:
            self._said = {(each.service, each.dependency): each.to for each in self._breakers.list()}
        except RecordError as error:
            self.problem = str(error)  # what was known goes on, and it is tried again
            return False
        self._version, self.problem = version, None
        return True


__all__ = ["ForcedBreakers", "LOOK_EVERY"]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a script says of breakers, and of what is used instead of a dependency."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Optional, Tuple

from .._actuators.base import Timed, Work
from .._core.reasons import Reason
from .._core.scenario import Entry
from .._host import Outcome
from .forced import ForcedBreakers
from .traffic import Fallback
from .world import VirtualStep

SAYS = {"open": "open", "close": "closed", "disable": "disabled", "auto": None}
"""The words of ``selfheal breaker``, and what a breaker is forced to by them."""


class ScriptedBreakers(ForcedBreakers):
    """What the script has people say, known at once. It stays while the watchdog is away, as the files do on a host."""

    def __init__(self) -> None:
        self.concerned: List[Any] = []
        self.wake = math.inf
        self.problem: Optional[str] = None
        self._said: Dict[Tuple[str, Optional[str]], str] = {}

    def turn(self, now: float) -> None:
        """There is no file to look at."""

    def join(self, healer: Any) -> None:
        self.concerned.append(healer)

    def done(self, service: str, dependency: Optional[str]) -> None:
        self._said.pop((service, dependency), None)

    def say(self, service: str, dependency: Optional[str], word: str) -> None:
        """One of `SAYS`."""
        to = SAYS[word]
        if to is None:
            self._said.pop((service, dependency), None)
        else:
            self._said[service, dependency] = to


class ScriptedDetour(Fallback):
    """Moves of what is used instead of a dependency: as the script says of it; where it says nothing they succeed at once. A move to
    it that fails finds nothing there: nothing moves.

    says: by ``service/dependency``. name: this one's.
    """

    def __init__(self, says: Dict[str, Entry], name: str) -> None:
        self._says = says
        self._name = name

    def able(self) -> Work[Outcome]:
        entry = self._says.get(self._name)
        if entry is None or entry.result == "ok":
            return Outcome("ok")
        return (yield from self._move(Reason.NO_BACKUP))

    def open(self) -> Work[Outcome]:
        return self._move(Reason.NO_BACKUP)

    def close(self) -> Work[Outcome]:
        return self._move(Reason.ACTION_FAILED)

    def _move(self, failing: Reason) -> Work[Outcome]:
        entry = self._says.get(self._name)
        if entry is None:
            return Outcome("ok")
        outcome = yield Timed(_Detour(entry, failing), math.inf)
        return outcome


class _Detour(VirtualStep):
    """One such move, and why it fails where it does."""

    def __init__(self, entry: Entry, failing: Reason) -> None:
        self._entry = entry
        self._failing = failing

    def plan(self, now: float, deadline: float) -> Tuple[float, Optional[Outcome]]:
        if self._entry.result == "ok":
            return now + self._entry.takes, Outcome("ok")
        return now + self._entry.takes, Outcome("bad", self._failing, "scripted: %s" % self._entry.result)


__all__ = ["SAYS", "ScriptedBreakers", "ScriptedDetour"]

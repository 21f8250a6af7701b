# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is used instead of a dependency while its breaker is not closed: opening applies the fallback, closing reverts it."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple

from .._core.guards import Facts
from .._core.reasons import Reason
from .._host import Host
from .dependency import DependencyWatch
from .traffic import Fallback, Traffic

AS_USUAL = frozenset(("closed", "disabled"))
"""States of a breaker in which the dependency itself is used."""


class DependencyTraffic(Traffic):
    """As `Traffic`, led by a breaker instead of an incident. `place` is kept with the breaker in the service's state file."""

    def __init__(
        self, watch: DependencyWatch, fallback: Optional[Fallback], host: Host, healer: Any, say: Callable[[str, Dict[str, Any]], None]
    ) -> None:
        name = watch.rules.name
        super().__init__(fallback, host, healer, lambda type, data: say(type, {"dependency": name, **data}))
        self.watch = watch
        self.place = "primary"

    @property
    def where(self) -> str:
        return self.place

    def _remember(self, where: str) -> None:
        self.place = where
        self.healer.remember(self.healer.memory)

    def _wanted(self, facts: Facts, now: float) -> Tuple[str, str, Optional[float]]:
        state = self.watch.state
        if str(state.state) in AS_USUAL:
            return "primary", str(state.cause or Reason.HEALED), None
        return "backup", str(state.cause or Reason.DEPENDENCY_DOWN), None

    def _forbidden(self, facts: Facts, target: str) -> Optional[Tuple[Reason, str]]:
        # Whether this instance is the last one says nothing about where its dependency is looked for.
        return super()._forbidden(facts, "primary")

    def _known(self, reason: Reason) -> bool:
        return False


__all__ = ["DependencyTraffic"]

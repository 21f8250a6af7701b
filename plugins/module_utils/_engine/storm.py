# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many services failing at once have one cause, and it is none of theirs: restarts wait, and one page goes out."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Set

from .._core.model import Storm
from .._core.times import compact
from .ports import Records


class StormWatch:
    """Shared by all healers of a host. It lasts until fewer of those that began it are failing than would begin one."""

    def __init__(self, rules: Storm, total: Callable[[], int], records: Records, wall_offset: Callable[[], float]) -> None:
        self._rules = rules
        self._total = total
        self._records = records
        self._wall_offset = wall_offset
        self._failing: Dict[str, float] = {}
        self._members: Set[str] = set()
        self.incident: Optional[str] = None
        """The storm under way."""
        self.concerned: List[Any] = []
        """The healers that are nudged when it ends."""

    def failing(self, service: str, now: float) -> None:
        """An incident of `service` has opened."""
        self._failing[service] = now
        recent = {name for name, at in self._failing.items() if at > now - self._rules.window}
        if self._members:
            self._members.add(service)
        elif self._enough(len(recent)):
            self._members = recent
            data = {"reason": "storm", "detail": self._words(), "services": sorted(recent)}
            self.incident = "storm-%s" % compact(now + self._wall_offset())
            self._records.record("page", None, self.incident, data=data)

    def over(self, service: str) -> None:
        """Its incident is closed."""
        self._failing.pop(service, None)
        self._members.discard(service)
        if self._members and not self._enough(len(self._members)):
            self._members = set()
            self._records.record("page_resolved", None, self.incident, data={"reason": "storm"})
            self.incident = None
            for healer in self.concerned:
                healer.nudge()

    def text(self, service: str) -> Optional[str]:
        """Why `service` must wait, or None."""
        return self._words() if self._members else None

    def _enough(self, count: int) -> bool:
        return count >= self._rules.services and count * 100.0 >= self._rules.percent * max(1, self._total())

    def _words(self) -> str:
        return "%d of %d services of this host failed within %g s" % (len(self._members), self._total(), self._rules.window)


__all__ = ["StormWatch"]

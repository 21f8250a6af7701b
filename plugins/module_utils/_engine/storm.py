# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many services failing at once have one cause, and it is none of theirs: restarts wait, and one page goes out."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Set

from .._core.errors import RecordError
from .._core.model import Storm
from .._core.times import compact
from .._records.pages import Pages
from .ports import Records


def lasting_storm(spool: Pages) -> Optional[str]:
    """The storm that a person was told of and that is not over."""
    try:
        pages = spool.others(())
    except RecordError:
        return None  # told once too often is better than not at all
    return next((page.incident for page in pages if page.closed is None and page.incident.startswith("storm-")), None)


def _none() -> Optional[str]:
    return None


class StormWatch:
    """Shared by all healers of a host. It lasts until fewer of those that began it are failing than would begin one.

    lasting: the storm that a person was told of before this process began, and that nobody has called over.
    """

    def __init__(
        self,
        rules: Storm,
        total: Callable[[], int],
        records: Records,
        wall_offset: Callable[[], float],
        lasting: Callable[[], Optional[str]] = _none,
    ) -> None:
        self._rules = rules
        self._total = total
        self._records = records
        self._wall_offset = wall_offset
        self._lasting = lasting
        self._failing: Dict[str, float] = {}
        self._taken_up = False
        self._began = 0.0
        self._members: Set[str] = set()
        self.incident: Optional[str] = None
        """The storm under way."""
        self.concerned: List[Any] = []
        """The healers that are nudged when it ends."""

    def failing(self, service: str, at: float, again: bool = False) -> None:
        """An incident of `service` has opened at `at`, or one that had was taken up again: then it is no news that it fails, and how many
        services there are is known only when all of them were begun."""
        self._failing[service] = at
        if again:
            self._taken_up = True
        elif self._members:
            self._members.add(service)
        else:
            self._judge(at)

    def _judge(self, at: float, again: bool = False) -> None:
        """Did a storm begin at `at`?"""
        began = at - self._rules.window
        recent = {name for name, opened in self._failing.items() if began < opened <= at}
        if not self._enough(len(recent)):
            return
        self._began = began
        self._members = recent
        lasting = self._lasting() if again else None
        self.incident = lasting or "storm-%s" % compact(at + self._wall_offset())
        if lasting is None:
            data = {"reason": "storm", "detail": self._words(), "services": sorted(recent)}
            self._records.record("page", None, self.incident, data=data)

    def _recollect(self) -> None:
        """What was taken up, by when it had opened."""
        self._taken_up = False
        for at in sorted(self._failing.values()):
            if not self._members:
                self._judge(at, again=True)
        if self._members:
            self._members.update(name for name, at in self._failing.items() if at > self._began)

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
        if self._taken_up:
            self._recollect()
        return self._words() if self._members else None

    def _enough(self, count: int) -> bool:
        return count >= self._rules.services and count * 100.0 >= self._rules.percent * max(1, self._total())

    def _words(self) -> str:
        return "%d of %d services of this host failed within %g s" % (len(self._members), self._total(), self._rules.window)


__all__ = ["StormWatch", "lasting_storm"]

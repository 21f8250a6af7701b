# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One page under delivery: what each of its targets is to be told next, and when."""

from __future__ import annotations

import math
import zlib
from typing import Callable, List, Optional, Sequence, Tuple

from .._core import pages as core
from .._core.model import Notify
from .._host import Handle
from .._records.pages import Page, Told

REPEAT_EVERY = 60.0
"""An Alertmanager hears of an open alert this often; it forgets one after `LASTS`."""
REMIND_EVERY = 14400.0
"""A person who has not acknowledged is reminded this often."""
GIVE_UP_AFTER = 3600.0
"""Seconds after the incident's end during which delivery is still tried."""


class Task:
    """One target. kind: what is, or was last, under way: page, repeat, reminder or resolved. Times are monotonic seconds."""

    def __init__(self, told: Told, name: str, remind_at: float) -> None:
        self.told = told
        self.name = name
        self.kind = ""
        self.handle: Optional[Handle] = None
        self.tries = 0
        self.gone = False
        self.give_up = math.inf
        self._next_at = -math.inf
        self._repeat_at = -math.inf
        self._remind_at = remind_at

    def owes(self, page: Page) -> bool:
        """Is there news that this target should have and has not?"""
        return not self.told.over and (self.told.delivered is None or page.closed is not None)

    def next(
        self, page: Page, now: float, superseded: Callable[[Page], bool], acknowledged: Callable[[], bool]
    ) -> Tuple[Optional[str], float]:
        """What to say next and when, ``give_up`` when its time is over, or None when there is nothing."""
        told = self.told
        if told.over:
            return None, math.inf
        if told.delivered is None and self.gone:
            told.over = True
            return None, math.inf
        if self.owes(page):
            if now >= self.give_up:
                return "give_up", now
            if told.delivered is None:
                return "page", self._next_at
            if told.notify.kind == "alertmanager" and superseded(page):
                told.over = True
                return None, math.inf
            return "resolved", self._next_at
        if self.gone:
            return None, math.inf
        if told.notify.kind == "alertmanager":
            return "repeat", max(self._next_at, self._repeat_at)
        due = max(self._next_at, self._remind_at)
        if now >= due and acknowledged():
            self._remind_at = now + REMIND_EVERY
            return None, math.inf
        return "reminder", due

    def delivered(self, now: float, wall: float) -> bool:
        """It got through. Is that news worth keeping? An Alertmanager's repeats are not."""
        self.tries = 0
        self._next_at = -math.inf
        self._repeat_at = now + REPEAT_EVERY
        self._remind_at = now + REMIND_EVERY
        if self.kind == "repeat":
            return False
        self.told.reminded = wall
        if self.kind == "page":
            self.told.delivered = wall
        elif self.kind == "reminder":
            self.told.reminders += 1
        else:
            self.told.over = True
        return True

    def failed(self, now: float, seed: str) -> None:
        self.tries += 1
        self._next_at = now + core.pause(self.tries, (zlib.crc32(seed.encode("utf-8")) & 0xFFFFFFFF) / 4294967296.0)

    def hurry(self) -> None:
        """There is something new to say: what was waited for is not."""
        self.tries = 0
        self._next_at = -math.inf


class Post:
    """A page and its targets at work. Times of its file become monotonic ones here, at `now` and `wall`."""

    def __init__(self, page: Page, now: float, wall: float) -> None:
        self.page = page
        self.unsaved = False
        self.tasks: List[Task] = []
        self._now = now
        self._wall = wall
        for told in page.told:
            self._add(told)
        if page.closed is not None:
            self._end(now + core.remaining(page.closed, GIVE_UP_AFTER, wall))

    def _add(self, told: Told) -> None:
        name = core.names_of([task.told.notify for task in self.tasks] + [told.notify])[-1]
        since = told.reminded if told.reminded is not None else self._wall
        self.tasks.append(Task(told, name, self._now + core.remaining(since, REMIND_EVERY, self._wall)))

    def _end(self, give_up: float) -> None:
        for task in self.tasks:
            task.give_up = give_up

    def over(self, now: float) -> None:
        """The incident is closed."""
        self._end(now + GIVE_UP_AFTER)
        for task in self.tasks:
            if task.told.delivered is not None:
                task.hurry()

    def retarget(self, wanted: Sequence[Notify]) -> bool:
        """Tell those who are named now as well, and those no longer named only the end of what they know. Has anything changed?"""
        known = [task.told.notify for task in self.tasks]
        for task in self.tasks:
            task.gone = task.told.notify not in wanted
            if not task.gone and self.page.closed is None:
                task.told.over = False
        new = [Told(notify) for notify in wanted if notify not in known]
        for told in new:
            self.page.told.append(told)
            self._add(told)
        return bool(new)

    @property
    def done(self) -> bool:
        """The incident is closed, and everybody knows what they are to know."""
        return self.page.closed is not None and all(task.told.over and task.handle is None for task in self.tasks)


__all__ = ["GIVE_UP_AFTER", "Post", "REMIND_EVERY", "REPEAT_EVERY", "Task"]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pager's hand on its files: whose page is whose, what others left behind, and going on when the disk does not."""

from __future__ import annotations

from typing import Callable, Dict, Iterable, List, Optional

from .._core.errors import RecordError
from .._host import Host
from .._records.files import Owner
from .._records.pages import Page, Pages, free
from .post import Post

FOREIGN_EVERY = 5.0
"""Seconds between two looks at whether the process that delivers a page is still there."""
SAVE_EVERY = 5.0


class Spool:
    """What one process does to the pages on disk. No call raises: `complain(problem)` is told, once until it works again.

    save_at: before then writing is not tried again after a failure (monotonic seconds).
    """

    def __init__(self, host: Host, store: Pages, complain: Callable[[str], None]) -> None:
        self.save_at = 0.0
        self.known = False
        """Have the files been looked through?"""
        self._host = host
        self._store = store
        self._complain = complain
        self._complained = False
        self._owner: Optional[Owner] = None
        self._version = -1
        self._foreign: Dict[str, float] = {}

    def me(self) -> Owner:
        """Who this process is. Raises RecordError where /proc cannot tell."""
        if self._owner is None:
            self._owner = Owner.current()
        return self._owner

    def save(self, post: Post) -> None:
        """Keep a page on disk. Where that fails it is delivered from memory, and `post.unsaved`."""
        try:
            self._store.save(post.page)
        except RecordError as error:
            post.unsaved = True
            self.save_at = self._host.monotonic() + SAVE_EVERY
            self._problem(error)
            return
        post.unsaved = False
        self._complained = False

    def remove(self, incident: str) -> None:
        """Everybody knows. A file that stays is tried again by the next process, which finds nothing left to say."""
        try:
            self._store.remove(incident)
        except RecordError as error:
            self._problem(error)

    def acknowledged(self, incident: str) -> bool:
        return self._store.acknowledged(incident)

    def there(self, incident: str) -> bool:
        """Is there a page about it, be it anybody's?"""
        try:
            return self._store.load(incident) is not None
        except RecordError as error:
            self._problem(error)
            return False

    def claim(self, incident: str) -> Optional[Page]:
        """The page, if nobody else delivers it; it is ours from then on."""
        try:
            page = self._store.load(incident)
            if page is None or not free(page, self.me()):
                return None
            return self._store.claim(incident, self.me())
        except RecordError as error:
            self._problem(error)
            return None

    def news(self, now: float) -> bool:
        """May there be pages that others left?"""
        return self._store.version() != self._version or any(now >= at for at in self._foreign.values())

    def take_up(self, known: Iterable[str], now: float) -> List[Page]:
        """What others left, ours from now on."""
        self.known = True
        self._foreign.clear()
        try:
            pages = self._store.others(known)
        except RecordError as error:
            self._problem(error)
            pages = []
        taken = []
        for page in pages:
            ours = self.claim(page.incident)
            if ours is not None:
                taken.append(ours)
            else:
                self._foreign[page.incident] = now + FOREIGN_EVERY
        self._version = self._store.version()
        return taken

    def _problem(self, error: RecordError) -> None:
        if not self._complained:
            self._complained = True
            self._complain(str(error))


__all__ = ["Spool"]

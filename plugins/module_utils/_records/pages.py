# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The spool of pages: one file for each incident somebody is called about, kept until everybody who was called knows that it is over.

A page has one process that delivers it, its owner; another takes it over when that one is provably gone or has given it up.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Optional

from .._core import pages as core
from .._core.errors import RecordError
from .._core.model import Notify
from .._core.times import compact, format_time, parse_time
from .files import Owner, cause, lock_file, make_directory, open_lock, read_file, remove, replace_file, set_aside, sync_directory
from .names import escape

SCHEMA = 1
_LIMIT = 1024 * 1024
_LOCK_SECONDS = 1.0


@dataclass
class Told:
    """One target of a page. Times are wall seconds. delivered: when the page got through; reminded: when the newest message did.

    failed: a failure to deliver stands in the timeline; over: nothing more is said to it."""

    notify: Notify
    delivered: Optional[float] = None
    reminded: Optional[float] = None
    reminders: int = 0
    failed: bool = False
    over: bool = False


@dataclass
class Page:
    """A call about one incident. message: as it is sent; closing: the message that takes it back, once `closed`."""

    incident: str
    service: Optional[str]
    opened: float
    message: Dict[str, Any]
    told: List[Told] = field(default_factory=list)
    closed: Optional[float] = None
    closing: Optional[Dict[str, Any]] = None
    owner: Optional[Owner] = None


@dataclass(frozen=True)
class Acknowledgement:
    owner: str
    at: str
    reason: str = ""


class Pages:
    """``<state_dir>/pages/<incident>.json``, and beside each ``.ack`` when somebody has acknowledged it.

    `damaged(path, aside, problem)` is told of files that could not be understood and were set aside.
    """

    def __init__(self, state_dir: str, damaged: Callable[[str, str, str], None], clock: Callable[[], float] = time.time) -> None:
        self.directory = os.path.join(state_dir, "pages")
        self._damaged = damaged
        self._clock = clock

    def _path(self, incident: str, ending: str = ".json") -> str:
        return os.path.join(self.directory, escape(incident) + ending)

    def version(self) -> int:
        """Changes whenever a page comes or goes; 0 while there never was one, or nothing can be seen."""
        try:
            return os.stat(self.directory).st_mtime_ns
        except OSError:
            return 0

    def others(self, known: Iterable[str]) -> List[Page]:
        """Every page there is but those about these incidents. Raises RecordError."""
        skipped = {escape(incident) + ".json" for incident in known}
        try:
            names = sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RecordError("Reading the pages in %s: %s" % (self.directory, cause(error))) from error
        paths = [os.path.join(self.directory, name) for name in names if name.endswith(".json") and name[0] != "." and name not in skipped]
        return [page for page in (self._read(path) for path in paths) if page is not None]

    def load(self, incident: str) -> Optional[Page]:
        """The page about an incident, if there is one. Raises RecordError."""
        return self._read(self._path(incident))

    def save(self, page: Page) -> None:
        """Replace what is kept of a page; durable on return. Raises RecordError."""
        data = json.dumps(_page_data(page), separators=(",", ":")).encode("ascii")
        make_directory(self.directory)
        replace_file(self._path(page.incident), data)

    def claim(self, incident: str, owner: Owner) -> Optional[Page]:
        """Become the owner of a page that has none, or whose owner is gone; None when there is none to be had. Raises RecordError."""
        descriptor = -1
        try:
            descriptor = open_lock(os.path.join(self.directory, ".lock"))
            lock_file(descriptor, os.path.join(self.directory, ".lock"), _LOCK_SECONDS)
            page = self.load(incident)
            if page is None or not free(page, owner):
                return None
            page.owner = owner
            self.save(page)
            return page
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordError("Taking the page %s: %s" % (self._path(incident), cause(error))) from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def remove(self, incident: str) -> None:
        """Everybody knows that it is over. Raises RecordError."""
        try:
            gone = remove(self._path(incident))
            if remove(self._path(incident, ".ack")) or gone:
                sync_directory(self.directory)
        except OSError as error:
            raise RecordError("Removing the page %s: %s" % (self._path(incident), cause(error))) from error

    def acknowledge(self, incident: str, owner: str, reason: str) -> Acknowledgement:
        """Somebody looks after it. Raises RecordError."""
        made = Acknowledgement(owner, format_time(self._clock()), reason)
        replace_file(self._path(incident, ".ack"), json.dumps(vars(made)).encode("ascii"))
        return made

    def acknowledged(self, incident: str) -> bool:
        """Does somebody look after it? The file's presence says so."""
        return os.path.lexists(self._path(incident, ".ack"))

    def _read(self, path: str) -> Optional[Page]:
        try:
            return _page(json.loads(read_file(path, _LIMIT)))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordError("Reading the page %s: %s" % (path, cause(error))) from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            problem = "%s: %s" % (type(error).__name__, error)
        try:
            aside = set_aside(path, "bad", compact(self._clock()))
        except OSError as error:
            raise RecordError("Page %s is unusable (%s) and cannot be set aside: %s" % (path, problem, cause(error))) from error
        self._damaged(path, aside, problem)
        return None


def free(page: Page, owner: Owner) -> bool:
    """May `owner` take it? Whoever may be alive keeps it."""
    return page.owner is None or page.owner == owner or page.owner.alive() is False


def _page_data(page: Page) -> Dict[str, Any]:
    told = [
        {**vars(each), "notify": core.to_data(each.notify), "delivered": _said(each.delivered), "reminded": _said(each.reminded)}
        for each in page.told
    ]
    owner = page.owner.as_data() if page.owner is not None else None
    data = {**vars(page), "told": told, "owner": owner, "opened": _said(page.opened), "closed": _said(page.closed)}
    return {"schema": SCHEMA, **data}


def _page(data: Any) -> Page:
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ValueError("it is no page of schema %d" % SCHEMA)
    message = data["message"]
    if not isinstance(message, dict) or not isinstance(data["incident"], str) or message.get("incident") != data["incident"]:
        raise ValueError("its message is not about its incident")
    if not {"host", "service", "status", "sentence", "reason"} <= set(message):
        raise ValueError("its message is not whole")
    return Page(
        data["incident"],
        data["service"],
        parse_time(data["opened"]),
        message,
        [_told(each) for each in data["told"]],
        _time(data["closed"]),
        data["closing"],
        Owner.from_data(data["owner"]) if data["owner"] is not None else None,
    )


def _told(data: Dict[str, Any]) -> Told:
    return Told(
        core.from_data(data["notify"]),
        _time(data["delivered"]),
        _time(data["reminded"]),
        int(data["reminders"]),
        bool(data["failed"]),
        bool(data["over"]),
    )


def _time(text: Optional[str]) -> Optional[float]:
    return None if text is None else parse_time(text)


def _said(at: Optional[float]) -> Optional[str]:
    return None if at is None else format_time(at)


__all__ = ["Acknowledgement", "Page", "Pages", "Told", "free"]

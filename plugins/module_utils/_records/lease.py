# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The right to act on a resource or project: watchdog, runbook, deployment and person take the same leases.

A lease is a file that names its owner, created whole by link(2) and taken over by rename(2). Nothing is locked while it is
held, so nothing can be inherited by a child and outlive its holder. A provably dead owner (no such process, another start
time, another boot) loses it to the next who asks; a person's lease lasts until released or until the end the person gave it.
One that is past its end but whose owner lives is waited for; one whose owner cannot be judged (hidden by hidepid) is taken
over at its end.

A file that cannot be understood counts as held for 10 minutes after it was last changed, then it is set aside.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple, Type

from .._core.errors import LeaseHeld, RecordError
from .._core.times import compact, format_time, parse_time
from .files import Owner, cause, lock_file, make_directory, open_lock, read_file, remove, replace_file, set_aside, temporary_name, write_new
from .names import escape

_LIMIT = 65536
_GARBLED_FOR = 600.0
_ATTEMPTS = 1000


@dataclass(frozen=True)
class LeaseInfo:
    """`holder` and `purpose` are words for people. `since`, `expires`: wall seconds; `expires` None: until released.

    `problem` is set when the file could not be understood; owner is then None.
    """

    name: str
    owner: Optional[Owner]
    holder: str
    purpose: str
    since: float
    expires: Optional[float]
    person: bool = False
    token: str = ""
    problem: str = ""

    def as_data(self) -> Dict[str, Any]:
        """For the ``lease_takeover`` event and for people."""
        return {
            "lease": self.name,
            "holder": self.holder,
            "purpose": self.purpose,
            "pid": self.owner.pid if self.owner else None,
            "since": format_time(self.since),
            "expires": None if self.expires is None else format_time(self.expires),
        }

    def __str__(self) -> str:
        if self.problem:
            return "%s is held by nobody knows whom: %s" % (self.name, self.problem)
        pid = " (pid %d)" % self.owner.pid if self.owner and not self.person else ""
        purpose = " for %s" % self.purpose if self.purpose else ""
        until = "" if self.expires is None else " until %s" % format_time(self.expires)
        return "%s is held by %s%s since %s%s%s" % (self.name, self.holder, pid, format_time(self.since), until, purpose)


class Held:
    """Leases that are ours; a context manager. `takeovers` are the dead holders they were taken from: the caller records them."""

    def __init__(self, leases: "LeaseSet", mine: Tuple[LeaseInfo, ...], names: Tuple[str, ...], takeovers: Tuple[LeaseInfo, ...]) -> None:
        self.names = names
        self.takeovers = takeovers
        self._leases = leases
        self._mine = mine

    def release(self) -> None:
        """Give back what was taken here (not what was held before); a second call does nothing. Raises RecordError."""
        mine, self._mine = self._mine, ()
        for info in reversed(mine):
            self._leases.give_back(info)

    def extend(self, seconds: float) -> None:
        """Hold for `seconds` more from now. Raises RecordError, LeaseHeld when it is no longer ours."""
        self._mine = tuple(self._leases.extend(info, seconds) for info in self._mine)

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.release()


class LeaseSet:
    """The leases in `directory` (``/run/selfheal/leases``)."""

    def __init__(self, directory: str, clock: Callable[[], float] = time.time, lock_timeout: float = 5.0) -> None:
        self.directory = directory
        self._clock = clock
        self._lock_timeout = lock_timeout

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, escape(name) + ".json")

    def acquire(self, names: Iterable[str], holder: str, purpose: str, seconds: Optional[float], person: bool = False) -> Held:
        """Take all of `names`, in sorted order, or none. Raises LeaseHeld naming who has one of them, RecordError.

        What this process already holds under the same `holder` counts as taken and stays when the result is released.
        """
        wanted = tuple(sorted(set(names)))
        owner = Owner.current()
        make_directory(self.directory)
        mine: List[LeaseInfo] = []
        takeovers: List[LeaseInfo] = []
        try:
            for name in wanted:
                info = self._take(name, owner, holder, purpose, seconds, person, takeovers)
                if info is not None:
                    mine.append(info)
        except BaseException:
            for info in reversed(mine):
                self.give_back(info)
            raise
        return Held(self, tuple(mine), wanted, tuple(takeovers))

    def _take(
        self, name: str, owner: Owner, holder: str, purpose: str, seconds: Optional[float], person: bool, takeovers: List[LeaseInfo]
    ) -> Optional[LeaseInfo]:
        now = parse_time(format_time(self._clock()))
        token = os.urandom(16).hex()
        info = LeaseInfo(name, owner, holder, purpose, now, _end(now, seconds), person, token)
        path = self._path(name)
        temporary = temporary_name(path)
        try:
            write_new(temporary, _dump(info))
            try:
                for _attempt in range(_ATTEMPTS):
                    try:
                        os.link(temporary, path, follow_symlinks=False)
                        return info
                    except FileExistsError:
                        found = self.holder(name)
                    if found is None:
                        continue
                    if found.owner == owner and found.holder == holder and not found.problem:
                        return None
                    if not self._lost(found):
                        raise LeaseHeld("%s. Nothing was done." % found)
                    if found.problem:
                        self._put_aside(found)
                    elif self._replace(found, temporary):
                        takeovers.append(found)
                        return info
            finally:
                remove(temporary)
        except OSError as error:
            raise RecordError("Taking the lease %s: %s" % (path, cause(error))) from error
        raise RecordError("The lease %s changed hands %d times while it was asked for" % (path, _ATTEMPTS))

    def _lost(self, found: LeaseInfo) -> bool:
        """May this lease be taken from its holder?"""
        over = found.expires is not None and self._clock() >= found.expires
        if found.problem:
            return abs(self._clock() - found.since) > _GARBLED_FOR
        if found.person or found.owner is None:
            return over
        alive = found.owner.alive()
        return alive is False or (alive is None and over)

    @contextlib.contextmanager
    def _exclusively(self, doing: str) -> Iterator[None]:
        """Whatever removes or replaces a lease does so alone, after another look; a name that exists cannot be linked meanwhile."""
        path = os.path.join(self.directory, ".changing")
        try:
            # Open for this moment only: closing it unlocks, and so does dying.
            lock = open_lock(path)
            try:
                lock_file(lock, path, self._lock_timeout)
                yield
            finally:
                os.close(lock)
        except OSError as error:
            raise RecordError("%s: %s" % (doing, cause(error))) from error

    def _replace(self, found: LeaseInfo, temporary: str) -> bool:
        """Put ours in the place of exactly this one; at no instant is there none."""
        with self._exclusively("Taking over the lease %s" % found.name):
            if self.holder(found.name) != found:
                return False
            os.rename(temporary, self._path(found.name))
            return True

    def _put_aside(self, found: LeaseInfo) -> None:
        with self._exclusively("Setting aside the lease %s" % found.name):
            if self.holder(found.name) == found:
                set_aside(self._path(found.name), "bad", compact(self._clock()))

    def give_back(self, info: LeaseInfo) -> None:
        """Remove a lease of ours; nothing happens if it is not ours (any more). Raises RecordError."""
        if info.owner != Owner.current():
            return
        with self._exclusively("Giving back the lease %s" % info.name):
            if self.holder(info.name) == info:
                remove(self._path(info.name))

    def extend(self, info: LeaseInfo, seconds: float) -> LeaseInfo:
        """Move the end of a lease of ours. Raises LeaseHeld when it is ours no more, RecordError."""
        longer = replace(info, expires=_end(self._clock(), seconds))
        with self._exclusively("Extending the lease %s" % info.name):
            found = self.holder(info.name)
            if found != info or info.owner != Owner.current():
                raise LeaseHeld("%s; it is no longer ours." % (found or "Nobody holds %s" % info.name))
            replace_file(self._path(info.name), _dump(longer))
        return longer

    def holder(self, name: str) -> Optional[LeaseInfo]:
        """Who holds it, alive or not; None when nobody. Raises RecordError."""
        path = self._path(name)
        try:
            raw = read_file(path, _LIMIT)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            return self._garbled(name, path, cause(error) if isinstance(error, OSError) else str(error))
        try:
            return _parse(name, raw)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            return self._garbled(name, path, "%s: %s" % (type(error).__name__, error))

    def _garbled(self, name: str, path: str, problem: str) -> Optional[LeaseInfo]:
        try:
            changed = os.lstat(path).st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordError("Looking at the lease %s: %s" % (path, cause(error))) from error
        return LeaseInfo(name, None, "unknown", "", changed, None, problem="%s cannot be understood (%.200s)" % (path, problem))

    def list(self) -> List[LeaseInfo]:
        """All leases, alive or not, by name. Raises RecordError."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RecordError("Listing the leases in %s: %s" % (self.directory, cause(error))) from error
        found = []
        for file in sorted(names):
            if file.endswith(".json") and not file.startswith("."):
                name = _named(os.path.join(self.directory, file))
                info = self.holder(name) if name is not None else None
                if info is not None:
                    found.append(info)
        return found


def _end(now: float, seconds: Optional[float]) -> Optional[float]:
    # Rounded as it stands in the file, so that what was written equals what is read.
    return None if seconds is None else parse_time(format_time(now + seconds))


def _named(path: str) -> Optional[str]:
    """Of which name the file is the lease: from the file's name, or where that ends in a hash from what it says."""
    from .names import unescape

    stem = os.path.basename(path)[:-5]
    try:
        return unescape(stem)
    except ValueError:
        try:
            name = json.loads(read_file(path, _LIMIT))["name"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
    return name if isinstance(name, str) and name and escape(name) == stem else None


def _dump(info: LeaseInfo) -> bytes:
    data = {
        "schema": 1,
        "name": info.name,
        "owner": info.owner.as_data() if info.owner else None,
        "holder": info.holder,
        "purpose": info.purpose,
        "since": format_time(info.since),
        "expires": None if info.expires is None else format_time(info.expires),
        "person": info.person,
        "token": info.token,
    }
    return (json.dumps(data, allow_nan=False) + "\n").encode("ascii")


def _parse(name: str, raw: bytes) -> LeaseInfo:
    data = json.loads(raw)
    since, expires = parse_time(data["since"]), None if data["expires"] is None else parse_time(data["expires"])
    if data["name"] != name:
        raise ValueError("it is the lease of %.80r" % (data["name"],))
    words = (data["holder"], data["purpose"], data["token"])
    if not all(isinstance(word, str) for word in words) or not isinstance(data["person"], bool):
        raise ValueError("holder, purpose, token must be strings, person true or false")
    return LeaseInfo(name, Owner.from_data(data["owner"]), words[0], words[1], since, expires, data["person"], words[2])


__all__ = ["Held", "LeaseInfo", "LeaseSet"]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking thousands of leases: each on its own, whoever has one keeps it, and none is waited for.

A lease that must outlive its maker's next second is fsynced (`LeaseSet.acquire`). Those taken here are for moments and lie on a tmpfs
(``/run``); elsewhere a power cut in those moments may leave an empty one, which counts as held until it is 10 minutes old.
"""

from __future__ import annotations

import os
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

from .._core.errors import LeaseHeld, RecordError
from .events import encode
from .files import Owner, cause, make_directory, remove, temporary_name
from .lease import Held, LeaseInfo, LeaseSet, _dump, _end

# What stands for the name while the rest of a lease is written, and how JSON says it.
_HERE = "\0"
_PLACE = b'"\\u0000"'


class _Mine(NamedTuple):
    """A lease made here: the file it is. Whoever puts another in its place makes another file."""

    path: str
    device: int
    inode: int
    changed: int


class Batch:
    """Leases that are ours until `release`. `refused`: by name, who has it; `takeovers`: the dead holders some were taken from."""

    def __init__(self, leases: "ManyLeases") -> None:
        self.refused: Dict[str, str] = {}
        self.takeovers: Tuple[LeaseInfo, ...] = ()
        self._leases = leases
        self._mine: List[_Mine] = []
        self._others: List[Held] = []

    def release(self) -> None:
        """Give all of them back; a second call does nothing. Raises RecordError."""
        mine, self._mine = self._mine, []
        others, self._others = self._others, []
        for held in others:
            held.release()
        self._leases.give_back_all(mine)

    def own(self, mine: _Mine) -> None:
        self._mine.append(mine)

    def others(self, held: Held) -> None:
        self._others.append(held)
        self.takeovers += held.takeovers


class ManyLeases(LeaseSet):
    """The same leases, for whoever acts on many things in one go."""

    def take_each(self, names: Iterable[str], holder: str, purpose: str, seconds: float) -> Batch:
        """Take every one of `names` that can be had. Raises RecordError where none can be made, with nothing kept."""
        owner, now = Owner.current(), self._clock()
        batch = Batch(self)
        make_directory(self.directory)
        token = os.urandom(16).hex()
        pattern = _dump(LeaseInfo(_HERE, owner, holder, purpose, now, _end(now, seconds), False, token)).partition(_PLACE)
        temporary = temporary_name(os.path.join(self.directory, "batch"))
        try:
            for name in sorted(set(names)):
                mine = self._link(self._path(name), pattern[0] + encode(name).encode("ascii") + pattern[2], temporary)
                if mine is not None:
                    batch.own(mine)
                    continue
                try:
                    batch.others(self.acquire([name], holder, purpose, seconds))
                except LeaseHeld as error:
                    batch.refused[name] = str(error)
        except OSError as error:
            batch.release()
            raise RecordError("Taking leases in %s: %s" % (self.directory, cause(error))) from error
        except BaseException:
            batch.release()
            raise
        return batch

    @staticmethod
    def _link(path: str, content: bytes, temporary: str) -> Optional[_Mine]:
        """The lease, or None where there is one already."""
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                os.write(descriptor, content)
                found = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            os.link(temporary, path, follow_symlinks=False)
        except FileExistsError:
            return None
        finally:
            remove(temporary)
        return _Mine(path, found.st_dev, found.st_ino, found.st_mtime_ns)

    def give_back_all(self, mine: Iterable[_Mine]) -> None:
        """Remove leases as they were made here; what is somebody else's by now stays. Raises RecordError."""
        mine = list(mine)
        if not mine:
            return
        with self._exclusively("Giving back %d leases" % len(mine)):
            for each in mine:
                try:
                    found = os.lstat(each.path)
                except FileNotFoundError:
                    continue
                if (found.st_dev, found.st_ino, found.st_mtime_ns) == each[1:]:
                    remove(each.path)


__all__ = ["Batch", "ManyLeases"]

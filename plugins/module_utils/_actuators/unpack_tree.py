# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in a release that is being unpacked: names that stay inside, links that stay inside, and nothing beyond the limits.

Links are made last, when every file has been written, so nothing can be written through one. Whether a link leaves the tree is found by
walking it through the tree's own links, not by looking at its text: ``a -> b/..`` leads elsewhere when ``b`` is a link itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Dict, Iterable, List, Optional, Tuple

from .._core.errors import SelfhealError

_MOST_LINKS = 40
_LONGEST_NAME = 255
_LONGEST_PATH = 3000


class UnpackError(SelfhealError):
    """A release was not unpacked: names the source, the entry, what was found and what was expected. Nothing was left behind."""


class UnpackRefused(UnpackError):
    """What the source holds may not be unpacked: it is damaged, hostile, or too large."""


@dataclass(frozen=True)
class Limits:
    """Bytes of all files, bytes of one, how many entries, and how many directories deep."""

    total_size: int = 4 << 30
    file_size: int = 2 << 30
    entries: int = 200_000
    depth: int = 64


class Tree:
    """Writes a tree below the open, empty directory `root`, which nobody else may write to."""

    def __init__(self, root: int, limits: Limits) -> None:
        self._root = root
        self._limits = limits
        self._kinds: Dict[str, str] = {"": "directory"}
        self._modes: Dict[str, int] = {}
        self._links: Dict[str, str] = {}
        self._sizes: Dict[str, int] = {}
        self._total = 0
        self._entries = 0

    def path(self, name: str) -> str:
        """The name of an entry, as it will stand below the root ("" is the root). Raises UnpackRefused for one that leads out of it."""
        shown = "%.200r" % name
        if name.startswith("/"):
            raise UnpackRefused("%s is an absolute path; expected paths below the release" % shown)
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in name:
            raise UnpackRefused("%s leads out of the release; expected paths below it" % shown)
        if len(parts) > self._limits.depth:
            raise UnpackRefused("%s lies %d directories deep; at most %d are unpacked" % (shown, len(parts), self._limits.depth))
        if any(len(os.fsencode(part)) > _LONGEST_NAME for part in parts) or len(os.fsencode(name)) > _LONGEST_PATH:
            raise UnpackRefused("%s is longer than a name or path may be (%d, %d bytes)" % (shown, _LONGEST_NAME, _LONGEST_PATH))
        return "/".join(parts)

    def directory(self, path: str, mode: int) -> None:
        """Have a directory there. It may have been made already for what lies in it. Raises UnpackRefused, OSError."""
        self._count()
        if path and self._kinds.get(path) != "directory":
            self._room(path, "directory")
            os.mkdir(path, 0o700, dir_fd=self._root)
        self._modes[path] = (mode & 0o755) | 0o700

    def file(self, path: str, mode: int, size: int, chunks: Iterable[bytes], modified: Optional[float] = None) -> None:
        """Write a file. `size`: what is claimed; what comes is counted. setuid, setgid and sticky bits go, and writing by others."""
        self._count()
        self._measure(path, size)
        self._room(path, "file")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600, dir_fd=self._root)
        written = 0
        try:
            for chunk in chunks:
                written += len(chunk)
                if written > size:
                    self._measure(path, written)
                view = memoryview(chunk)
                while view:
                    view = view[os.write(descriptor, view) :]
            os.fchmod(descriptor, (mode & 0o755) | 0o600)
            if modified is not None and 0 <= modified < 1 << 33:
                os.utime(descriptor, (modified, modified))
        finally:
            os.close(descriptor)
        self._sizes[path] = written
        self._total += written

    def same_file(self, path: str, other: str) -> None:
        """A hard link: the same file under a second name. The first must have been unpacked. Raises UnpackRefused, OSError."""
        self._count()
        if self._kinds.get(other) != "file":
            found = self._kinds.get(other, "nothing that was unpacked")
            raise UnpackRefused(
                "%r is a hard link to %r, which is %s; expected a file before it in the same archive" % (path, other, found)
            )
        self._measure(path, self._sizes[other])
        self._room(path, "file")
        os.link(other, path, src_dir_fd=self._root, dst_dir_fd=self._root, follow_symlinks=False)
        self._sizes[path] = self._sizes[other]
        self._total += self._sizes[other]

    def link(self, path: str, target: str) -> None:
        """A symbolic link, to be made at the end. Raises UnpackRefused."""
        self._count()
        if not target or "\0" in target or len(os.fsencode(target)) > _LONGEST_PATH:
            raise UnpackRefused("%r is a link to %.200r; expected a path below the release" % (path, target))
        if target.startswith("/"):
            raise UnpackRefused(
                "%r is a link to the absolute path %.200r; expected a relative one that stays in the release" % (path, target)
            )
        self._room(path, "link")
        self._links[path] = target

    def finish(self) -> None:
        """Make the links, once all are known to stay inside, and give the directories their modes. Raises UnpackRefused, OSError."""
        for path, target in self._links.items():
            self._stays_inside(path, target)
        for path, target in self._links.items():
            os.symlink(target, path, dir_fd=self._root)
        for path, kind in reversed(list(self._kinds.items())):
            if kind == "directory" and path:
                os.chmod(path, self._modes.get(path, 0o755), dir_fd=self._root)
        os.fchmod(self._root, self._modes.get("", 0o755))

    def everything(self) -> List[Tuple[str, str]]:
        """What was made, as (path, kind), directories before what lies in them."""
        return list(self._kinds.items())

    def _count(self) -> None:
        self._entries += 1
        if self._entries > self._limits.entries:
            raise UnpackRefused("it has more than %d entries; raise the limit if that is meant" % self._limits.entries)

    def _measure(self, path: str, size: int) -> None:
        if size < 0:
            raise UnpackRefused("%r has a size of %d bytes; the archive is damaged" % (path, size))
        if size > self._limits.file_size:
            raise UnpackRefused("%r has %d bytes or more; at most %d are unpacked of a file" % (path, size, self._limits.file_size))
        if self._total + size > self._limits.total_size:
            raise UnpackRefused(
                "its files have more than %d bytes with %r; raise the limit if that is meant" % (self._limits.total_size, path)
            )

    def _room(self, path: str, kind: str) -> None:
        """Nothing stands there yet, and directories lead there; missing ones are made."""
        if path in self._kinds:
            raise UnpackRefused("%r occurs twice, as a %s and as a %s" % (path, self._kinds[path], kind))
        parent = path.rpartition("/")[0]
        if parent not in self._kinds:
            self._count()
            self._room(parent, "directory")
            os.mkdir(parent, 0o700, dir_fd=self._root)
        if self._kinds[parent] != "directory":
            raise UnpackRefused("%r lies below %r, which is a %s" % (path, parent, self._kinds[parent]))
        self._kinds[path] = kind

    def _stays_inside(self, path: str, target: str) -> None:
        here = path.split("/")[:-1]
        ahead = target.split("/")[::-1]
        followed = 0
        while ahead:
            part = ahead.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not here:
                    raise UnpackRefused("%r is a link to %.200r, which leads out of the release" % (path, target))
                here.pop()
                continue
            onward = self._links.get("/".join([*here, part]))
            if onward is None:
                here.append(part)
                continue
            followed += 1
            if followed > _MOST_LINKS:
                raise UnpackRefused("%r is a link to %.200r, which leads through more than %d links" % (path, target, _MOST_LINKS))
            ahead.extend(onward.split("/")[::-1])


__all__ = ["Limits", "Tree", "UnpackError", "UnpackRefused"]

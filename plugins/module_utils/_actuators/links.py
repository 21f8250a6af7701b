# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Symbolic links that are swapped, never edited: a reader finds the old one or the new one, at every instant and after every crash.

All work goes through an open directory that was not reached through a link of its own name (O_NOFOLLOW), so that who owns the place
cannot send us elsewhere by exchanging it for a link meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from typing import Dict, Iterator, NamedTuple, Optional, Tuple

from .._core.errors import SelfhealError
from .._records.files import cause, process_start_time
from .libc import exchange

_counter = itertools.count()
_started: Dict[int, int] = {}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LinkRefused(SelfhealError):
    """A link was not made or read: names the place, what was found there and what to do."""


class Unsafe(LinkRefused):
    """Anyone may write to the directory."""


class Standing(NamedTuple):
    """What stands at a name. `kind`: missing, link, file, directory, other (a socket, a device, …); `target`: a link's, as written."""

    kind: str
    target: Optional[str] = None

    def __str__(self) -> str:
        return "link to %s" % self.target if self.kind == "link" else self.kind


MISSING = Standing("missing")


def check_name(name: str, what: str = "name") -> str:
    """`name`, if it names one entry of a directory. Raises LinkRefused."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise LinkRefused("%r is no %s in a directory; expected one name without / that is neither . nor .." % (name, what))
    return name


def open_directory(path: str, dir_fd: Optional[int] = None, where: Optional[str] = None) -> int:
    """A descriptor of a directory that is no link and that not anyone may change.

    `path` may be relative to `dir_fd`; `where` names it in messages then. Raises LinkRefused; FileNotFoundError when there is none.
    """
    return open_checked(path, dir_fd, where)[0]


def open_checked(path: str, dir_fd: Optional[int] = None, where: Optional[str] = None) -> Tuple[int, os.stat_result]:
    """The same, and what was found when it was checked."""
    shown = where or path
    try:
        descriptor = os.open(path, _DIRECTORY, dir_fd=dir_fd)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            kind = "a symbolic link" if stat.S_ISLNK(os.lstat(path, dir_fd=dir_fd).st_mode) else "no directory"
            raise LinkRefused("%s is %s; expected a directory. Nothing behind it was touched." % (shown, kind)) from error
        raise LinkRefused("Opening the directory %s: %s" % (shown, cause(error))) from error
    found = os.fstat(descriptor)
    if found.st_mode & stat.S_IWOTH:
        os.close(descriptor)
        raise Unsafe("Anyone may write to the directory %s, and so exchange what is linked there. chmod o-w it." % shown)
    return descriptor, found


@contextlib.contextmanager
def opened(path: str, dir_fd: Optional[int] = None, where: Optional[str] = None) -> Iterator[int]:
    """`open_directory`, closed at the end."""
    descriptor = open_directory(path, dir_fd, where)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_at(descriptor: int, name: str) -> Standing:
    """What stands at `name` in the open directory; never follows a link. Raises OSError."""
    try:
        return Standing("link", os.readlink(name, dir_fd=descriptor))
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    try:
        mode = os.lstat(name, dir_fd=descriptor).st_mode
    except FileNotFoundError:
        return MISSING
    return Standing("directory" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other")


def read(directory: str, name: str) -> Standing:
    """What stands at `name` in `directory`; missing when the directory is. Raises LinkRefused."""
    check_name(name)
    try:
        with opened(directory) as descriptor:
            return read_at(descriptor, name)
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        raise LinkRefused("Looking at %s: %s" % (os.path.join(directory, name), cause(error))) from error


def swap_at(descriptor: int, name: str, target: str, sync: bool = True, alone: bool = False) -> Standing:
    """Make `name` a link to `target` by one rename; returns what stood there.

    With ``sync=False`` the caller owes an fsync of the directory.
    `alone`: the caller has the right that nobody else swaps this very link meanwhile. Then an unfinished one of somebody who died is found
    by its name alone; otherwise the directory is listed for it. Raises LinkRefused when something else than a link stands there, OSError.
    """
    before = read_at(descriptor, name)
    if before.kind not in ("missing", "link"):
        raise LinkRefused("a %s stands where the link %s should be; move it away, or have it backed up" % (before.kind, name))
    if before.target != target:
        temporary = _begun(descriptor, name, target) if alone else _begin(descriptor, temporary_name(name), target)
        try:
            os.rename(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        except BaseException:
            os.unlink(temporary, dir_fd=descriptor)
            raise
    if not alone:
        sweep(descriptor)
    if sync:
        os.fsync(descriptor)
    return before


def _begin(descriptor: int, temporary: str, target: str) -> str:
    os.symlink(target, temporary, dir_fd=descriptor)
    return temporary


def _begun(descriptor: int, name: str, target: str) -> str:
    """The same under a name that is always the same, in place of what somebody who died has left there."""
    temporary = ".%s.swap.tmp" % os.fsdecode(os.fsencode(name)[:120])
    try:
        return _begin(descriptor, temporary, target)
    except FileExistsError:
        try:
            os.unlink(temporary, dir_fd=descriptor)
        except (IsADirectoryError, PermissionError) as error:
            words = "%s is in the way beside it, where the link is begun: %s. Move it away."
            raise LinkRefused(words % (temporary, cause(error))) from error
        return _begin(descriptor, temporary, target)


def swap(directory: str, name: str, target: str) -> Optional[str]:
    """Make `name` in `directory` a link to `target`, durably and at once; returns the former target, None when there was no link.

    Nothing happens to a link that is right already. Raises LinkRefused when a directory or a file stands there, when the directory is a
    link, missing or writable by anyone, or when the file system refuses.
    """
    check_name(name)
    where = os.path.join(directory, name)
    if not target or "\0" in target:
        raise LinkRefused("Linking %s to %r: expected the path of a release" % (where, target))
    try:
        with opened(directory) as descriptor:
            return swap_at(descriptor, name, target).target
    except LinkRefused as error:
        raise type(error)("Linking %s to %s: %s" % (where, target, error)) from error
    except OSError as error:
        raise LinkRefused("Linking %s to %s: %s. It was left as it was." % (where, target, cause(error))) from error


def replace_at(descriptor: int, name: str, target: str, backup: str, sync: bool = True) -> Standing:
    """Put a link in the place of a file or directory, which is kept under the name `backup`. Returns what stood there. Raises OSError.

    Where the file system can exchange names there is no instant without something at `name`.
    """
    before = read_at(descriptor, name)
    os.symlink(target, backup, dir_fd=descriptor)
    try:
        exchanged = exchange(descriptor, backup, name)
    except BaseException:
        os.unlink(backup, dir_fd=descriptor)
        raise
    if not exchanged:
        os.unlink(backup, dir_fd=descriptor)
        os.rename(name, backup, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        os.symlink(target, name, dir_fd=descriptor)
    if sync:
        os.fsync(descriptor)
    return before


def temporary_name(name: str) -> str:
    """A name in the same directory for a link under way; it tells its owner, so that leftovers of the dead can be found."""
    pid = os.getpid()
    if pid not in _started:
        _started[pid] = process_start_time(pid) or 0
    return ".%s.%d-%d-%d.tmp" % (os.fsdecode(os.fsencode(name)[:120]), pid, _started[pid], next(_counter))


def sweep(descriptor: int) -> None:
    """Remove from the open directory the unfinished links of those who died. Raises OSError."""
    for name in os.listdir(descriptor):
        if not (name.startswith(".") and name.endswith(".tmp")):
            continue
        parts = name[:-4].rpartition(".")[2].split("-")
        if len(parts) != 3 or not all(part.isdigit() for part in parts) or process_start_time(int(parts[0])) == int(parts[1]):
            continue
        if read_at(descriptor, name).kind == "link":
            os.unlink(name, dir_fd=descriptor)


__all__ = [
    "LinkRefused",
    "MISSING",
    "Standing",
    "Unsafe",
    "check_name",
    "open_checked",
    "open_directory",
    "opened",
    "read",
    "read_at",
    "replace_at",
    "swap",
    "swap_at",
    "sweep",
    "temporary_name",
]

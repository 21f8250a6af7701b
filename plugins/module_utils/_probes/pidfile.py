# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pidfiles, which are only believed with proof: stale ones name strangers, and hostile ones name whom they like."""

from __future__ import annotations

import errno
import os
import stat as modes
from typing import Optional

from .._proc import Stat, owner_of, started_wall, stat

PIDFILE_LIMIT = 64
# A file's time is that of the last timer tick, a start time is cut to 1/100 s, and a clock may be slewed in between.
_TOLERANCE = 1.0


class PidfileRefused(Exception):
    """The pidfile exists but names no process that may be believed; the message says why. `unreadable`: we may not even look."""

    def __init__(self, message: str, unreadable: bool = False) -> None:
        super().__init__(message[:500])
        self.unreadable = unreadable


def read_pidfile(path: str) -> Optional[Stat]:
    """The process a pidfile names, with proof; None when there is no such file. Raises PidfileRefused.

    Proof: a regular file, not through a link; the process runs and started before the file was written (else the pid has been given to
    another since); the file belongs to root or us, or else to the user the process runs as: others may not point us at a foreign process.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PidfileRefused("pidfile %s is a symbolic link; name the file itself" % path) from error
        raise PidfileRefused("cannot read pidfile %s: %s" % (path, error.strerror), unreadable=True) from error
    try:
        found = os.fstat(descriptor)
        if not modes.S_ISREG(found.st_mode):
            raise PidfileRefused("pidfile %s is no regular file" % path)
        text = os.read(descriptor, PIDFILE_LIMIT + 1)
    finally:
        os.close(descriptor)
    first = text.split()[:1]
    if len(text) > PIDFILE_LIMIT or not first or not first[0].isdigit() or not 1 < int(first[0]) < 1 << 31:
        raise PidfileRefused("pidfile %s holds %r, not a process id above 1" % (path, text[:20].decode("ascii", "replace")))
    process = stat(int(first[0]))
    if process is None or process.dead:
        raise PidfileRefused("pidfile %s names pid %s, which does not run" % (path, first[0].decode("ascii")))
    _prove(path, found, process)
    return process


def _prove(path: str, found: os.stat_result, process: Stat) -> None:
    trusted = found.st_uid in (0, os.geteuid()) and not found.st_mode & modes.S_IWOTH
    if not trusted:
        uid = owner_of(process.pid)
        if found.st_mode & modes.S_IWOTH or uid != found.st_uid:
            raise PidfileRefused(
                "pidfile %s can be written by others (uid %d, mode %o) and names pid %d of uid %s; refused, as it "
                "could be pointed at any process" % (path, found.st_uid, modes.S_IMODE(found.st_mode), process.pid, uid)
            )
    started = started_wall(process.start_time)
    if started > found.st_mtime + _TOLERANCE:
        raise PidfileRefused(
            "pidfile %s names pid %d, but that process started %.0f s after the file was written: the pid was given to "
            "another" % (path, process.pid, started - found.st_mtime)
        )


__all__ = ["PidfileRefused", "read_pidfile"]

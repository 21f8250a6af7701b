# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this host in a state in which its services are changed on purpose: booting, about to stop, its packages being changed?

Answered from files, without a process: it is asked with every decision. What cannot be read says nothing.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from typing import Optional, Tuple

NOLOGIN = "/run/nologin"
"""systemd has it while the host boots (systemd-tmpfiles) and from five minutes before it stops (systemd-user-sessions, logind)."""
NOLOGIN_HOLDS = 900.0
"""Seconds after which it is taken for one that somebody left there."""

# The lock's file, how it is locked while packages change (rpm also has readers, who change nothing), and whose it is.
PACKAGE_LOCKS: Tuple[Tuple[str, int, str], ...] = (
    ("/var/lib/dpkg/lock-frontend", fcntl.F_WRLCK, "apt"),
    ("/var/lib/dpkg/lock", fcntl.F_WRLCK, "dpkg"),
    ("/usr/lib/sysimage/rpm/.rpm.lock", fcntl.F_RDLCK, "rpm"),
    ("/var/lib/rpm/.rpm.lock", fcntl.F_RDLCK, "rpm"),
)
ANSWER_HOLDS = 1.0
# struct flock with 64-bit offsets: l_type, l_whence, l_start, l_len, l_pid, and what the compiler fills up.
_FLOCK = "hhqqi0q"


class HostState:
    """`why` asks at most once a second."""

    def __init__(self, nologin: str = NOLOGIN, locks: Tuple[Tuple[str, int, str], ...] = PACKAGE_LOCKS) -> None:
        self._nologin = nologin
        self._locks = locks
        self._answer: Optional[str] = None
        self._asked = float("-inf")

    def why(self, now: float) -> Optional[str]:
        """Why its services are better left alone, or None. `now`: monotonic seconds."""
        if now >= self._asked + ANSWER_HOLDS:
            self._asked = now
            self._answer = self._booting_or_stopping() or self._packages()
        return self._answer

    def forget(self) -> None:
        """The next answer is a fresh one."""
        self._asked = float("-inf")

    def _booting_or_stopping(self) -> Optional[str]:
        try:
            age = time.time() - os.stat(self._nologin).st_mtime
        except OSError:
            return None
        if abs(age) > NOLOGIN_HOLDS:
            return None
        return "the host is booting or about to stop: %s is there since %.0f s" % (self._nologin, age)

    def _packages(self) -> Optional[str]:
        for path, kind, whose in self._locks:
            pid = _locked_by(path, kind)
            if pid is not None:
                return "packages are being changed: %s holds %s%s" % (whose, path, " (pid %d)" % pid if pid > 0 else "")
        return None


def _locked_by(path: str, kind: int) -> Optional[int]:
    """Who holds a lock that one of `kind` would wait for (0: a process that is not seen here). None: nobody, or it cannot be known."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    found, _whence, _start, _length, pid = struct.unpack(_FLOCK, answer)
    return None if found == fcntl.F_UNLCK else max(0, int(pid))


__all__ = ["ANSWER_HOLDS", "HostState", "NOLOGIN_HOLDS", "PACKAGE_LOCKS"]

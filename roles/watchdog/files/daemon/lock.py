# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One watchdog a host: a lock that dies with its holder, in a file that says who that is."""

from __future__ import annotations

import fcntl
import os

from .._core.errors import RecordError, SelfhealError
from .._records.files import cause, make_directory, open_lock

NAME = "watchdog.lock"


class AlreadyRunning(SelfhealError):
    """Another watchdog works on this run_dir; says its pid."""


class InstanceLock:
    """Held until `release` or the end of this process; not inherited by what it starts."""

    def __init__(self, run_dir: str) -> None:
        self.path = os.path.join(run_dir, NAME)
        make_directory(run_dir, 0o755)
        try:
            self._descriptor = open_lock(self.path)
        except OSError as error:
            raise RecordError("opening %s: %s" % (self.path, cause(error))) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = self._read()
            os.close(self._descriptor)
            message = "another watchdog (pid %s) holds %s; stop it first, or give this one its own run_dir"
            raise AlreadyRunning(message % (pid, self.path)) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def _read(self) -> str:
        return os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"

    def release(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def holder(run_dir: str) -> str:
    """The pid of the watchdog that runs on this run_dir, or an empty string."""
    path = os.path.join(run_dir, NAME)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return ""  # no file, or none of ours to read: whoever asks goes on without
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return ""
    except BlockingIOError:
        return os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)


__all__ = ["AlreadyRunning", "InstanceLock", "NAME", "holder"]

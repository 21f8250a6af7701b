# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics as a file, for the node exporter's textfile collector: whole or not there, and never in the loop's way.

A host whose endpoint nobody can reach is seen all the same; when the watchdog dies its last cycle's timestamp stands still there.
"""

from __future__ import annotations

import math
import os
from typing import Callable, Optional

from .._records.files import cause, temporary_name

EVERY = 15.0
"""Seconds between two writings; scrapes are seldom closer."""
MODE = 0o644


class Textfile:
    """Rides on the loop. render: the metrics now; complain: told once of each new problem, and (None) when it is over."""

    def __init__(self, path: Optional[str], render: Callable[[], bytes], complain: Callable[[Optional[str]], None]) -> None:
        self.wake = -math.inf if path is not None else math.inf
        self.problem: Optional[str] = None
        self._path = path
        self._render = render
        self._complain = complain

    def turn(self, now: float) -> None:
        """Write it when that is due."""
        if self._path is None or now < self.wake:
            return
        self.wake = now + EVERY
        problem = self._write(self._path, self._render())
        if problem != self.problem:
            self.problem = problem
            self._complain(problem)

    @staticmethod
    def _write(path: str, data: bytes) -> Optional[str]:
        """Why it could not be written, or None. Not synced to the disk: after a power cut it is old news."""
        temporary = temporary_name(path)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
            try:
                os.fchmod(descriptor, MODE)  # whatever our umask is: the node exporter is another user
                written = os.write(descriptor, data)
            finally:
                os.close(descriptor)
            if written != len(data):
                os.unlink(temporary)
                return "the metrics file %s could not be written whole; is its disk full?" % path
            os.rename(temporary, path)
        except OSError as error:
            _forget(temporary)
            return "the metrics file %s cannot be written: %s; its directory must exist, and be root's" % (path, cause(error))
        return None


def _forget(temporary: str) -> None:
    if os.path.lexists(temporary):
        os.unlink(temporary)


__all__ = ["EVERY", "Textfile"]

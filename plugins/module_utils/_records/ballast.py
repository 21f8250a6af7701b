# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that reserves room: given back when the disk is full, so that the last words can still be written."""

from __future__ import annotations

import os
import time

from .files import remove

SIZE = 1024 * 1024
_AGAIN = 60.0


class Ballast:
    """1 MiB at `path`. Its methods are called under the timeline's lock."""

    def __init__(self, path: str, size: int = SIZE) -> None:
        self._path = path
        self._size = size
        self._next = 0.0
        self.reserved = False

    def release(self) -> bool:
        """Give the room back; False when there was none to give."""
        self.reserved = False
        self._next = time.monotonic() + _AGAIN
        return remove(self._path)

    def keep(self) -> None:
        """Have the room reserved, if the disk has plenty. Looks at most once a minute; costs nothing in between."""
        if self.reserved:
            return
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _AGAIN
        self.reserved = self._reserve()

    def _reserve(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            if os.fstat(descriptor).st_size >= self._size:
                return True
            room = os.fstatvfs(descriptor)
            # Taking the last of it would only make others fail sooner.
            if room.f_bavail * room.f_frsize >= 4 * self._size:
                os.posix_fallocate(descriptor, 0, self._size)
                return True
        except OSError:
            # No room after all, or a file system that cannot reserve: an empty ballast helps nobody.
            remove(self._path)
            return False
        finally:
            os.close(descriptor)
        remove(self._path)
        return False


__all__ = ["Ballast", "SIZE"]

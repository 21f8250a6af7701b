# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two system calls that Python's standard library does not offer, through the C library that is loaded anyway.

Each has a way out where the C library or the file system lacks it, so nothing depends on them but speed and a shorter instant.
"""

from __future__ import annotations

import errno
import os
from typing import Any, List, Optional

_EXCHANGE = 2
FEW = 64
"""So many files and directories are made durable one by one."""
_library: List[Any] = []


def _libc() -> Any:
    """The C library of this process, or None."""
    if not _library:
        try:
            import ctypes

            _library.append(ctypes.CDLL(None, use_errno=True))
        except (ImportError, OSError):
            _library.append(None)
    return _library[0]


def _called(name: str, *arguments: Any) -> Optional[int]:
    """The errno of a call (0: it went well); None where there is no such call."""
    function = getattr(_libc(), name, None)
    if function is None:
        return None
    import ctypes

    ctypes.set_errno(0)
    return 0 if function(*arguments) == 0 else ctypes.get_errno()


def has_syncfs() -> bool:
    """Can a whole file system be made durable at once?"""
    return getattr(_libc(), "syncfs", None) is not None


def sync_filesystem(descriptor: int) -> bool:
    """Make everything on the file system of that open file durable (syncfs(2)); False where there is no such call. Raises OSError."""
    number = _called("syncfs", descriptor)
    if number is None or number == errno.ENOSYS:
        return False
    if number:
        raise OSError(number, os.strerror(number))
    return True


def sync_many(descriptors: List[int]) -> None:
    """Make what happened in these open files and directories durable, if they are many by their file systems. Raises OSError."""
    if len(descriptors) > FEW:
        devices = {os.fstat(descriptor).st_dev: descriptor for descriptor in descriptors}
        if all(sync_filesystem(descriptor) for descriptor in devices.values()):
            return
    for descriptor in descriptors:
        os.fsync(descriptor)


def exchange(descriptor: int, one: str, other: str) -> bool:
    """Exchange two names in an open directory at once (renameat2(2)); False where that cannot be done. Raises OSError."""
    number = _called("renameat2", descriptor, os.fsencode(one), descriptor, os.fsencode(other), _EXCHANGE)
    if number is None or number in (errno.ENOSYS, errno.EINVAL):
        return False
    if number:
        raise OSError(number, os.strerror(number), one, None, other)
    return True


__all__ = ["FEW", "exchange", "has_syncfs", "sync_filesystem", "sync_many"]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are whole or absent, directories that are ours, and processes that are provably the same or provably gone."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import stat
import time
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Set, Tuple

from .._core.errors import RecordError

_counter = itertools.count()
_swept: Set[str] = set()
_boot: Dict[str, str] = {}


def cause(error: OSError) -> str:
    """An operating system error in words, with its symbolic name: ``No space left on device (ENOSPC)``."""
    number = error.errno or 0
    return "%s (%s)" % (os.strerror(number) if number else error, errno.errorcode.get(number, number))


def boot_id() -> str:
    """The kernel's id of this boot. Raises RecordError."""
    if "id" not in _boot:
        path = "/proc/sys/kernel/random/boot_id"
        try:
            with open(path, encoding="ascii") as file:
                _boot["id"] = file.read().strip()
        except OSError as error:
            raise RecordError("Cannot tell this boot from another: reading %s: %s. Is /proc mounted?" % (path, cause(error))) from error
    return _boot["id"]


def process_start_time(pid: int) -> Optional[int]:
    """When the process started, in clock ticks since boot (proc(5), field 22); None when there is none or only its zombie."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            # The name in parentheses may hold spaces and parentheses itself.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # A zombie with more than one thread is a process whose first thread has ended; it runs.
    if fields[0] in (b"Z", b"X", b"x") and int(fields[17]) <= 1:
        return None
    return int(fields[19])


@dataclass(frozen=True)
class Owner:
    """A process that cannot be mistaken for another: pid, start time in clock ticks since boot, boot id."""

    pid: int
    start_time: int
    boot_id: str

    @classmethod
    def current(cls) -> "Owner":
        """This process. Raises RecordError when /proc cannot tell."""
        start = process_start_time(os.getpid())
        if start is None:
            raise RecordError("Cannot read the start time of this process from /proc/%d/stat. Is /proc mounted?" % os.getpid())
        return cls(os.getpid(), start, boot_id())

    @classmethod
    def from_data(cls, data: Any) -> "Owner":
        """From ``{pid, start_time, boot_id}``. Raises ValueError."""
        if not isinstance(data, Mapping):
            raise ValueError("owner is %s, not an object" % type(data).__name__)
        pid, start, boot = data.get("pid"), data.get("start_time"), data.get("boot_id")
        if not isinstance(pid, int) or not isinstance(start, int) or pid is True or not 0 < pid < 1 << 31 or not isinstance(boot, str):
            raise ValueError("owner needs pid, start_time (integers) and boot_id")
        return cls(pid, start, boot)

    def as_data(self) -> Dict[str, Any]:
        return {"pid": self.pid, "start_time": self.start_time, "boot_id": self.boot_id}

    def alive(self) -> Optional[bool]:
        """True or False when it is certain, None when this process may not know (another user's process under hidepid)."""
        if self.boot_id != boot_id():
            return False
        try:
            start = process_start_time(self.pid)
        except (OSError, ValueError, IndexError):
            return None
        if start is not None:
            return start == self.start_time
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return None
        # It takes signals but shows nothing under /proc: a zombie (readable, dead) or hidden (unknown).
        return False if os.path.exists("/proc/%d/stat" % self.pid) else None


def sync_directory(path: str) -> None:
    """Make names created, renamed or removed in `path` durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_directory(path: str) -> bool:
    """Is there a directory that is safe to write records into? False when there is nothing; RecordError when it is unsafe."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RecordError("Looking at directory %s: %s" % (path, cause(error))) from error
    if stat.S_ISLNK(found.st_mode):
        raise RecordError("%s is a symbolic link; expected a directory. Give the directory itself, or remove the link." % path)
    if not stat.S_ISDIR(found.st_mode):
        raise RecordError("%s is no directory. Move it out of the way, or give another path." % path)
    if os.geteuid() == 0:
        if found.st_uid != 0:
            raise RecordError(
                "Directory %s belongs to uid %d; root writes its records only into its own. chown it to root." % (path, found.st_uid)
            )
        if found.st_mode & stat.S_IWOTH:
            raise RecordError("Directory %s can be written by anyone; root keeps no records there. chmod o-w it." % path)
    return True


def make_directory(path: str, mode: int = 0o700) -> None:
    """Have a safe directory at `path`, with its parents. Raises RecordError."""
    if check_directory(path):
        return
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        make_directory(parent, max(mode, 0o755) if mode & 0o055 else mode)
    elif os.geteuid() == 0 and os.stat(parent).st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
        raise RecordError("Anyone could exchange %s, as %s can be written by anyone. chmod o-w that directory." % (path, parent))
    try:
        os.mkdir(path, mode)
        sync_directory(parent)
    except FileExistsError:
        check_directory(path)
    except OSError as error:
        raise RecordError("Creating directory %s: %s" % (path, cause(error))) from error


def temporary_name(path: str) -> str:
    """A name beside `path` for a file under way; it tells its owner, so that leftovers of the dead can be found."""
    folder, name = os.path.split(path)
    start = process_start_time(os.getpid()) or 0
    return os.path.join(folder, ".%s.%d-%d-%d.tmp" % (name[:120], os.getpid(), start, next(_counter)))


def _sweep(folder: str) -> None:
    """Once per process and directory: remove the unfinished files of writers that died."""
    if folder not in _swept:
        _swept.add(folder)
        sweep(folder)


def sweep(folder: str) -> None:
    """Remove the unfinished files of writers that died. Raises OSError."""
    for name in os.listdir(folder):
        if not (name.startswith(".") and name.endswith(".tmp")):
            continue
        parts = name[:-4].rpartition(".")[2].split("-")
        if len(parts) == 3 and all(part.isdigit() for part in parts) and process_start_time(int(parts[0])) != int(parts[1]):
            remove(os.path.join(folder, name))


def remove(path: str) -> bool:
    """Remove a file; was there one? Raises OSError for anything but its absence."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def write_new(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write and fsync a file that must not exist; nothing is left behind when it fails. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        remove(path)
        raise


def replace_file(path: str, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `data` so that readers, crashes and power cuts see the old or the new, whole. Raises RecordError."""
    folder = os.path.dirname(path) or "."
    temporary = temporary_name(path)
    try:
        write_new(temporary, data, mode)
        try:
            os.rename(temporary, path)
        except BaseException:
            remove(temporary)
            raise
        sync_directory(folder)
        _sweep(folder)
    except OSError as error:
        raise RecordError("Writing %s: %s. It was left as it was." % (path, cause(error))) from error


def read_file(path: str, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes; never follows a link, never waits. Raises OSError or ValueError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file")
        if found.st_size > limit:
            raise ValueError("it has %d bytes; at most %d are read" % (found.st_size, limit))
        parts = []
        left = limit + 1
        while left > 0:
            part = os.read(descriptor, min(left, 1 << 20))
            if not part:
                break
            parts.append(part)
            left -= len(part)
        if left <= 0:
            raise ValueError("it has more than %d bytes" % limit)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def lock_holder(descriptor: int) -> Optional[int]:
    """The pid that holds a flock on that file, as far as /proc/locks tells."""
    found = os.fstat(descriptor)
    wanted = "%02x:%02x:%d" % (os.major(found.st_dev), os.minor(found.st_dev), found.st_ino)
    try:
        with open("/proc/locks", encoding="ascii") as file:
            for line in file:
                fields = line.split()
                if fields[1] == "FLOCK" and fields[5] == wanted and int(fields[4]) > 0:
                    return int(fields[4])
    except (OSError, ValueError, IndexError):
        return None
    return None


def lock_file(descriptor: int, path: str, seconds: float) -> None:
    """Take the exclusive flock on an open file within `seconds`. Raises RecordError naming the holder.

    The kernel offers no flock with a deadline, hence the attempts; locks are held for microseconds, so the first one mostly succeeds.
    """
    pause, until = 0.0001, 0.0
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            now = time.monotonic()
            until = until or now + seconds
            if now >= until:
                break
            time.sleep(min(pause, until - now))
            pause = min(pause * 1.5, 0.005)
        except OSError as error:
            raise RecordError("Locking %s: %s" % (path, cause(error))) from error
    pid = lock_holder(descriptor)
    who = "process %d (%s)" % (pid, _command(pid)) if pid else "another process"
    raise RecordError(
        "Waited %.1f s for the lock %s, held by %s. It is held for microseconds; see whether that process hangs." % (seconds, path, who)
    )


def _command(pid: int) -> str:
    try:
        with open("/proc/%d/comm" % pid, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "gone since"


def open_lock(path: str) -> int:
    """An open descriptor of a lock file; never inherited by a program that is started. Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def set_aside(path: str, mark: str, moment: str) -> str:
    """Rename what stands at `path` to ``<path>.<mark>-<moment>`` (made unique) and return that. Raises OSError."""
    aside = "%s.%s-%s" % (path, mark, moment)
    number = 1
    while os.path.lexists(aside):
        number += 1
        aside = "%s.%s-%s-%d" % (path, mark, moment, number)
    os.rename(path, aside)
    sync_directory(os.path.dirname(path) or ".")
    return aside


def identity(found: os.stat_result) -> Tuple[int, int]:
    """What tells one file from another under the same name."""
    return found.st_dev, found.st_ino


__all__ = [
    "Owner",
    "boot_id",
    "cause",
    "check_directory",
    "identity",
    "lock_file",
    "lock_holder",
    "make_directory",
    "open_lock",
    "process_start_time",
    "read_file",
    "remove",
    "replace_file",
    "set_aside",
    "sweep",
    "sync_directory",
    "temporary_name",
    "write_new",
]

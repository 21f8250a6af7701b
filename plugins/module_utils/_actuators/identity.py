# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process is a service's: the record that it leaves of itself before it runs, and the lock under which it is started.

Why two instances never run, wherever the starter is killed: the starter takes an flock and forks; the child, which shares the lock, writes
the record with its own pid and start time, and only then executes the program, which lets go of the lock. Whoever gets the lock
later therefore knows that no child is on its way to its exec, and that every child that has got there is on record.

Records lie in the run directory (a tmpfs) and are void after a reboot, so they are replaced atomically but not fsynced.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from typing import Any, Mapping, Optional

from .._core.errors import RecordError
from .._records.files import cause, check_directory, make_directory, open_lock, read_file, remove, temporary_name

_LIMIT = 65536
_SCHEMA = 1


@dataclass(frozen=True)
class Record:
    """`pid` and `start_time` name the process started; `since` is its start (seconds since the epoch, for people).

    `unit`: the transient unit it runs as, or None. `main` {pid, start_time}: the process its pidfile named when it was told to stop.
    `stopping`: when it was told to stop (monotonic seconds), or None.
    """

    pid: int
    start_time: int
    boot_id: str
    since: float
    unit: Optional[str] = None
    stopping: Optional[float] = None
    main: Optional[Mapping[str, int]] = None


class Registry:
    """The record of one service: ``<run_dir>/processes/<service>.json``."""

    def __init__(self, run_dir: str, service: str, boot_id: str) -> None:
        self._folder = os.path.join(run_dir, "processes")
        self.path = os.path.join(self._folder, "%s.json" % service)
        self._lock = os.path.join(self._folder, "%s.lock" % service)
        self.boot_id = boot_id

    def read(self) -> Optional[Record]:
        """This boot's record, None when there is none. Raises RecordError: what cannot be read is not taken for absent."""
        try:
            data = json.loads(read_file(self.path, _LIMIT).decode("utf-8"))
            record = _from_data(data)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordError("Reading the process record %s: %s" % (self.path, cause(error))) from error
        except (ValueError, TypeError, KeyError) as error:
            raise RecordError(
                "The process record %s cannot be understood (%s: %s), so nobody knows whether the service runs. See whether "
                "it does, stop it, and remove that file." % (self.path, type(error).__name__, error)
            ) from error
        return record if record.boot_id == self.boot_id else None

    def write(self, record: Record) -> None:
        """Replace the record atomically. Also called between fork and exec: plain system calls only. Raises OSError."""
        data = json.dumps(dict(asdict(record), schema=_SCHEMA), sort_keys=True).encode("utf-8") + b"\n"
        temporary = temporary_name(self.path)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, data)
            os.rename(temporary, self.path)
        except BaseException:
            remove(temporary)
            raise
        finally:
            os.close(descriptor)

    def prepare(self) -> None:
        """Have the directory. Raises RecordError."""
        make_directory(self._folder)

    def lock(self) -> Optional[int]:
        """Take the right to start or stop: a descriptor to close, or None while somebody else has it. Raises OSError."""
        descriptor = open_lock(self._lock)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def locked(self) -> bool:
        """Whether somebody is starting or stopping it now. Raises OSError and RecordError."""
        if not check_directory(self._folder) or not os.path.exists(self._lock):
            return False
        descriptor = self.lock()
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def made(self, pid: int, start_time: int, unit: Optional[str] = None) -> Record:
        """A fresh record."""
        return Record(pid, start_time, self.boot_id, round(time.time(), 3), unit)


def _from_data(data: Any) -> Record:
    if data["schema"] != _SCHEMA:
        raise ValueError("schema %r, expected %d" % (data["schema"], _SCHEMA))
    fields = {key: value for key, value in data.items() if key != "schema"}
    record = Record(**fields)
    numbers = [record.pid, record.start_time] + ([record.main["pid"], record.main["start_time"]] if record.main is not None else [])
    if any(not isinstance(number, int) or isinstance(number, bool) or number < 0 for number in numbers) or record.pid < 2:
        raise ValueError("pid and start_time must be numbers, pid above 1")
    if not isinstance(record.boot_id, str) or not (record.stopping is None or isinstance(record.stopping, (int, float))):
        raise ValueError("boot_id must be a text, stopping a number")
    return record


__all__ = ["Record", "Registry"]

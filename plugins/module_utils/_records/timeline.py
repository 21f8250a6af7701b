# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Appending to the timeline: hash-chained JSON lines, safe from any number of processes and threads.

The format is told in ``docs/timeline.md``. One line is one write; the chain is carried on under a lock that is held for
microseconds; the line is on the disk when `Timeline.append` returns. Whoever finds a torn last line moves it aside first.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

from .._core.errors import RecordError
from .._core.times import compact
from .ballast import Ballast
from .events import OWN_TYPES, Draft, EventRefused, draft
from .files import cause, lock_file, make_directory, open_lock, sync_directory, write_new
from .segments import (
    RETENTION,
    SEGMENT_SIZE,
    ZEROS,
    Head,
    Segment,
    Tail,
    digest,
    find_end,
    last_head,
    open_segment,
    parse,
    segment_path,
    segments,
)

_AT_ONCE = fcntl.LOCK_EX | fcntl.LOCK_NB
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PENDING = ".pending"


class Timeline:
    """One host's timeline in `directory`. `host` is written into every event; `clock` gives seconds since the epoch.

    `journal` is called with every event that has become durable. No method may be called from a signal handler.
    """

    def __init__(
        self,
        directory: str,
        host: str,
        clock: Callable[[], float] = time.time,
        journal: Optional[Callable[[Mapping[str, Any]], None]] = None,
        segment_size: int = SEGMENT_SIZE,
        retention: int = RETENTION,
        lock_timeout: float = 5.0,
        ballast: bool = True,
    ) -> None:
        self.directory = os.path.abspath(directory)
        self.host = host
        self.clock = clock
        self.journal = journal
        self.lock_timeout = lock_timeout
        self._segment_size = segment_size
        self._retention = retention
        self._ballast = Ballast(os.path.join(self.directory, ".ballast")) if ballast else None
        self._threads = threading.Lock()
        self._lock = -1
        self._pid = 0
        self._seen: Optional[Head] = None
        self._tail: Optional[Tail] = None

    def draft(
        self,
        type: str,
        service: Optional[str] = None,
        incident: Optional[str] = None,
        source: str = "watchdog",
        data: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[Union[float, str]] = None,
    ) -> Draft:
        """Check and clean an event without writing it. Raises EventRefused."""
        if type in OWN_TYPES:
            raise EventRefused("Events of type %s are written by the timeline itself only. Use note for what people have to say." % type)
        return draft(self.host, self.clock() if timestamp is None else timestamp, type, service, incident, source, data)

    def append(
        self,
        type: str,
        service: Optional[str] = None,
        incident: Optional[str] = None,
        source: str = "watchdog",
        data: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[Union[float, str]] = None,
    ) -> Dict[str, Any]:
        """Write one event; it is durable on return. Returns the event with its seq and hash.

        Raises EventRefused when the event is wrong, RecordError when it could not be written (disk full, read-only, lock not given).
        """
        return self.write(self.draft(type, service, incident, source, data, timestamp))

    def write(self, event: Draft, durable: bool = True, lock_timeout: Optional[float] = None) -> Dict[str, Any]:
        """Append a drafted event. With ``durable=False`` the caller owes a `sync`. Raises RecordError."""
        written = self._guarded(self._put, event, durable, self.lock_timeout if lock_timeout is None else lock_timeout)
        if durable and self.journal is not None:
            self.journal(written)
        return written

    def write_all(self, events: Sequence[Draft], lock_timeout: Optional[float] = None) -> None:
        """Append drafted events by one write: all of them or none; durable on return. Meant for up to 1 MiB. Raises RecordError."""
        written = self._guarded(self._put_all, events, True, self.lock_timeout if lock_timeout is None else lock_timeout)
        if self.journal is not None:
            for event in written:
                self.journal(event)

    def _guarded(self, put: Callable[[Tail, Any], Any], events: Any, durable: bool, wait: float) -> Any:
        if not self._threads.acquire(False) and not self._threads.acquire(timeout=max(wait, 0.001)):
            raise RecordError("Waited %.1f s for another thread that writes to the timeline %s" % (wait, self.directory))
        try:
            if self._pid != os.getpid() or self._lock < 0:
                self._open_lock()
            lock = self._lock
            try:
                fcntl.flock(lock, _AT_ONCE)
            except BlockingIOError:
                lock_file(lock, os.path.join(self.directory, ".lock"), wait)
            try:
                tail = self._tail
                if tail is None or not tail.still_true(lock):
                    tail = self._load()
                written = put(tail, events)
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)
            if durable and self._tail is not None:
                os.fdatasync(self._tail.descriptor)
            return written
        except OSError as error:
            self._forget()
            raise RecordError("Writing to the timeline %s: %s. The event was not recorded." % (self.directory, cause(error))) from error
        except RecordError:
            self._forget()
            raise
        finally:
            self._threads.release()

    def sync(self) -> None:
        """Make everything written so far durable. Raises RecordError."""
        with self._threads:
            try:
                if self._tail is not None:
                    os.fdatasync(self._tail.descriptor)
            except OSError as error:
                self._forget()
                raise RecordError("Making the timeline %s durable: %s" % (self.directory, cause(error))) from error

    def close(self) -> None:
        """Give back the descriptors. The timeline can be used again."""
        with self._threads:
            self._forget()

    def __del__(self) -> None:
        # Whoever makes one for an errand need not know that it holds descriptors.
        if hasattr(self, "_tail"):
            self._forget()

    # Everything below runs under self._threads; from _put on also under the file lock.

    def _forget(self) -> None:
        if self._tail is not None:
            self._seen = self._tail.head
            os.close(self._tail.descriptor)
            self._tail = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _open_lock(self) -> None:
        # A forked child shares its parent's open lock file, and with it the lock: it needs its own.
        self._forget()
        make_directory(self.directory, 0o750)
        self._lock = open_lock(os.path.join(self.directory, ".lock"))
        self._pid = os.getpid()

    def _put(self, tail: Tail, event: Draft) -> Dict[str, Any]:
        previous = tail.hash
        line = event.line(tail.seq + 1, previous)
        if tail.size and tail.size + len(line) > self._segment_size:
            tail = self._roll(tail)
            previous = tail.hash
            line = event.line(tail.seq + 1, previous)
        self._line(tail, line)
        return event.event(tail.seq, previous, tail.hash)

    def _put_all(self, tail: Tail, events: Sequence[Draft]) -> List[Dict[str, Any]]:
        if tail.size and tail.size + sum(len(event.body) + 256 for event in events) > self._segment_size:
            tail = self._roll(tail)
        seq, previous, lines, written = tail.seq, tail.hash, [], []
        for event in events:
            seq += 1
            line = event.line(seq, previous)
            own = digest(line[:-1])
            lines.append(line)
            written.append(event.event(seq, previous, own))
            previous = own
        self._line(tail, b"".join(lines), len(lines), previous)
        return written

    def _line(self, tail: Tail, line: bytes, count: int = 1, last: str = "") -> None:
        """Write one line (or `count`, the last one's hash being `last`). Raises OSError; the file then ends where it ended."""
        try:
            written = os.write(tail.descriptor, line)
        except OSError as error:
            self._make_room(error)
            written = os.write(tail.descriptor, line)
        if written != len(line):
            # A full disk takes what fits; the rest of the line would follow later, or never.
            os.ftruncate(tail.descriptor, tail.size)
            self._make_room(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            if os.write(tail.descriptor, line) != len(line):
                os.ftruncate(tail.descriptor, tail.size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        tail.size += len(line)
        tail.seq += count
        tail.hash = last or digest(line[:-1])
        if self._ballast is not None and not self._ballast.reserved:
            self._ballast.keep()

    def _make_room(self, error: OSError) -> None:
        """Give the ballast back if that helps against `error`, which is raised if it does not."""
        if error.errno not in _FULL or self._ballast is None or not self._ballast.release():
            raise error

    def _say(self, tail: Tail, type: str, data: Dict[str, Any]) -> None:
        """An event of the timeline about itself."""
        self._line(tail, draft(self.host, self.clock(), type, data=data).line(tail.seq + 1, tail.hash))

    def _roll(self, tail: Tail) -> Tail:
        # The old segment must be whole before the new one refers to it. Other writers see by the lock file's length, one byte
        # a segment begun, that the one they know is the last no more.
        os.fdatasync(tail.descriptor)
        os.pwrite(self._lock, b"+", os.lseek(self._lock, 0, os.SEEK_END))
        tail = self._open(tail.number + 1, tail.head, create=True)
        self._prune(tail)
        return tail

    def _open(self, number: int, head: Head, create: bool) -> Tail:
        path = segment_path(self.directory, number)
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags | (os.O_CREAT | os.O_EXCL if create else 0), 0o600)
        if create:
            try:
                sync_directory(self.directory)
            except BaseException:
                os.close(descriptor)
                raise
        if self._tail is not None:
            os.close(self._tail.descriptor)
        self._tail = Tail(number, path, descriptor, head, os.lseek(self._lock, 0, os.SEEK_END))
        return self._tail

    def _load(self) -> Tail:
        """Find the end of the chain on the disk, and repair it where the last writer died."""
        seen = self._tail.head if self._tail is not None else self._seen
        found = segments(self.directory)
        head, junk = Head(0, ZEROS), []
        for segment in reversed(found):
            descriptor = open_segment(segment.path)
            try:
                end = find_end(descriptor, os.fstat(descriptor).st_size)
            finally:
                os.close(descriptor)
            if end.junk:
                junk.append((segment, end))
            if end.line is not None:
                head = Head(parse(end.line)["seq"], digest(end.line))
                break
        repairs = [self._move_aside(segment, end.offset, end.junk, end.problem) for segment, end in junk]
        tail = self._open(found[-1].number if found else 1, head, create=not found)
        repairs += self._recorded_nowhere(repairs)
        if seen is not None and head.seq < seen.seq:
            repairs.append({"cause": "shortened", "found_seq": head.seq, "expected_seq": seen.seq, "expected_hash": seen.hash})
        for repair in repairs:
            self._say(tail, "log_repair", repair)
        if repairs:
            os.fdatasync(tail.descriptor)
            self._settle(repairs)
        return tail

    def _move_aside(self, segment: Segment, offset: int, size: int, problem: str) -> Dict[str, Any]:
        """Copy what follows the last whole event to a side file, then cut it off. Killed in between, it is simply done again."""
        with open(segment.path, "rb") as file:
            file.seek(offset)
            junk = file.read(size)
        stem = "%s.torn-%s" % (segment.path, compact(self.clock()))
        aside, number = stem, 1
        while os.path.lexists(aside) or os.path.lexists(aside + _PENDING):
            number += 1
            aside = "%s-%d" % (stem, number)
        try:
            write_new(aside + _PENDING, junk)
        except OSError as error:
            self._make_room(error)
            write_new(aside + _PENDING, junk)
        sync_directory(self.directory)
        descriptor = os.open(segment.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, offset)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        return {
            "cause": "torn",
            "problem": problem,
            "segment": segment.name,
            "offset": offset,
            "bytes": size,
            "moved_to": os.path.basename(aside),
        }

    def _recorded_nowhere(self, repairs: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
        """Side files of a repair that was killed before it could be recorded."""
        known = {repair["moved_to"] + _PENDING for repair in repairs}
        names = [name for name in os.listdir(self.directory) if ".torn-" in name and name.endswith(_PENDING) and name not in known]
        return [
            {
                "cause": "torn",
                "segment": name.partition(".torn-")[0],
                "moved_to": name[: -len(_PENDING)],
                "bytes": os.lstat(os.path.join(self.directory, name)).st_size,
                "problem": "moved aside by a writer that died",
            }
            for name in sorted(names)
        ]

    def _settle(self, repairs: List[Dict[str, Any]]) -> None:
        for repair in repairs:
            if "moved_to" in repair:
                aside = os.path.join(self.directory, repair["moved_to"])
                os.rename(aside + _PENDING, aside)
        sync_directory(self.directory)

    def _prune(self, tail: Tail) -> None:
        """Remove the oldest segments once the chain says durably that they are gone, and what stood last in them."""
        older = [segment for segment in segments(self.directory) if segment.number < tail.number]
        sizes = [os.stat(segment.path).st_size for segment in older]
        # The new segment will be filled; room for it counts as taken.
        total, count = sum(sizes) + self._segment_size, 0
        while count < len(older) and total > self._retention:
            total -= sizes[count]
            count += 1
        victims = older[:count]
        last = last_head(victims)
        if last is None:
            return
        data = {
            "last_seq": last.seq,
            "last_hash": last.hash,
            "segments": [segment.name for segment in victims],
            "bytes": sum(sizes[:count]),
        }
        self._say(tail, "log_prune", data)
        os.fdatasync(tail.descriptor)
        for segment in victims:
            os.unlink(segment.path)
        sync_directory(self.directory)


__all__ = ["Timeline"]

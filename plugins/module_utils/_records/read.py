# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the timeline: the newest events that match, and a cursor that goes on from there."""

from __future__ import annotations

import functools
import os
from typing import Any, Callable, Dict, Iterator, List, Optional, Union

from .._core.errors import RecordError
from .._core.times import format_time, parse_time
from .events import encode
from .files import cause, identity
from .segments import backwards, digest, head, open_segment, parse, segment_path, segments

_STAMP = b'"timestamp":"'
_BLOCK = 1 << 18


def _matcher(service: Optional[str], type: Optional[str], since: Optional[str], incident: Optional[str]) -> Callable[[bytes], bool]:
    """May this line be one that is wanted? A look at the bytes spares parsing most of the others."""
    needles = [
        b'"%s":%s' % (key, encode(value).encode())
        for key, value in ((b"service", service), (b"type", type), (b"incident", incident))
        if value is not None
    ]
    earliest = since.encode() if since is not None else None

    def wanted(line: bytes) -> bool:
        if earliest is not None:
            start = line.find(_STAMP, 0, 64) + len(_STAMP)
            if line[start : start + 24] < earliest:
                return False
        return all(needle in line for needle in needles)

    return wanted


def _event(line: bytes, service: Optional[str], type: Optional[str], incident: Optional[str]) -> Optional[Dict[str, Any]]:
    """The event with its hash; None when it is not the one wanted after all, or no event (verification tells about those)."""
    try:
        event = parse(line)
    except ValueError:
        return None
    for key, value in (("service", service), ("type", type), ("incident", incident)):
        if value is not None and event.get(key) != value:
            return None
    event["hash"] = digest(line)
    return event


def read(
    directory: str,
    service: Optional[str] = None,
    type: Optional[str] = None,
    since: Optional[Union[float, str]] = None,
    limit: Optional[int] = None,
    after_seq: int = 0,
    incident: Optional[str] = None,
) -> List[Dict[str, Any]]:
    """The events that match, newest last; at most the newest `limit`. A line that is no event is passed over.

    `since` is seconds since the epoch or an ISO point in time. Reads from the end, so a small limit costs little.
    Raises RecordError; ValueError for a bad `since`. A timeline that does not exist has no events.
    """
    if limit is not None and limit <= 0:
        return []
    earliest = None if since is None else format_time(parse_time(since) if isinstance(since, str) else since)
    wanted = _matcher(service, type, earliest, incident)
    found: List[Dict[str, Any]] = []
    for segment in reversed(segments(directory)):
        try:
            descriptor = open_segment(segment.path)
        except FileNotFoundError:
            # Retention removed it after the directory was listed: it was the oldest.
            break
        except OSError as error:
            raise RecordError("Reading %s: %s" % (segment.path, cause(error))) from error
        try:
            for _offset, line in backwards(descriptor, os.fstat(descriptor).st_size):
                if not line.endswith(b"\n"):
                    continue
                if after_seq and _seq(line) <= after_seq:
                    return found[::-1]
                event = _event(line[:-1], service, type, incident) if wanted(line) else None
                if event is not None:
                    found.append(event)
                    if len(found) == limit:
                        return found[::-1]
        except OSError as error:
            raise RecordError("Reading %s: %s" % (segment.path, cause(error))) from error
        finally:
            os.close(descriptor)
    return found[::-1]


def _seq(line: bytes) -> int:
    """The seq at the line's beginning; one beyond all for what is no event."""
    digits = line[7 : line.find(b",", 7, 32)]
    return int(digits) if line.startswith(b'{"seq":') and digits.isdigit() else 1 << 62


def scan(directory: str, service: Optional[str] = None, since: Optional[Union[float, str]] = None) -> Iterator[Dict[str, Any]]:
    """The events that match, oldest first, one at a time: for going through a log of any size. Raises RecordError, ValueError."""
    earliest = None if since is None else format_time(parse_time(since) if isinstance(since, str) else since)
    wanted = _matcher(service, None, earliest, None)
    for segment in segments(directory):
        try:
            with os.fdopen(open_segment(segment.path), "rb", _BLOCK) as file:
                # A line beyond all sizes comes in pieces, none of which is an event.
                for line in iter(functools.partial(file.readline, _BLOCK), b""):
                    event = _event(line[:-1], service, None, None) if line.endswith(b"\n") and wanted(line) else None
                    if event is not None:
                        yield event
        except FileNotFoundError:
            # Retention removed it after the directory was listed.
            continue
        except OSError as error:
            raise RecordError("Reading %s: %s" % (segment.path, cause(error))) from error


class Cursor:
    """Goes on where the last call ended: for ``timeline tail --follow`` and for views that are asked again and again.

    `after_seq`: begin after that event; None means after the present last one.
    """

    def __init__(self, directory: str, after_seq: Optional[int] = None) -> None:
        self._directory = directory
        self._number = 0
        self._offset = 0
        self._file = (0, 0)
        if after_seq is None:
            newest = read(directory, limit=1)
            after_seq = newest[-1]["seq"] if newest else 0
        self.seq = after_seq

    def new(self) -> List[Dict[str, Any]]:
        """The events written since, oldest first. Raises RecordError."""
        if not self._number:
            return self._find()
        events: List[Dict[str, Any]] = []
        while True:
            following = os.path.exists(segment_path(self._directory, self._number + 1))
            more = self._more()
            if more is None:
                return events + self._find()
            events += more
            if not following:
                return events
            self._number, self._offset, self._file = self._number + 1, 0, (0, 0)

    def _more(self) -> Optional[List[Dict[str, Any]]]:
        """What was added to the present segment; None when it is not the file it was."""
        try:
            descriptor = open_segment(segment_path(self._directory, self._number))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordError("Reading segment %d of %s: %s" % (self._number, self._directory, cause(error))) from error
        try:
            found = os.fstat(descriptor)
            if found.st_size < self._offset or self._file not in ((0, 0), identity(found)):
                return None
            self._file = identity(found)
            if found.st_size == self._offset:
                return []
            return self._lines(os.pread(descriptor, found.st_size - self._offset, self._offset))
        except OSError as error:
            raise RecordError("Reading segment %d of %s: %s" % (self._number, self._directory, cause(error))) from error
        finally:
            os.close(descriptor)

    def _lines(self, block: bytes) -> Optional[List[Dict[str, Any]]]:
        whole = block.rfind(b"\n") + 1
        self._offset += whole
        found = [_event(line, None, None, None) for line in block[:whole].split(b"\n") if line]
        known = [event for event in found if event is not None]
        if known and known[-1]["seq"] < self.seq:
            # Older than what was shown already: another log stands here.
            return None
        events = [event for event in known if event["seq"] > self.seq]
        if events:
            self.seq = events[-1]["seq"]
        return events

    def _find(self) -> List[Dict[str, Any]]:
        """Find the place anew by its seq: at the beginning, and after a repair or retention moved it."""
        found = segments(self._directory)
        if self.seq and head(self._directory).seq < self.seq:
            # The log was begun anew: show what it has now rather than nothing for a long time.
            self.seq = 0
        events = read(self._directory, after_seq=self.seq)
        if found:
            # Lines written meanwhile are read again by the next call and recognised by their seq.
            self._number, self._offset, self._file = found[-1].number, 0, (0, 0)
            try:
                with open(found[-1].path, "rb") as file:
                    end = file.seek(0, os.SEEK_END)
                    self._offset = max(0, end - _BLOCK)
                    file.seek(self._offset)
                    # Begin at a line's beginning; a torn line at the end is read when it is whole.
                    self._offset += file.read(end - self._offset).find(b"\n") + 1 if self._offset else 0
            except OSError as error:
                raise RecordError("Reading %s: %s" % (found[-1].path, cause(error))) from error
        if events:
            self.seq = events[-1]["seq"]
        return events


__all__ = ["Cursor", "read", "scan"]

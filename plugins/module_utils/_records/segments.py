# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a timeline: which there are, where their last whole event ends, what its hash is."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from .._core.errors import RecordError
from .files import cause

ZEROS = "0" * 64
SEGMENT_SIZE = 16 * 1024 * 1024
RETENTION = 256 * 1024 * 1024

_NAME = re.compile(r"\d{6,9}\.jsonl", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CHUNK = 65536
_decode = json.JSONDecoder().raw_decode


class Head(NamedTuple):
    """The last event: its seq and hash. (0, 64 zeros) is the head of an empty timeline."""

    seq: int
    hash: str


@dataclass(frozen=True)
class Segment:
    number: int
    path: str

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


def _small_sha256() -> Callable[..., Any]:
    # The interpreter's own SHA-256 spares the daemon the 4 MB of OpenSSL that hashlib brings; not every build has it.
    try:
        from _sha2 import sha256  # type: ignore[import-not-found]
    except ImportError:
        try:
            from _sha256 import sha256  # type: ignore[import-not-found]
        except ImportError:
            from hashlib import sha256
    found: Callable[..., Any] = sha256
    return found


_sha256 = _small_sha256()


def digest(line: bytes) -> str:
    """SHA-256 of a line's bytes, without the newline, in hex."""
    value: str = _sha256(line).hexdigest()
    return value


def segment_path(directory: str, number: int) -> str:
    return os.path.join(directory, "%06d.jsonl" % number)


def segments(directory: str) -> List[Segment]:
    """The segments, oldest first; none when there is no such directory. Raises RecordError."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RecordError("Reading the timeline %s: %s" % (directory, cause(error))) from error
    found = [Segment(int(name[:-6]), os.path.join(directory, name)) for name in names if _NAME.fullmatch(name)]
    return sorted(found, key=lambda segment: segment.number)


def open_segment(path: str) -> int:
    """A descriptor for reading; never follows a link, and what is no file is not taken for an empty one. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "no regular file")
    return descriptor


def parse(line: bytes) -> Dict[str, Any]:
    """The event in a line. Raises ValueError saying what is wrong with it; checks what the chain needs and no more."""
    try:
        text = line.decode()
        event, end = _decode(text)
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8 at byte %d" % (error.start + 1)) from error
    except ValueError as error:
        raise ValueError("not JSON") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if end != len(text):
        raise ValueError("something follows the event on its line")
    if not isinstance(event, dict):
        raise ValueError("not a JSON object")
    seq, previous = event.get("seq"), event.get("previous")
    if not isinstance(seq, int) or seq is True or seq < 1:
        raise ValueError("seq is %.40r, expected a number from 1" % (seq,))
    if not isinstance(previous, str) or _HEX.fullmatch(previous) is None:
        raise ValueError("previous is %.80r, expected 64 hex digits" % (previous,))
    return event


def backwards(descriptor: int, size: int) -> Iterator[Tuple[int, bytes]]:
    """The lines of a file from the last to the first, as (offset, bytes); each with its newline, the last one perhaps without."""
    start, chunk, carry = size, _CHUNK, b""
    while start > 0:
        begin = max(0, start - chunk)
        block = os.pread(descriptor, start - begin, begin)
        if len(block) != start - begin:
            raise OSError(0, "it became shorter while it was read")
        carry, start, chunk = block + carry, begin, chunk * 2 if carry else _CHUNK
        stop = len(carry)
        while stop:
            # A line begins after a newline; the one that ends the line itself does not count.
            cut = carry.rfind(b"\n", 0, stop - 1)
            if cut < 0:
                break
            yield start + cut + 1, carry[cut + 1 : stop]
            stop = cut + 1
        carry = carry[:stop]
    if carry:
        yield 0, carry


@dataclass(frozen=True)
class End:
    """Where a segment's last whole event ends (`offset`), that event's line, and how many bytes of no use follow."""

    offset: int
    line: Optional[bytes]
    junk: int
    problem: str


def find_end(descriptor: int, size: int) -> End:
    """Find the last line that is an event. Raises OSError."""
    problem = ""
    for offset, text in backwards(descriptor, size):
        if text.endswith(b"\n"):
            line = text[:-1]
            try:
                parse(line)
            except ValueError as error:
                problem = str(error)
                continue
            end = offset + len(text)
            return End(end, line, size - end, problem)
        problem = "no newline at its end"
    return End(0, None, size, problem)


class Tail:
    """What this process knows of the last segment; true as long as the file still has this identity and size."""

    __slots__ = ("number", "path", "descriptor", "device", "inode", "size", "seq", "hash", "turn", "looked")

    def __init__(self, number: int, path: str, descriptor: int, head: Head, turn: int) -> None:
        found = os.fstat(descriptor)
        self.number = number
        self.path = path
        self.descriptor = descriptor
        self.device = found.st_dev
        self.inode = found.st_ino
        self.size = found.st_size
        self.seq, self.hash = head
        self.turn = turn
        self.looked = time.monotonic()

    def still_true(self, lock: int) -> bool:
        """Has nobody else written, begun a segment or removed this one? That somebody moved it away is looked for every 10 ms."""
        found = os.fstat(self.descriptor)
        if found.st_size != self.size or not found.st_nlink or os.lseek(lock, 0, os.SEEK_END) != self.turn:
            return False
        now = time.monotonic()
        if now - self.looked < 0.01:
            return True
        self.looked = now
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return False
        return found.st_ino == self.inode and found.st_dev == self.device

    @property
    def head(self) -> Head:
        return Head(self.seq, self.hash)


def last_head(found: List[Segment]) -> Optional[Head]:
    """The last event of these segments; None when they hold none."""
    for segment in reversed(found):
        descriptor = open_segment(segment.path)
        try:
            end = find_end(descriptor, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)
        if end.line is not None:
            return Head(parse(end.line)["seq"], digest(end.line))
    return None


def head(directory: str) -> Head:
    """The last whole event of a timeline, read without its lock. Raises RecordError."""
    for segment in reversed(segments(directory)):
        try:
            descriptor = open_segment(segment.path)
            try:
                end = find_end(descriptor, os.fstat(descriptor).st_size)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RecordError("Reading %s: %s" % (segment.path, cause(error))) from error
        if end.line is not None:
            return Head(parse(end.line)["seq"], digest(end.line))
    return Head(0, ZEROS)


__all__ = [
    "End",
    "Head",
    "RETENTION",
    "SEGMENT_SIZE",
    "Segment",
    "Tail",
    "ZEROS",
    "backwards",
    "digest",
    "find_end",
    "head",
    "last_head",
    "open_segment",
    "parse",
    "segment_path",
    "segments",
]

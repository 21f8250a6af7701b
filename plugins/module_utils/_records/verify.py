# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the timeline what was written? Walks the chain over the raw bytes, and holds it against an anchor kept elsewhere.

The chain alone shows every change inside the log: a flipped byte, a line dropped, swapped, inserted or doubled. It cannot
show a cut tail, deleted files or a log that was written anew from the start; an anchor (seq, hash) kept off the host does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from .._core.errors import RecordError
from .events import KEYS, MAX_LINE, encode
from .files import cause, lock_file
from .segments import ZEROS, Head, Segment, digest, open_segment, parse, segments

_BLOCK = 1 << 18


@dataclass(frozen=True)
class Verification:
    """`valid`: True, False, or None when an anchor was given that can no longer be held against the log (`anchor_ok` None).

    `events`: how many were found good before `first_bad`. `first_bad`: ``{seq, path, line, problem}`` or None. `head`: the last good event.
    `pruned`: the seq up to which the log itself says it removed old segments, 0 for none.
    `anchor_ok`: None without an anchor, or when its event has been pruned; `detail` then says so.
    """

    valid: Optional[bool]
    events: int
    head: Head
    first_bad: Optional[Dict[str, Any]] = None
    pruned: int = 0
    anchor_ok: Optional[bool] = None
    detail: str = ""

    def as_data(self) -> Dict[str, Any]:
        return {
            "valid": self.valid,
            "events": self.events,
            "head": self.head._asdict(),
            "first_bad": self.first_bad,
            "pruned": self.pruned,
            "anchor_ok": self.anchor_ok,
            "detail": self.detail,
        }


class _Bad(Exception):
    def __init__(self, seq: int, path: str, line: int, problem: str) -> None:
        super().__init__(problem)
        self.where = {"seq": seq, "path": path, "line": line, "problem": problem}


class _Line(NamedTuple):
    """The last line found good: what is needed to say which of two neighbours was altered."""

    path: str
    number: int
    raw: bytes


@dataclass
class _Walk:
    """Where the walk stands: `seq` and `hash` of the last good event, `first` and `before_first` of the log's beginning."""

    anchor: Optional[Head] = None
    first: int = 0
    before_first: str = ZEROS
    seq: int = 0
    hash: str = ZEROS
    anchor_hash: Optional[str] = None
    covered: bool = False
    prunes: Dict[int, str] = field(default_factory=dict)
    ends: Dict[int, str] = field(default_factory=dict)
    last: Optional[_Line] = None
    opening: Optional[_Line] = None

    @property
    def events(self) -> int:
        return self.seq - self.first + 1 if self.first else 0


def parse_anchor(anchor: Any) -> Head:
    """From ``{seq, hash}`` or a `Head`. Raises RecordError."""
    if isinstance(anchor, Head):
        return anchor
    seq, value = (anchor.get("seq"), anchor.get("hash")) if isinstance(anchor, Mapping) else (None, None)
    good = isinstance(value, str) and len(value) == 64 and all(digit in "0123456789abcdef" for digit in value.lower())
    if isinstance(seq, bool) or not isinstance(seq, int) or seq < 0 or not good:
        raise RecordError(
            "The anchor %.200r is unusable; expected {seq: 41, hash: 64 hex digits}, as an earlier head was given." % (anchor,)
        )
    return Head(seq, str(value).lower())


def verify(directory: str, anchor: Optional[Any] = None) -> Verification:
    """Check the whole timeline. Tampering is told in the result; RecordError is raised for what cannot be read at all."""
    walk = _Walk(None if anchor is None else parse_anchor(anchor))
    if not os.path.isdir(directory):
        if walk.anchor is not None and walk.anchor.seq:
            return _verdict(walk, None, directory)
        raise RecordError("There is no timeline at %s: no such directory. Give the directory that holds 000001.jsonl." % directory)
    path = directory
    try:
        for segment, size, final in _snapshot(directory):
            path = segment.path
            _segment(walk, segment, size, final)
        _whole(walk)
    except _Bad as bad:
        return _verdict(walk, bad.where, path)
    return _verdict(walk, None, path)


def _snapshot(directory: str) -> List[Tuple[Segment, int, bool]]:
    """The segments and their sizes at one instant: under the lock if we may take it, so that no line is seen half written."""
    try:
        lock = os.open(os.path.join(directory, ".lock"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        # Not ours to lock, or a copy of a log without its lock: sizes are still taken before anything is read.
        return _sizes(directory)
    try:
        lock_file(lock, os.path.join(directory, ".lock"), 2.0)
        return _sizes(directory)
    finally:
        os.close(lock)


def _sizes(directory: str) -> List[Tuple[Segment, int, bool]]:
    found = segments(directory)
    try:
        return [(segment, os.stat(segment.path, follow_symlinks=False).st_size, segment is found[-1]) for segment in found]
    except OSError as error:
        raise RecordError("Reading the timeline %s: %s" % (directory, cause(error))) from error


def _blocks(segment: Segment, size: int) -> Iterator[List[bytes]]:
    """The whole lines of a segment, many at a time and without newlines; last of all what follows the last newline."""
    try:
        descriptor = open_segment(segment.path)
    except OSError as error:
        raise RecordError("Reading %s: %s" % (segment.path, cause(error))) from error
    rest = b""
    try:
        while size > 0:
            block = os.read(descriptor, min(_BLOCK, size))
            if not block:
                break
            size -= len(block)
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            yield lines
            if len(rest) > MAX_LINE:
                break
    except OSError as error:
        raise RecordError("Reading %s: %s" % (segment.path, cause(error))) from error
    finally:
        os.close(descriptor)
    yield [rest]


def _segment(walk: _Walk, segment: Segment, size: int, final: bool) -> None:
    number = 0
    held: List[bytes] = []
    for lines in _blocks(segment, size):
        # One block is held back, so that a line's successor is at hand where it matters.
        if held:
            number = _lines(walk, segment, held, number, (lines[0] if lines else None) or None)
        held = lines
    rest = held[0] if held else b""
    if rest:
        problem = "no newline at its end"
        if final:
            problem += ": a writer died here or the file was cut; the next append moves it aside and records that"
        raise _Bad(walk.seq + 1, segment.path, number + 1, problem)
    walk.ends[walk.seq] = walk.hash


def _lines(walk: _Walk, segment: Segment, lines: List[bytes], number: int, after: Optional[bytes]) -> int:
    """The inner loop: one JSON parse and one SHA-256 a line, and as little else as there can be. Returns the lines done."""
    import hashlib  # here, not above: only verification is worth the memory of OpenSSL, which is the quicker one

    sha256: Callable[..., Any] = hashlib.sha256
    if not walk.first:
        _begin(walk, segment, lines[0])
    seq, previous, anchor_seq, line = walk.seq, walk.hash, walk.anchor.seq if walk.anchor else -1, b""
    for place, line in enumerate(lines, number + 1):
        try:
            event = parse(line)
            if event["seq"] != seq + 1 or event["previous"] != previous:
                raise ValueError("")
        except ValueError as error:
            walk.seq, walk.hash = seq, previous
            if place > number + 1:
                walk.last = _Line(segment.path, place - 1, lines[place - number - 2])
            following = lines[place - number] if place - number < len(lines) else after
            raise _misfit(walk, _Line(segment.path, place, line), str(error), following) from error
        seq += 1
        previous = sha256(line).hexdigest()
        if seq == anchor_seq:
            walk.anchor_hash = previous
        if event.get("type") == "log_prune":
            _pruned(walk, event)
    walk.seq, walk.hash, walk.last = seq, previous, _Line(segment.path, number + len(lines), line)
    return number + len(lines)


def _begin(walk: _Walk, segment: Segment, line: bytes) -> None:
    """The first line of all: seq 1, or where a log of which old segments were removed goes on."""
    try:
        event = parse(line)
    except ValueError as error:
        raise _Bad(1, segment.path, 1, str(error)) from error
    seq, previous = event["seq"], event["previous"]
    if segment.number == 1 and seq != 1:
        raise _Bad(1, segment.path, 1, "the first segment begins with seq %d, expected 1" % seq)
    if seq == 1 and previous != ZEROS:
        raise _Bad(1, segment.path, 1, "previous of the first event is not 64 zeros")
    walk.first, walk.before_first, walk.seq, walk.hash = seq, previous, seq - 1, previous
    walk.opening = _Line(segment.path, 1, line)


def _misfit(walk: _Walk, here: _Line, problem: str, following: Optional[bytes]) -> _Bad:
    """Which line is to blame when one does not go on from the line before it."""
    expected = walk.seq + 1
    if problem:
        return _Bad(expected, here.path, here.number, problem)
    event = parse(here.raw)
    found, previous = event["seq"], event["previous"]
    if found > expected:
        problem = "found seq %d, expected %d: events are missing or out of order" % (found, expected)
    if found < expected:
        problem = "found seq %d, expected %d: a line was doubled, inserted or moved" % (found, expected)
    if problem:
        return _Bad(expected, here.path, here.number, problem)
    # An altered line before this one changes all of its hash; an altered `previous` differs from it in little. And if the
    # next line knows this one by its hash, this one is as it was written.
    unlike = sum(one != other for one, other in zip(previous, walk.hash))
    vouched = following is None or ('"previous":"%s"' % digest(here.raw)).encode() in following
    if walk.last is None or unlike <= 8 or not vouched:
        return _Bad(expected, here.path, here.number, "previous is not the SHA-256 of the line before: this line was altered")
    before = walk.last
    bad = _Bad(walk.seq, before.path, before.number, "its SHA-256 is not the one the next line carries: this line was altered")
    walk.seq, walk.hash = walk.seq - 1, parse(before.raw)["previous"]
    return bad


def _pruned(walk: _Walk, event: Dict[str, Any]) -> None:
    """The log says that it removed old segments; does that explain where it begins?"""
    data = event.get("data")
    seq, value = (data.get("last_seq"), data.get("last_hash")) if isinstance(data, dict) else (None, None)
    if not isinstance(seq, int) or not isinstance(value, str):
        return
    walk.prunes[seq] = value
    # Killed while removing, the writer left some of the segments; the named event is then still there.
    known = walk.before_first if seq == walk.first - 1 else walk.ends.get(seq)
    walk.covered = walk.covered or known == value


def _whole(walk: _Walk) -> None:
    """What can be asked only at the end: is the beginning explained, is the last line in the form all lines are written in?"""
    if walk.opening is not None and walk.first > 1 and not walk.covered:
        raise _Bad(
            walk.first,
            walk.opening.path,
            1,
            "the log begins at seq %d, and no log_prune event says that the events before were removed" % walk.first,
        )
    if walk.last is None:
        return
    event = parse(walk.last.raw)
    ordered = {key: event[key] for key in KEYS if key in event}
    if encode(ordered).encode() != walk.last.raw:
        raise _Bad(walk.seq, walk.last.path, walk.last.number, "the last line is not in the form events are written in: it was altered")


def _verdict(walk: _Walk, first_bad: Optional[Dict[str, Any]], path: str) -> Verification:
    anchor, detail, matches = walk.anchor, "", None
    if anchor is not None:
        known = _anchored(walk, anchor)
        if known is not None:
            matches = known == anchor.hash
        elif first_bad is not None:
            detail = "the log is broken before it reaches the anchor"
        elif anchor.seq > walk.seq:
            matches = False
            problem = "the log ends at seq %d, but the anchor saw seq %d: its tail was cut or files were deleted" % (walk.seq, anchor.seq)
            if not os.path.isdir(path) and not walk.first:
                problem = "there is no timeline, but the anchor saw seq %d: it was deleted, or it is elsewhere" % anchor.seq
            line = walk.last.number + 1 if walk.last else 1
            first_bad = {"seq": walk.seq + 1, "path": path, "line": line, "problem": problem}
        else:
            detail = "the anchor's event (seq %d) was removed by retention; the log now begins at seq %d. Use a newer anchor." % (
                anchor.seq,
                walk.first,
            )
        if matches is False and first_bad is None:
            problem = "the event has another hash than the anchor: the log was written anew at or before this event"
            first_bad = {"seq": anchor.seq, "path": path, "line": None, "problem": problem}
    valid = False if first_bad is not None else (None if anchor is not None and matches is None else True)
    pruned = max((seq for seq in walk.prunes if seq < walk.first), default=0)
    return Verification(valid, walk.events, Head(walk.seq, walk.hash), first_bad, pruned, matches, detail)


def _anchored(walk: _Walk, anchor: Head) -> Optional[str]:
    """The hash of the anchor's event in today's log, if that can still be known."""
    if anchor.seq == 0:
        return ZEROS
    if walk.first and anchor.seq == walk.first - 1:
        return walk.before_first
    if anchor.seq < walk.first:
        return walk.prunes.get(anchor.seq)
    return walk.anchor_hash


__all__ = ["Verification", "parse_anchor", "verify"]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a timeline has beyond an event somebody else knows already: the raw lines, so that who gets them can check the chain."""

from __future__ import annotations

import functools
import os
from typing import List, NamedTuple, Optional

from .._core.errors import RecordError
from .files import cause
from .segments import ZEROS, Head, Segment, digest, head, open_segment, parse, segments

BATCH = 4 * 1024 * 1024
_LONGEST = 1 << 20


class Extract(NamedTuple):
    """`known`: has the event asked after the hash that was given? None when it is not there any more.

    `lines`: raw lines without their newlines, in their order. `head`: the timeline's last event; `more`: are there lines beyond these?
    """

    known: Optional[bool]
    lines: List[bytes]
    head: Head
    more: bool


def extract(directory: str, after: Head, limit: int = BATCH) -> Extract:
    """The whole lines after `after`, up to `limit` bytes of them but at least one. Raises RecordError."""
    now = head(directory)
    found = segments(directory)
    known: Optional[bool] = after.hash == ZEROS if after.seq == 0 else None
    lines: List[bytes] = []
    size, begun = 0, after.seq == 0
    for segment in found[_place(found, after.seq) :]:
        try:
            with os.fdopen(open_segment(segment.path), "rb", 1 << 18) as file:
                for raw in iter(functools.partial(file.readline, _LONGEST), b""):
                    if not raw.endswith(b"\n"):
                        if len(raw) == _LONGEST:
                            raise RecordError("Reading %s: a line is longer than %d bytes; events end at 64 KiB" % (segment.path, _LONGEST))
                        break  # a writer is at work here, or died; it is no event yet
                    line = raw[:-1]
                    seq = _seq(line)
                    if seq == after.seq:
                        known = digest(line) == after.hash
                    if not begun:
                        # What is no event goes along with the others, for its receiver to say so; but not what stands before them.
                        begun = seq is not None and seq > after.seq
                        if not begun:
                            begun = seq == after.seq
                            continue
                    if lines and size + len(raw) > limit:
                        return Extract(known, lines, now, True)
                    lines.append(line)
                    size += len(raw)
        except FileNotFoundError:
            continue  # retention removed it after the directory was listed
        except OSError as error:
            raise RecordError("Reading %s: %s" % (segment.path, cause(error))) from error
    return Extract(known, lines, now, False)


def _seq(line: bytes) -> Optional[int]:
    """The number at the line's beginning, without parsing all of it; None for what is no event."""
    if line.startswith(b'{"seq":'):
        digits = line[7 : line.find(b",", 7, 32)]
        if digits.isdigit():
            return int(digits)
    return None


def _place(found: List[Segment], seq: int) -> int:
    """The index of the segment in which the event after `seq` would stand: the last that begins at or before `seq`."""
    for index in range(len(found) - 1, 0, -1):
        first = _first(found[index])
        if first is not None and first <= seq:
            return index
    return 0


def _first(segment: Segment) -> Optional[int]:
    try:
        with os.fdopen(open_segment(segment.path), "rb") as file:
            line = file.readline(1 << 18)
        seq: int = parse(line[:-1])["seq"]
        return seq
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:
        raise RecordError("Reading %s: %s" % (segment.path, cause(error))) from error


__all__ = ["BATCH", "Extract", "extract"]

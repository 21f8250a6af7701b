# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's copy of a host's timeline. It is what the host said when it said it: a host that changes its story later is found out.

    <mirror>/<host>/1/000001.jsonl   the lines as they stand on the host, in the timeline's own format
    <mirror>/<host>/2/…              begun anew where the host's timeline was no extension of what is kept
    <mirror>/<host>/faults.json      when that happened, and why: a list of {at, kind, seq, problem}
    <mirror>/<host>/.lock            two runs at once wait for each other

Note that this is a private utility of this collection; other collections must not import it.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from ansible_collections.faultline.selfheal.plugins.module_utils._core.errors import RecordError
from ansible_collections.faultline.selfheal.plugins.module_utils._core.times import format_time
from ansible_collections.faultline.selfheal.plugins.module_utils._records.files import cause, lock_file, replace_file
from ansible_collections.faultline.selfheal.plugins.module_utils._records.segments import (
    SEGMENT_SIZE,
    ZEROS,
    Head,
    digest,
    find_end,
    head,
    open_segment,
    parse,
    segment_path,
    segments,
)

LOCK_WAIT = 60.0
FAULTS = "faults.json"
MOST_FAULTS = 1000
_BLOCK = 1 << 18
_STAMP, _TYPE = b'"timestamp":"', b'"type":"'
# What opens and what closes an incident.
_TURNS = (b'failure"', b'recover"', b'state_reset"')
_decode = json.JSONDecoder().raw_decode
"""The kinds of fault: what was found, and what it means."""
KINDS = {
    "rewritten": "the event kept here has another hash on the host: its timeline was written anew",
    "cut": "the host's timeline ends before an event that is kept here: its tail was cut, or files were deleted",
    "broken": "the chain of hashes does not hold: a line was altered, dropped or inserted",
    "gap": "the host removed events, by retention, before they were fetched",
}
TAMPERING = ("rewritten", "cut", "broken")


class Told(NamedTuple):
    """What one look at the host gave: see `_records/extract.py`."""

    known: bool | None
    lines: list[bytes]
    head: Head
    more: bool


class Fetched(NamedTuple):
    """`new`: events added. `faults`: those found now. `head`: the last event that is kept."""

    new: int
    head: Head
    faults: list[dict[str, Any]]


def folder_name(host: str) -> str:
    """A file name for any inventory name: what is not plain is written as %XX, so that no two names meet and none leaves the directory."""
    plain = "".join(letter if letter.isalnum() and letter.isascii() or letter in "-_." else _escaped(letter) for letter in host)
    return plain if plain.strip(".") else plain.replace(".", "%2E") or "%"


def _escaped(letter: str) -> str:
    return "".join("%%%02X" % byte for byte in letter.encode("utf-8", "surrogateescape"))


class Mirror:
    """One host's copy. Use it as a context: it is locked meanwhile. Raises RecordError."""

    def __init__(self, root: str, host: str, clock: Callable[[], float]) -> None:
        self.host = host
        self.path = os.path.join(root, folder_name(host))
        self._clock = clock
        self._lock = -1

    def __enter__(self) -> Mirror:
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            path = os.path.join(self.path, ".lock")
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise RecordError("Keeping the timeline of %s in %s: %s" % (self.host, self.path, cause(error))) from error
        lock_file(self._lock, path, LOCK_WAIT)
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._lock)

    @property
    def generations(self) -> list[str]:
        """The directories of its timelines, the oldest first."""
        try:
            names = [name for name in os.listdir(self.path) if name.isdigit()]
        except FileNotFoundError:
            return []
        return [os.path.join(self.path, name) for name in sorted(names, key=int)]

    @property
    def head(self) -> Head:
        """The newest event that is kept."""
        for generation in reversed(self.generations):
            found = head(generation)
            if found.seq:
                return found
        return Head(0, ZEROS)

    def events(self, since: str | None = None, standing: Callable[[dict[str, Any]], None] | None = None) -> Iterator[dict[str, Any]]:
        """Every event that is kept, one at a time, as it was taken in: `fetch` has checked it. `since`: as timestamps are written.

        `standing` is told, before what comes after it, of the failure of each incident that was open at `since`. Raises RecordError.
        """
        earlier: dict[str, dict[str, Any]] = {}
        for generation in self.generations:
            for segment in segments(generation):
                try:
                    with os.fdopen(open_segment(segment.path), "rb", _BLOCK) as file:
                        for event in _events(file, since, earlier):
                            _hand_over(earlier, standing)
                            yield event
                except OSError as error:
                    raise RecordError("Reading %s: %s" % (segment.path, cause(error))) from error
        _hand_over(earlier, standing)

    def faults(self) -> list[dict[str, Any]]:
        """What was ever wrong with this host's timeline, the oldest first. A file that cannot be read is a fault, too."""
        path = os.path.join(self.path, FAULTS)
        try:
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            return [{"at": format_time(self._clock()), "kind": "broken", "seq": 0, "problem": "reading %s: %s" % (path, error)}]
        return [each for each in found if isinstance(each, dict) and each.get("kind") in KINDS] if isinstance(found, list) else []

    def fetch(self, ask: Callable[[Head], Told]) -> Fetched:
        """Take in what is new. `ask(after)` looks at the host once; lines are checked against the chain before they are kept."""
        writer = _Writer(self.generations[-1] if self.generations else os.path.join(self.path, "1"))
        position, new = writer.head, 0
        faults: list[dict[str, Any]] = []
        try:
            told = ask(position)
            problem = _disagreement(position, told)
            if problem is not None:
                faults.append(self._fault(problem, position.seq, KINDS[problem]))
                writer = self._anew(writer)
                if problem != "gap":
                    told = ask(Head(0, ZEROS))
            while True:
                for line in told.lines:
                    wrong = writer.add(line)
                    if wrong is not None:
                        if len(faults) < MOST_FAULTS:
                            faults.append(self._fault("broken", position.seq + 1, wrong))
                        writer = self._anew(writer)
                        if writer.add(line) is not None:
                            continue  # no event at all: what follows may be
                    position, new = writer.head, new + 1
                writer.flush()
                if not told.more or not told.lines:
                    break
                told = ask(position)
        finally:
            self._note(faults)
            writer.close()
        return Fetched(new, position, faults)

    def note_broken(self, place: dict[str, Any]) -> dict[str, Any]:
        """The host itself says that its timeline is not what was written; `place` is the first bad one (see `verify`)."""
        seq = place.get("seq")
        where = "%s line %s: %s" % (place.get("path"), place.get("line"), place.get("problem"))
        fault = self._fault("broken", seq if isinstance(seq, int) else 0, where)
        self._note([fault])
        return fault

    def _fault(self, kind: str, seq: int, problem: str) -> dict[str, Any]:
        return {"at": format_time(self._clock()), "kind": kind, "seq": seq, "problem": problem}

    def _note(self, faults: list[dict[str, Any]]) -> None:
        """Remember what was found; what was the last word already is not said again."""
        before = self.faults()
        told = {(each["kind"], each.get("seq"), each.get("problem")) for each in before}
        fresh = [each for each in faults if (each["kind"], each["seq"], each["problem"]) not in told]
        if not fresh:
            return
        text = json.dumps((before + fresh)[-MOST_FAULTS:], indent=1) + "\n"
        try:
            replace_file(os.path.join(self.path, FAULTS), text.encode("utf-8"), 0o600)
        except OSError as error:
            raise RecordError("Noting a fault in the timeline of %s in %s: %s" % (self.host, self.path, cause(error))) from error

    def _anew(self, writer: _Writer) -> _Writer:
        """What cannot follow begins a directory of its own; where nothing is kept yet, this one."""
        writer.flush()
        writer.close()
        number = int(os.path.basename(writer.directory)) + (1 if writer.head.seq else 0)
        return _Writer(os.path.join(self.path, str(number)), anything=True)


def _disagreement(kept: Head, told: Told) -> str | None:
    if kept.seq == 0 or told.known is True:
        return None
    if told.known is False:
        return "rewritten"
    return "cut" if told.head.seq < kept.seq else "gap"


def _events(file: BinaryIO, since: str | None, earlier: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The events of a segment; of those before `since`, what was open is kept in `earlier`, by service."""
    first = None if since is None else since.encode()
    # A line beyond all sizes comes in pieces, none of which is an event.
    for line in iter(functools.partial(file.readline, _BLOCK), b""):
        if first is not None:
            # Most lines of an old timeline are not looked into. A host that writes them in another form than ours hides nothing by that.
            start = line.find(_STAMP, 0, 64)
            if start >= 0 and line[start + len(_STAMP) :][:24] < first:
                kind = line.find(_TYPE, start)
                if kind < 0 or not line.startswith(_TURNS, kind + len(_TYPE)):
                    continue
        try:
            event = _decode(line.decode())[0]
        except (ValueError, RecursionError):
            continue  # half a line of a run that died; the next one takes it in again
        if not isinstance(event, dict):
            continue
        if since is None or str(event.get("timestamp")) >= since:
            yield event
        else:
            _turn(earlier, event)


def _turn(earlier: dict[str, dict[str, Any]], event: dict[str, Any]) -> None:
    """What an event before the period says about what is open: a service has one incident at a time."""
    type, service, incident = event.get("type"), event.get("service"), event.get("incident")
    if not isinstance(service, str) or not isinstance(incident, str):
        return
    known = earlier.get(service, {}).get("incident")
    if type == "failure" and known != incident:
        earlier[service] = event
    elif type in ("recover", "state_reset") and known == incident:
        del earlier[service]


def _hand_over(earlier: dict[str, dict[str, Any]], standing: Callable[[dict[str, Any]], None] | None) -> None:
    if standing is not None:
        for event in earlier.values():
            standing(event)
    earlier.clear()


class _Writer:
    """Appends lines to a directory in the timeline's format, each checked against the chain. `anything`: any event may be the first."""

    def __init__(self, directory: str, anything: bool = False) -> None:
        self.directory = directory
        self.head = Head(0, ZEROS)
        self._anything = anything
        self._pending: list[bytes] = []
        self._size = 0
        self._descriptor = -1
        found = segments(directory)
        self._number = found[-1].number if found else 1
        if found:
            self._open()

    def _open(self) -> None:
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            path = segment_path(self.directory, self._number)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            end = find_end(self._descriptor, os.fstat(self._descriptor).st_size)
            # A run that died left half a line, which the host still has.
            os.ftruncate(self._descriptor, end.offset)
        except OSError as error:
            raise RecordError("Keeping a timeline in %s: %s" % (self.directory, cause(error))) from error
        self._size = end.offset
        if end.line is not None:
            self.head = Head(parse(end.line)["seq"], digest(end.line))

    def add(self, line: bytes) -> str | None:
        """Keep a line; why it cannot follow, or None."""
        try:
            event = parse(line)
        except ValueError as error:
            return str(error)
        # Retention may have removed the host's first events before anybody fetched them.
        first = self.head.seq == 0 and (self._anything or event["seq"] > 1)
        if not first and event["seq"] != self.head.seq + 1:
            return "found seq %d, expected %d" % (event["seq"], self.head.seq + 1)
        if not first and event["previous"] != self.head.hash:
            return "event %d does not carry the SHA-256 of the one before it" % event["seq"]
        self._pending.append(line)
        self.head = Head(event["seq"], digest(line))
        return None

    def flush(self) -> None:
        """Everything added is on the disk."""
        if not self._pending:
            return
        newest, data = self.head, memoryview(b"".join(line + b"\n" for line in self._pending))
        self._pending = []
        if self._descriptor >= 0 and self._size >= SEGMENT_SIZE:
            self.close()
            self._number += 1
        if self._descriptor < 0:
            self._open()
            self.head = newest
        self._size += len(data)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise RecordError("Keeping a timeline in %s: %s" % (self.directory, cause(error))) from error

    def close(self) -> None:
        """What was not flushed is asked for again by the next run."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


__all__ = ["Fetched", "KINDS", "Mirror", "TAMPERING", "Told", "folder_name"]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of a deployment's journal as tells which release is current: for whoever looks at thousands of projects in one go."""

from __future__ import annotations

import json
import os
import stat
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .._core.deployment import KINDS, STANDINGS, Phase, valid_id
from .._core.links import Glance, Word
from .journal import SCHEMA, Newer, complete

_LIMIT = 8 << 20
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_PHASES = {phase.value: phase for phase in Phase}
_BEGIN = b'{\n "schema": %d,\n' % SCHEMA
# Of each field: its name, what stands before its value, and how it is written when it is null.
_MARKS = [
    (key, b'\n "%s": "' % key.encode(), b'\n "%s": null' % key.encode()) for key in ("id", "kind", "release", "activated_at", "phase")
] + [("standing", b'\n "standing": {\n  "word": "', b'\n "standing": null')]
_WORDS = {word: Word(word) for word in STANDINGS}
_ASIDE = ".json.bad-"
_NEEDED = frozenset(("schema", "id", "kind", "release", "phase", "activated_at", "standing"))


class Garbled(ValueError):
    """A journal cannot be understood; names it."""


class Glances(NamedTuple):
    """The deployments whose journals could be read. complete: none is missing that may have become active after all of these.

    One that was set aside may have been a rollback. What became active since makes up for it.
    """

    entries: Sequence[Glance]
    complete: bool = True


def glance(directory: int) -> Glances:
    """The deployments whose journals lie in the open directory.

    Raises Garbled naming the first that cannot be understood, Newer, OSError.
    """
    entries: List[Glance] = []
    names = os.listdir(directory)
    for name in names:
        if not name.endswith(".json") or name.startswith(".") or not valid_id(name[:-5]):
            continue
        try:
            raw = _read(directory, name)
            if raw is not None:
                entries.append(_entry(name[:-5], _fields(raw)))
        except Newer as error:
            raise Newer("the journal %s: %s" % (name, error)) from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Garbled("%s: %s: %s" % (name, type(error).__name__, error)) from error
    aside = [name for name in names if _ASIDE in name]
    if aside and not entries:
        raise Garbled("%s and all others were set aside, so nothing tells which release is good" % min(aside))
    if not aside:
        return Glances(entries)
    # Both as the moment is written in a file's name.
    lost = max(name.partition(_ASIDE)[2] for name in aside)
    last = max(entry.activated_at or "" for entry in entries).replace("-", "").replace(":", "")
    return Glances(entries, last > lost)


def _read(directory: int, name: str) -> Optional[bytes]:
    try:
        descriptor = os.open(name, _FILE, dir_fd=directory)
    except FileNotFoundError:
        return None  # pruned meanwhile; whoever does that holds the project's lease, and is seen by it
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LIMIT:
            raise ValueError("it is no regular file of at most %d bytes" % _LIMIT)
        return os.read(descriptor, found.st_size)
    finally:
        os.close(descriptor)


def _fields(raw: bytes) -> Any:
    """The journal's fields, at least those that `_entry` looks at.

    As `journal.dump` writes them, each begins a line of its own after one blank: deeper ones have more, and no string holds a line end. So
    they are found without reading the rest, which takes most of the time. Any other way of writing is read whole. Raises ValueError.
    """
    if not raw.startswith(_BEGIN) or not raw.endswith(b"\n}\n") or b"\\" in raw:
        return json.loads(raw)
    found: Dict[str, Any] = {"schema": SCHEMA}
    for key, mark, null in _MARKS:
        at = raw.find(mark)
        if at >= 0:
            at += len(mark)
            found[key] = raw[at : raw.index(b'"', at)].decode("ascii")
        elif null in raw:
            found[key] = None
        else:
            return json.loads(raw)
    if found["standing"] is not None:
        found["standing"] = {"word": found["standing"]}
    return found


def _entry(identity: str, data: Any) -> Glance:
    if not isinstance(data, dict) or not _NEEDED <= data.keys() or data["schema"] != SCHEMA or data["id"] != identity:
        data = complete(identity, data)
    kind, release, activated, standing = data["kind"], data["release"], data["activated_at"], data["standing"]
    if kind not in KINDS or (release != identity and not valid_id(release)) or not (activated is None or isinstance(activated, str)):
        raise ValueError("kind, release and activated_at are %.40r, %.40r, %.40r" % (kind, release, activated))
    return Glance(identity, kind, release, _PHASES[data["phase"]], activated, None if standing is None else _WORDS[standing["word"]])


def mark(directory: os.stat_result) -> Tuple[int, int, int]:
    """What changes whenever a journal comes, goes or is replaced: the directory's identity and, last, its time (in nanoseconds).

    That time goes in ticks of some milliseconds: only one that was seconds old when it was looked at proves, unchanged, that nothing did.
    """
    return directory.st_dev, directory.st_ino, directory.st_mtime_ns


__all__ = ["Garbled", "Glances", "glance", "mark"]

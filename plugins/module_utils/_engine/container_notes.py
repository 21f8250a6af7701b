# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``container_heal`` remembers of a container between runs: when it acted on it, whether it left it for inspection, and what it made
of it in vain.

Reset rules: an action, and a try in vain, counts for `BUDGET_PERIOD` seconds, the latter until something else is wanted; what was left for
inspection is taken up again when somebody starts it.
"""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from .._core.containers import BUDGET_PERIOD
from .._core.times import compact
from .._records.files import make_directory, read_file, replace_file, set_aside
from .._records.names import escape

SCHEMA = 1
_LIMIT = 65536


class Note(NamedTuple):
    """actions: wall seconds; kept: the life (`container_state.life`) that was left for inspection; undone: when it was put back
    after it had been made anew as `wish` says."""

    actions: List[float]
    kept: Optional[str] = None
    undone: Sequence[float] = ()
    wish: str = ""


class Notes:
    """``<directory>/<name>.json``, one for each container; `reset` is told of a file that could not be understood
    and was set aside; without it, in check mode, it stays where it is."""

    def __init__(self, directory: str, wall: Callable[[], float], reset: Optional[Callable[[str, str, str], None]]) -> None:
        self._directory = directory
        self._wall = wall
        self._reset = reset

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, escape(name) + ".json")

    def read(self, name: str) -> Note:
        """What is remembered. Raises RecordError, OSError."""
        path, now = self._path(name), self._wall()
        try:
            data: Dict[str, Any] = json.loads(read_file(path, _LIMIT))
            if data["schema"] != SCHEMA:
                raise ValueError("schema %r, expected %d" % (data["schema"], SCHEMA))
            actions, kept = [float(at) for at in data["actions"]], data.get("kept")
            undone, wish = [float(at) for at in data.get("undone") or ()], str(data.get("wish") or "")
        except FileNotFoundError:
            return Note([])
        except (ValueError, KeyError, TypeError) as error:
            if self._reset is not None:
                self._reset(name, set_aside(path, "broken", compact(now)), "%s: %s" % (type(error).__name__, error))
            return Note([])
        # A clock that was set back leaves actions in the future; they count as if they were just done.
        recent = [[min(at, now) for at in times if now - at < BUDGET_PERIOD] for times in (actions, undone)]
        return Note(recent[0], None if kept is None else str(kept), recent[1], wish)

    def acted(self, name: str) -> None:
        """One more action. Raises RecordError."""
        note = self.read(name)
        self._write(name, note._replace(actions=note.actions + [self._wall()], kept=None))

    def keep(self, name: str, life: str) -> None:
        """It was left for inspection. Raises RecordError."""
        self._write(name, self.read(name)._replace(kept=life))

    def undone(self, name: str, wish: str) -> None:
        """It was made anew as wanted, was not well, and is put back. Raises RecordError."""
        note = self.read(name)
        before = list(note.undone) if note.wish == wish else []
        self._write(name, note._replace(undone=before + [self._wall()], wish=wish))

    def _write(self, name: str, note: Note) -> None:
        make_directory(self._directory)
        data: Dict[str, Any] = {"schema": SCHEMA, "name": name, "actions": note.actions[-100:], "kept": note.kept}
        if note.undone:
            data.update(undone=list(note.undone)[-100:], wish=note.wish)
        replace_file(self._path(name), json.dumps(data).encode("ascii"))


__all__ = ["Note", "Notes"]

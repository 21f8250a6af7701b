# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles of diagnostics: what stood there when a service failed, one file an incident, without secrets and of bounded size."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from .._core.errors import RecordError
from .._core.redact import redact
from .files import cause, make_directory, read_file, remove, replace_file
from .names import escape
from .segments import digest

SCHEMA = 1
LARGEST = 262144
"""Bytes of one bundle."""
MOST = 50
MOST_BYTES = 8388608
"""So many bundles and bytes are kept of a host; the oldest go first."""
_LONGEST_LINE = 1000


class Kept(NamedTuple):
    """A bundle as it lies on the disk: anybody can check it with sha256sum."""

    path: str
    sha256: str
    bytes: int


class Bundles:
    """``<state_dir>/diagnostics/<incident>.json``, each readable by its owner only."""

    def __init__(self, state_dir: str) -> None:
        self.directory = os.path.join(state_dir, "diagnostics")

    def path(self, incident: str) -> str:
        return os.path.join(self.directory, escape(incident) + ".json")

    def keep(self, incident: str, bundle: Mapping[str, Any]) -> Kept:
        """Write the bundle of an incident, whole or not at all, and let the oldest go. Raises RecordError."""
        data = _fitting(redact({"schema": SCHEMA, **bundle}))
        path = self.path(incident)
        make_directory(self.directory)
        self._make_room(os.path.basename(path), len(data))
        replace_file(path, data)
        return Kept(path, digest(data), len(data))

    def load(self, incident: str) -> Optional[Tuple[Dict[str, Any], Kept]]:
        """The bundle of an incident; None when there is none that can be understood."""
        path = self.path(incident)
        try:
            raw = read_file(path, LARGEST * 2)
            data = json.loads(raw)
        except (OSError, ValueError, RecursionError):
            return None
        return (data, Kept(path, digest(raw), len(raw))) if isinstance(data, dict) and data.get("schema") == SCHEMA else None

    def _make_room(self, coming: str, size: int) -> None:
        kept = [each for each in self._there() if each[1] != coming]
        total = size + sum(each[2] for each in kept)
        for position, (_age, name, length) in enumerate(kept):
            if len(kept) - position < MOST and total <= MOST_BYTES:
                return
            total -= length
            try:
                remove(os.path.join(self.directory, name))
            except OSError as error:
                raise RecordError("Removing the oldest diagnostics %s in %s: %s" % (name, self.directory, cause(error))) from error

    def _there(self) -> List[Tuple[int, str, int]]:
        """Age, name and size of every bundle, the oldest first. Raises RecordError."""
        found = []
        try:
            with os.scandir(self.directory) as entries:
                for entry in entries:
                    if entry.name.endswith(".json") and entry.name[0] != "." and entry.is_file(follow_symlinks=False):
                        about = entry.stat(follow_symlinks=False)
                        found.append((about.st_mtime_ns, entry.name, about.st_size))
        except OSError as error:
            raise RecordError("Listing the diagnostics in %s: %s" % (self.directory, cause(error))) from error
        return sorted(found)


def _fitting(bundle: Dict[str, Any]) -> bytes:
    """The bundle as JSON within `LARGEST`: lines are cut, then the longest section loses its older half, again and again."""
    bundle = dict(bundle)
    sections = dict(bundle.get("sections") or {})
    bundle["sections"] = {name: _cut(value) for name, value in sections.items()}
    bundle["left_out"] = {}
    while True:
        data = json.dumps(bundle, indent=1, sort_keys=False).encode("ascii")
        if len(data) <= LARGEST or not bundle["sections"]:
            return data
        sizes = {name: len(json.dumps(value)) for name, value in bundle["sections"].items()}
        largest = max(sizes, key=lambda name: sizes[name])
        value = bundle["sections"][largest]
        if isinstance(value, list) and len(value) > 1:
            dropped = len(value) // 2
            bundle["sections"][largest] = value[dropped:]
            bundle["left_out"][largest] = int(bundle["left_out"].get(largest, 0)) + dropped
        else:
            del bundle["sections"][largest]
            bundle["left_out"][largest] = "all of it, for its size"


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_LINE else value[:_LONGEST_LINE] + "…"
    if isinstance(value, dict):
        return {str(key): _cut(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cut(each) for each in value]
    return value


__all__ = ["Bundles", "Kept", "LARGEST", "MOST", "MOST_BYTES", "SCHEMA"]

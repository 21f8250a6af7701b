# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watchdog remembers of a service between cycles, crashes and reboots: one small file each, replaced atomically."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from .._core.errors import RecordError
from .._core.times import compact
from .files import boot_id, cause, make_directory, process_start_time, read_file, remove, replace_file, set_aside, sync_directory
from .names import service_name

SCHEMA = 1
_LIMIT = 1024 * 1024
Version = Tuple[int, int, int]


def same_boot(data: Mapping[str, Any]) -> bool:
    """Was this saved since the host came up? A container that is started anew keeps the kernel and its boot id, not its first process."""
    saved, started = data.get("init_started"), _init_started()
    return data.get("boot_id") == boot_id() and (saved is None or started is None or saved == started)


def _init_started() -> Optional[int]:
    """When process 1 started, in clock ticks since the kernel's boot; None where it is hidden."""
    try:
        return process_start_time(1)
    except OSError:
        return None


class StateStore:
    """``<directory>/<service>.json``. Only the holder of the service's lease saves.

    `on_reset(service, aside, problem)` is called when a file could not be understood and was set aside as `aside`; the caller
    records a ``state_reset`` event there.
    """

    def __init__(
        self, directory: str, on_reset: Optional[Callable[[str, str, str], None]] = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.directory = directory
        self._on_reset = on_reset
        self._clock = clock

    def _path(self, service: str) -> str:
        return os.path.join(self.directory, service_name(service) + ".json")

    def load(self, service: str) -> Optional[Dict[str, Any]]:
        """What was saved, with `schema` and the boot it was saved on (see `same_boot`); None when there is nothing (any more).

        Raises RecordError when a bad file cannot even be set aside.
        """
        path = self._path(service)
        try:
            problem, state = self._parse(read_file(path, _LIMIT))
        except FileNotFoundError:
            return None
        except OSError as error:
            problem, state = cause(error), None
        except ValueError as error:
            problem, state = str(error), None
        if state is not None:
            return state
        aside = self.put_aside(service, problem)
        if self._on_reset is not None:
            self._on_reset(service, aside, problem)
        return None

    def put_aside(self, service: str, problem: str) -> str:
        """Keep what cannot be used beside the place where it stood; where it is now. Raises RecordError."""
        path = self._path(service)
        try:
            return set_aside(path, "bad", compact(self._clock()))
        except OSError as error:
            raise RecordError(
                "State %s is unusable (%s) and cannot be set aside: %s. Remove it by hand." % (path, problem, cause(error))
            ) from error

    def version(self, service: str) -> Optional[Version]:
        """What tells one saved state from another; None where there is none, or none that can be looked at."""
        try:
            found = os.stat(self._path(service), follow_symlinks=False)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def peek(self, service: str) -> Optional[Dict[str, Any]]:
        """As `load`, but nothing is set aside: what cannot be understood is as if it were not there."""
        try:
            return self._parse(read_file(self._path(service), _LIMIT))[1]
        except (OSError, ValueError):
            return None

    @staticmethod
    def _parse(raw: bytes) -> "tuple[str, Optional[Dict[str, Any]]]":
        try:
            data = json.loads(raw)
        except RecursionError:
            return "it is nested too deeply", None
        if not isinstance(data, dict):
            return "it holds no JSON object", None
        if data.get("schema") != SCHEMA or isinstance(data["schema"], bool):
            return "its schema is %.40r, expected %d" % (data.get("schema"), SCHEMA), None
        if not isinstance(data.get("boot_id"), str):
            return "it names no boot_id", None
        return "", data

    def save(self, service: str, state: Mapping[str, Any]) -> None:
        """Replace what is remembered; durable on return. Raises RecordError, and then the old file stands as it was."""
        path = self._path(service)
        whole: Dict[str, Any] = {"schema": SCHEMA, "boot_id": boot_id()}
        started = _init_started()
        if started is not None:
            whole["init_started"] = started
        whole.update((key, value) for key, value in state.items() if key not in whole)
        try:
            data = json.dumps(whole, separators=(",", ":"), allow_nan=False).encode("ascii")
        except (TypeError, ValueError, RecursionError) as error:
            raise RecordError("The state of %s cannot be written as JSON: %s" % (service, error)) from error
        if len(data) > _LIMIT:
            raise RecordError("The state of %s has %d bytes; at most %d are kept." % (service, len(data), _LIMIT))
        make_directory(self.directory)
        replace_file(path, data)

    def forget(self, service: str) -> bool:
        """Remove what is remembered; was there anything? Raises RecordError."""
        path = self._path(service)
        try:
            gone = remove(path)
            if gone:
                sync_directory(self.directory)
        except OSError as error:
            raise RecordError("Removing the state %s: %s" % (path, cause(error))) from error
        return gone


def incident_in(state: Optional[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The open incident of a state that was only looked at, as plain data; empty where there is none or it makes no sense."""
    found: Any = state
    for key in ("memory", "incident"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


__all__ = ["SCHEMA", "StateStore", "Version", "incident_in"]

# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that were injected: what was done to which process, so that it can be undone and looked up. One small file each.

They lie in the run directory: a fault in a process does not outlive a reboot.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import Any, Dict, Iterator, List, Mapping, Optional

from .._core.errors import RecordError
from .files import boot_id, cause, check_directory, lock_file, make_directory, open_lock, read_file, replace_file

SCHEMA = 1
_LIMIT = 65536
_LOCK_WITHIN = 5.0
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)


class Faults:
    """``<run_dir>/faults/<fault_id>.json``.

    A fault: schema, boot_id, fault_id, fault (kill, hang), service or None, pid, start_time, failure_time (ISO), seq (of its event),
    duration (seconds, 0: until reverted), reverted (ISO or None), ended (reverted, timer, gone, or None while in force), contract
    (numbers), keeper ({pid, start_time} of the process beside it, or None) and measured (see `witness`).
    """

    def __init__(self, run_dir: str) -> None:
        self.directory = os.path.join(run_dir, "faults")

    def _path(self, fault_id: str) -> str:
        if not isinstance(fault_id, str) or _ID.fullmatch(fault_id) is None:
            raise RecordError("%.80r names no fault; expected a fault_id such as web-kill-20261121T210330.001Z" % (fault_id,))
        return os.path.join(self.directory, fault_id + ".json")

    def load(self, fault_id: str) -> Optional[Dict[str, Any]]:
        """The fault, None when there is none of that name on this boot. Raises RecordError."""
        path = self._path(fault_id)
        try:
            data = json.loads(read_file(path, _LIMIT))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordError("Reading the fault %s: %s" % (path, cause(error))) from error
        except (ValueError, RecursionError) as error:
            raise RecordError(
                "The fault %s cannot be understood: %s. Remove the file once the process is as it should be." % (path, error)
            ) from error
        if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("pid"), int):
            raise RecordError("The fault %s is not of schema %d. Remove the file once the process is as it should be." % (path, SCHEMA))
        return data if data.get("boot_id") == boot_id() else None

    def all(self) -> List[Dict[str, Any]]:
        """Every fault of this boot, by name. Raises RecordError."""
        if not check_directory(self.directory):
            return []
        names = sorted(name[:-5] for name in os.listdir(self.directory) if name.endswith(".json") and not name.startswith("."))
        return [fault for fault in (self.load(name) for name in names if _ID.fullmatch(name)) if fault is not None]

    def save(self, fault: Mapping[str, Any]) -> None:
        """Write a new fault; durable on return. Raises RecordError."""
        with self._locked():
            self._write(fault)

    def change(self, fault_id: str, **changes: Any) -> Dict[str, Any]:
        """Replace keys of a fault that is there. Raises RecordError."""
        with self._locked():
            fault = self.load(fault_id)
            if fault is None:
                raise RecordError("There is no fault %s in %s any more." % (fault_id, self.directory))
            fault.update(changes)
            self._write(fault)
            return fault

    def _write(self, fault: Mapping[str, Any]) -> None:
        whole: Dict[str, Any] = {"schema": SCHEMA, "boot_id": boot_id()}
        whole.update(fault)
        replace_file(self._path(whole["fault_id"]), json.dumps(whole, sort_keys=True).encode("utf-8"))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        make_directory(self.directory)
        path = os.path.join(self.directory, ".lock")
        try:
            descriptor = open_lock(path)
        except OSError as error:
            raise RecordError("Opening %s: %s" % (path, cause(error))) from error
        try:
            lock_file(descriptor, path, _LOCK_WITHIN)
            yield
        finally:
            os.close(descriptor)


__all__ = ["Faults", "SCHEMA"]
